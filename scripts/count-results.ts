export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * What a test suite's output says about how many of its tests passed. Understood are the summaries of `bun test`
 * (lines ` 12 pass`, ` 1 fail`, ` 1 error`, ` 2 skip`, ` 1 todo`) and lines `12 passed, 1 failed[, 2 skipped]`.
 * Without a summary the suite crashed: then the `(pass)`, `(fail)` and `(skip)` lines of `bun test` count.
 * A suite that ends with an error, or that ran nothing, has at least one failure.
 */
export function countResults(output: string, exitStatus: number): Counts {
  const lines = output.split("\n").map((line) => line.trimEnd());
  const summary = addUp(lines.map(summaryLine));
  const counts = summary.passed + summary.failed + summary.skipped > 0 ? summary : addUp(lines.map(testLine));
  const ran = counts.passed + counts.failed > 0;
  if ((exitStatus !== 0 && counts.failed === 0) || (!ran && counts.skipped === 0)) counts.failed++;
  return counts;
}

/** What was skipped, by reason: that of a line `skipped: NAME: REASON`, or what the name, or a group's, ends with in parentheses. */
export function skippedTests(output: string): Map<string, string[]> {
  const lines = output.split("\n").filter((line) => line.startsWith("skipped: "));
  const byReason = new Map<string, string[]>();
  for (const name of new Set(testsThat(output, "skip"))) {
    const start = `skipped: ${name}: `;
    const line = lines.find((line) => line.startsWith(start));
    const reason = line?.slice(start.length) ?? /\(([^()]*)\)(?: > |$)/.exec(name)?.[1] ?? "no reason given";
    byReason.set(reason, [...(byReason.get(reason) ?? []), name]);
  }
  return byReason;
}

export interface Failure {
  readonly name: string;
  /** What was printed since the test before ended, the last lines of it: bun test explains before it names. */
  readonly cause: readonly string[];
}

const LINES_OF_A_CAUSE = 30;

/** What failed; once each, for bun test repeats the names at its end. */
export function failedTests(output: string): Failure[] {
  const failures = new Map<string, Failure>();
  let cause: string[] = [];
  for (const line of output.split("\n")) {
    const [, kind, name] = /^\((pass|fail|skip|todo)\) (.*)/.exec(line) ?? [];
    if (kind === undefined || name === undefined) {
      if (line.trim() !== "") cause.push(line);
      continue;
    }
    if (kind === "fail" && !failures.has(name)) failures.set(name, { name, cause: cause.slice(-LINES_OF_A_CAUSE) });
    cause = [];
  }
  return [...failures.values()];
}

function testsThat(output: string, kind: string): string[] {
  const lines = output.split("\n").filter((line) => line.startsWith(`(${kind}) `));
  return lines.map((line) => line.slice(kind.length + 3));
}

/** The closing line. */
export function closingLine({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

export function addUp(parts: readonly Counts[]): Counts {
  const sum = { passed: 0, failed: 0, skipped: 0 };
  for (const part of parts) {
    sum.passed += part.passed;
    sum.failed += part.failed;
    sum.skipped += part.skipped;
  }
  return sum;
}

function summaryLine(line: string): Counts {
  const bun = /^ (\d+) (pass|fail|errors?|skip|todo)$/.exec(line);
  if (bun !== null) return counted(bun[2]!, Number(bun[1]));
  const plain = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/.exec(line);
  if (plain === null) return counted("nothing", 0);
  return { passed: Number(plain[1]), failed: Number(plain[2]), skipped: Number(plain[3] ?? 0) };
}

function testLine(line: string): Counts {
  return counted(/^\((pass|fail|skip|todo)\) /.exec(line)?.[1] ?? "nothing", 1);
}

function counted(kind: string, number: number): Counts {
  const is = (...kinds: string[]) => (kinds.includes(kind) ? number : 0);
  return { passed: is("pass"), failed: is("fail", "error", "errors"), skipped: is("skip", "todo") };
}
