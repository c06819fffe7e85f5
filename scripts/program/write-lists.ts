/**
 * Which pages of its memory a command writes, and which huge pages of code it runs. They are the same each time, for it begins
 * with the same memory; a page that is written is copied first, and to have some hundreds copied at once costs the kernel two
 * thirds of what they cost one by one.
 */
import { HUGE_PAGE } from "./elf.ts";
import { PAGE, readCodePages, readWrittenPages, runsOf } from "./process-memory.ts";
import { atExit } from "./traced-exit.ts";
import type { Mapping, WriteList } from "./warm-start.ts";

/** A command line, and what its list is called: the command, or nothing for command lines that have none with a list. */
export interface Recorded {
  readonly command: string;
  readonly line: readonly string[];
}

/** Of a command with several lines: what all of them write, and what any of them runs. `log` gets what they say. */
export function recordWrites(
  program: string,
  recorded: readonly Recorded[],
  mappings: readonly Mapping[],
  log: string,
): WriteList[] {
  const written = new Map<string, Set<number>>();
  const run = new Map<string, Set<number>>();
  for (const { command, line } of recorded) {
    const look = (pid: number) => ({ pages: new Set(readWrittenPages(pid)), code: readCodePages(pid, program) });
    const seen = atExit([program, ...line], log, look);
    if (seen === undefined) continue;
    written.set(command, seen.pages.intersection(written.get(command) ?? seen.pages));
    run.set(command, new Set(seen.code).union(run.get(command) ?? new Set()));
  }
  // What was mapped last lies on top.
  const offset = (page: number) => {
    const at = page * PAGE;
    const mapping = mappings.findLast(({ address, length }) => at >= address && at < address + length);
    return mapping && mapping.offset + at - mapping.address;
  };
  const inOrder = (pages: Iterable<number>) => [...pages].toSorted((a, b) => a - b);
  return [...written].map(([command, pages]) => {
    const kept = inOrder(pages).filter((page) => offset(page) !== undefined);
    const rows = runsOf(kept, 1).toSorted(([a], [b]) => offset(a)! - offset(b)!);
    return { command, pages: rows, code: firstOfEach(inOrder(run.get(command)!), HUGE_PAGE / PAGE) };
  });
}

/** Of each huge page, `size` pages long, the first page. */
function firstOfEach(pages: readonly number[], size: number): number[] {
  return [...new Map(pages.toReversed().map((page) => [Math.floor(page / size), page])).values()].toReversed();
}
