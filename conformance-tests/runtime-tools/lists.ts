/** Readers of counts.txt and expected.txt. */

export interface Count {
  readonly ok: number;
  readonly skipped: number;
}

export type Kind = "skip" | "not-ok" | "error" | "left";

/** A line of expected.txt: `KIND WHERE PROGRAM [N×]["TEXT"]: REASON`. */
export interface Exception {
  readonly kind: Kind;
  /** Words that must all be true: see `isTrue` in machine.ts. */
  readonly where: readonly string[];
  readonly program: string;
  readonly times: number;
  readonly text: string;
  readonly reason: string;
}

const LINE = /^(skip|not-ok|error|left) (\S+) ([a-z_]+)(?: (?:(\d+)× )?"(.*)")?: (.+)$/;

export function readExceptions(text: string): Exception[] {
  return meaningful(text).map((line) => {
    const [, kind, where, program, times, quoted, reason] = LINE.exec(line) ?? [];
    if (kind === undefined || (kind === "skip") !== (quoted === undefined)) throw new Error(`not understood: ${line}`);
    return {
      kind: kind as Kind,
      where: where!.split("+"),
      program: program!,
      times: Number(times ?? 1),
      text: quoted ?? "",
      reason: reason!,
    };
  });
}

/** Lines `PROGRAM OK SKIPPED`, or `PROGRAM OK SKIPPED WHERE` for what holds there only: the last that is true counts. */
export function readCounts(text: string, isTrue: (word: string) => boolean): Map<string, Count> {
  const counts = new Map<string, Count>();
  for (const line of meaningful(text)) {
    const [, program, ok, skipped, where] = /^([a-z_]+) +(\d+) +(\d+)(?: +(\S+))?$/.exec(line) ?? [];
    if (program === undefined) throw new Error(`not understood: ${line}`);
    if (where === undefined || where.split("+").every(isTrue)) {
      counts.set(program, { ok: Number(ok), skipped: Number(skipped) });
    }
  }
  return counts;
}

function meaningful(text: string): string[] {
  return text.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("#"));
}
