import { addUp, type Counts, skippedTests } from "./count-results.ts";

export interface Row extends Counts {
  readonly name: string;
  readonly seconds: number;
  /** All that the suite printed: the reasons for what was skipped, and for second tries, are taken from it. */
  readonly output: string;
}

/** A line per suite, below it why what was skipped or tried again, and the sum. */
export function resultsTable(rows: readonly Row[]): string[] {
  const width = Math.max(5, ...rows.map(({ name }) => name.length));
  const line = (name: string, cells: readonly string[]) =>
    `${name.padEnd(width)}${cells.map((cell) => cell.padStart(9)).join("")}`;
  const counts = ({ passed, failed, skipped }: Counts) => [passed, failed, skipped].map(String);
  const sum = addUp(rows);
  return [
    line("suite", ["passed", "failed", "skipped", "seconds"]),
    ...rows.flatMap((row) => [
      line(row.name, [...counts(row), row.seconds.toFixed(1)]),
      ...whySkipped(row),
      ...triedAgain(row),
    ]),
    line("all", [...counts(sum), ""]).trimEnd(),
  ];
}

/** By reason; the names are in the logs. */
function whySkipped({ skipped, output }: Row): string[] {
  if (skipped === 0) return [];
  const reasons = [...skippedTests(output)];
  return reasons.map(([reason, names]) => {
    return `    skipped ${names.length === 1 ? names[0] : `${names.length} tests`}: ${reason}`;
  });
}

/** What failed once: who reads the table should know of it, though it did not fail again. */
function triedAgain({ output }: Row): string[] {
  const lines = output.split("\n").filter((line) => line.startsWith("again: "));
  return lines.map((line) => `    tried ${line.slice(0, MAX_LENGTH)}`);
}

/** Of what an error says, so much is told; the rest is in the log. */
const MAX_LENGTH = 200;
