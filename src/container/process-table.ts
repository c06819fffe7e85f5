import { TsrunError } from "../errors.ts";

/** The heading of a table of ps(1), and those of its lines that are about one of `pids`. */
export function processTable(output: string, pids: readonly number[]): string {
  const [heading = "", ...lines] = output.split("\n");
  const column = /(?:^|\s)PID(?=\s|$)/.exec(heading);
  if (column === null) {
    throw new TsrunError("couldn't find PID field in ps output", {
      code: "EINVAL",
      hint: "give ps(1) options with which it prints a column PID, such as -o pid,args",
    });
  }
  const end = column.index + column[0].length;
  const index = heading.slice(0, end).trim().split(/\s+/).length - 1;
  const wanted = new Set(pids);
  const kept = lines.filter((line) => wanted.has(pidOf(line, end, index)));
  return [heading, ...kept].map((line) => `${line}\n`).join("");
}

/**
 * The number that ends where PID ends in the heading, for ps(1) aligns numbers to the right; columns before it may hold
 * spaces. Where one of them is wider than its heading, the word of the same number. NaN when neither is a number.
 */
function pidOf(line: string, end: number, index: number): number {
  const aligned = /(?:^|\s)(\d+)$/.exec(line.slice(0, end))?.[1];
  const isWhole = line[end] === undefined || line[end] === " ";
  const word = aligned !== undefined && isWhole ? aligned : line.trim().split(/\s+/)[index];
  return /^\d+$/.test(word ?? "") ? Number(word) : Number.NaN;
}
