/**
 * Which pages of its memory a command writes. They are the same each time, for it begins with the same memory; a page that is
 * written is copied first, and to have some hundreds copied at once costs the kernel two thirds of what they cost one by one.
 */
import { PAGE, readWrittenPages, runsOf } from "./process-memory.ts";
import { atExit } from "./traced-exit.ts";
import type { Mapping, WriteList } from "./warm-start.ts";

/** A command line, and what its list is called: the command, or nothing for command lines that have none with a list. */
export interface Recorded {
  readonly command: string;
  readonly line: readonly string[];
}

/** Of a command with several lines: what all of them write. `log` gets what they say. */
export function recordWrites(
  program: string,
  recorded: readonly Recorded[],
  mappings: readonly Mapping[],
  log: string,
): WriteList[] {
  const found = new Map<string, Set<number>>();
  for (const { command, line } of recorded) {
    const pages = atExit([program, ...line], log, (pid) => new Set(readWrittenPages(pid)));
    if (pages !== undefined) found.set(command, pages.intersection(found.get(command) ?? pages));
  }
  const isKept = (page: number) =>
    mappings.some(({ address, length }) => page * PAGE >= address && page * PAGE < address + length);
  return [...found].map(([command, pages]) => {
    const kept = [...pages].filter(isKept).toSorted((a, b) => a - b);
    return { command, pages: runsOf(kept, 1) };
  });
}
