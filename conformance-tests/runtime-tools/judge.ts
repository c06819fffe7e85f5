import type { Count, Exception, Kind } from "./lists.ts";
import { parseTap } from "./tap.ts";

/** How a program of the suite ended. */
export interface Ending {
  /** Exit status; -1 when the time limit ended it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** What it, or the runtime, left on the machine: `container ID`, `mount PATH` … */
  readonly left: readonly string[];
}

/**
 * What is wrong with an ending: nothing when the program printed exactly so many ok lines and skipped so many, and failed in
 * just what `exceptions` tolerate. One that no longer happens is wrong too, so that the list shrinks.
 */
export function judge(ending: Ending, count: Count, exceptions: readonly Exception[]): string[] {
  const tap = parseTap(ending.stdout);
  const lines = tap.ok.length + tap.notOk.length + tap.skipped;
  const of = (kind: Kind) => exceptions.filter((exception) => exception.kind === kind);
  const failures = lines === 0 && ending.status === 0 ? tap.errors : endingBadly(ending);
  return [
    ...(tap.ok.length === count.ok ? [] : [`${tap.ok.length} ok lines instead of ${count.ok}`]),
    ...(tap.skipped === count.skipped ? [] : [`${tap.skipped} skipped lines instead of ${count.skipped}`]),
    ...((tap.planned ?? lines) === lines ? [] : [`${lines} lines where ${tap.planned} were planned`]),
    ...differences("not ok", tap.notOk, of("not-ok")),
    ...differences("error", failures, of("error")),
    ...differences("left behind", ending.left, of("left")),
  ];
}

function endingBadly({ status, stderr }: Ending): string[] {
  if (status === 0) return [];
  return [`${status === -1 ? "it took too long" : `exit status ${status}`}: ${stderr.trim()}`];
}

/** Each exception tolerates exactly so many of the things that contain its text. */
function differences(what: string, things: readonly string[], tolerated: readonly Exception[]): string[] {
  const rest = [...things];
  const wrong: string[] = [];
  for (const { text, times } of tolerated) {
    const found = rest.filter((thing) => thing.includes(text));
    for (const thing of found) rest.splice(rest.indexOf(thing), 1);
    if (found.length !== times) wrong.push(`${found.length}× "${text}" instead of ${times}×, as expected.txt has it`);
  }
  return [...rest.map((thing) => `${what}: ${thing}`), ...wrong];
}
