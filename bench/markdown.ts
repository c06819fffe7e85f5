/** Of medians; a dash where one was not measured. */
export function ratio(ours: number | undefined, theirs: number | undefined): string {
  if (ours === undefined || theirs === undefined) return "–";
  const value = ours / theirs;
  return value < 0.095 ? value.toFixed(3) : value.toFixed(2);
}

/** A table whose columns are as wide as what is in them, the first to the left. */
export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const width = (column: number) => Math.max(3, ...[head, ...rows].map((row) => row[column]!.length));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, at) => (at === 0 ? cell.padEnd(width(at)) : cell.padStart(width(at)))).join(" | ")} |`;
  const rule = `| ${head.map((_, at) => (at === 0 ? "-".repeat(width(at)) : `${"-".repeat(width(at) - 1)}:`)).join(" | ")} |`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}
