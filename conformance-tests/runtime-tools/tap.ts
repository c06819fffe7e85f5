/** What a program of the suite printed, in the Test Anything Protocol. */
export interface Tap {
  /** What `ok` lines say, in their order; without those that were skipped. */
  readonly ok: readonly string[];
  readonly notOk: readonly string[];
  readonly skipped: number;
  /** What the plans (lines `1..N`) promise together; undefined without one. */
  readonly planned: number | undefined;
  /** `error` of the blocks of details: the only sign of failure that the programs without an ok line give. */
  readonly errors: readonly string[];
}

/** A program may print several streams one after another, each with its own plan. Details are JSON between `---` and `...`. */
export function parseTap(output: string): Tap {
  const tap = { ok: [] as string[], notOk: [] as string[], skipped: 0, errors: [] as string[] };
  let planned: number | undefined;
  let details: string[] | undefined;
  for (const line of output.split("\n")) {
    if (details !== undefined) {
      if (line === "  ...") {
        const error = errorOf(details.join("\n"));
        if (error !== undefined) tap.errors.push(error);
        details = undefined;
      } else details.push(line);
    } else if (line === "  ---") details = [];
    else {
      const plan = /^1\.\.(\d+)/.exec(line);
      if (plan !== null) planned = (planned ?? 0) + Number(plan[1]);
      else readTest(line, tap);
    }
  }
  return { ...tap, planned };
}

function readTest(line: string, tap: { ok: string[]; notOk: string[]; skipped: number }): void {
  const test = /^(not )?ok \d+(?: - | )?(.*)$/.exec(line);
  if (test === null) return;
  const says = test[2]!;
  if (/# SKIP\b/i.test(says)) tap.skipped++;
  else (test[1] === undefined ? tap.ok : tap.notOk).push(says);
}

/** Details that are no JSON are an error too: nobody could read what they say. */
function errorOf(details: string): string | undefined {
  try {
    const parsed: unknown = JSON.parse(details);
    const error = typeof parsed === "object" && parsed !== null && "error" in parsed ? parsed.error : undefined;
    return error === undefined ? undefined : String(error);
  } catch {
    return `details that cannot be read: ${details.trim()}`;
  }
}
