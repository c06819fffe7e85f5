import { addUp, type Counts, skippedTests } from "./count-results.ts";

export interface Row extends Counts {
  readonly name: string;
  readonly seconds: number;
  /** All that the suite printed: the reasons for what was skipped are taken from it. */
  readonly output: string;
}

/** A line per suite, below it why what was skipped, and the sum. */
export function resultsTable(rows: readonly Row[]): string[] {
  const width = Math.max(5, ...rows.map(({ name }) => name.length));
  const line = (name: string, cells: readonly string[]) =>
    `${name.padEnd(width)}${cells.map((cell) => cell.padStart(9)).join("")}`;
  const counts = ({ passed, failed, skipped }: Counts) => [passed, failed, skipped].map(String);
  const sum = addUp(rows);
  return [
    line("suite", ["passed", "failed", "skipped", "seconds"]),
    ...rows.flatMap((row) => [line(row.name, [...counts(row), row.seconds.toFixed(1)]), ...whySkipped(row)]),
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
