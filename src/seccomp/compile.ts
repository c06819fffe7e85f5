import { BPF_MAXINSNS } from "../abi/filter.ts";
import { SECCOMP_DATA_ARCH, SECCOMP_DATA_NR, SECCOMP_RET_KILL_THREAD, X32_SYSCALL_BIT } from "../abi/seccomp.ts";
import { TsrunError } from "../errors.ts";
import type { Seccomp, SeccompArch } from "../spec/types.ts";
import { architecture } from "./architectures.ts";
import { decide } from "./conditions.ts";
import { type Decisions, decisionsOf, NO_SUCH_CALL } from "./decisions.ts";
import { type Block, type Emitter, finish, lengthOf, load, newEmitter, returns, test } from "./emit.ts";

/**
 * The profile as a program for seccomp(2), as struct sock_filter[], in the byte order of x86-64 and aarch64:
 *
 *     architecture   a comparison for each, the kernel's own first; a call of any other kills the thread
 *     number         a binary search over ranges of numbers that the same is decided about
 *     arguments      of calls that have conditions
 *
 * Throws TsrunError when it is longer than the kernel takes.
 */
export function compileSeccomp(profile: Seccomp, native: SeccompArch): Uint8Array {
  return compileDecisions(decisionsFor(profile, native));
}

/** The same for a profile that has been looked into already. */
export function compileDecisions(all: readonly Decisions[]): Uint8Array {
  const program = tryToCompile(all);
  const count = program === undefined ? `more than ${BPF_MAXINSNS}` : lengthOf(program);
  if (program !== undefined && lengthOf(program) <= BPF_MAXINSNS) return program;
  throw new TsrunError(
    `cannot compile the seccomp profile: ${count} instructions, the kernel takes ${BPF_MAXINSNS} (linux.seccomp)`,
    { code: "E2BIG", pointer: "/linux/seccomp", hint: "use fewer conditions on arguments" },
  );
}

/** Undefined when one call has so many conditions, several thousand, that they cannot even be followed. */
function tryToCompile(all: readonly Decisions[]): Uint8Array | undefined {
  const emitter = newEmitter();
  try {
    return finish(emitter, architectures(emitter, all));
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** The kernel's own architecture always is among them, and first. */
export function decisionsFor(profile: Seccomp, native: SeccompArch): Decisions[] {
  const names = new Set([native, ...(profile.architectures ?? [])]);
  return [...names].map((name) => decisionsOf(profile, architecture(name)));
}

/** The kernel's own architecture is emitted last, and so asked for first. x32 has x86_64's token: the two are one search. */
function architectures(emitter: Emitter, all: readonly Decisions[]): Block {
  let next = returns(emitter, SECCOMP_RET_KILL_THREAD);
  const tokens = [...new Set(all.map(({ architecture }) => architecture.token))];
  for (const token of tokens.reverse()) {
    const own = all.filter(({ architecture }) => architecture.token === token);
    const ranges = rangesOf(emitter, own);
    const found = search(emitter, ranges, 0, ranges.starts.length);
    next = test(emitter, "eq", token, load(emitter, SECCOMP_DATA_NR, undefined, found), next);
  }
  return load(emitter, SECCOMP_DATA_ARCH, undefined, next);
}

/** Numbers from each start up to the next one have the same block. Plain arrays and loops: this runs once, interpreted. */
interface Ranges {
  readonly starts: number[];
  readonly blocks: Block[];
}

function rangesOf(emitter: Emitter, all: readonly Decisions[]): Ranges {
  const ranges: Ranges = { starts: [], blocks: [] };
  const ordered = all.toSorted((a, b) => a.architecture.base - b.architecture.base);
  for (const decisions of ordered) addRanges(emitter, ranges, decisions);
  const [{ architecture, list }] = ordered as [Decisions];
  if (architecture.name === "SCMP_ARCH_X86_64" && ordered.length === 1) {
    // Numbers of x32, which the profile does not name. A tracer that skips a call makes it -1.
    add(ranges, X32_SYSCALL_BIT, returns(emitter, SECCOMP_RET_KILL_THREAD));
    add(ranges, 0xffffffff, decide(emitter, list[0]!, architecture));
  }
  return ranges;
}

function addRanges(emitter: Emitter, ranges: Ranges, { architecture, list, near, far, newest }: Decisions): void {
  const others = decide(emitter, list[0]!, architecture);
  const blocks: (Block | undefined)[] = [others];
  // Calls share decisions, and some have been replaced by others: each is emitted when it is first asked for.
  const blockOf = (which: number): Block => {
    let block = blocks[which];
    if (block === undefined) block = blocks[which] = decide(emitter, list[which]!, architecture);
    return block;
  };
  add(ranges, architecture.base, others);
  for (let place = 0, before = 0; place < near.length; place++) {
    const which = near[place]!;
    if (which === before) continue;
    add(ranges, architecture.first + place, blockOf(which));
    before = which;
  }
  const numbers = Uint32Array.from(far.keys()).sort();
  for (let i = 0; i < numbers.length; i++) {
    add(ranges, numbers[i]!, blockOf(far.get(numbers[i]!)!));
    if (numbers[i + 1] !== numbers[i]! + 1) add(ranges, numbers[i]! + 1, others);
  }
  if (newest !== undefined && newest >= 0) add(ranges, newest + 1, decide(emitter, NO_SUCH_CALL, architecture));
}

/** What begins where another range does takes its place. */
function add({ starts, blocks }: Ranges, start: number, block: Block): void {
  if (starts[starts.length - 1] === start) {
    starts.pop();
    blocks.pop();
  }
  if (blocks[blocks.length - 1] === block) return;
  starts.push(start);
  blocks.push(block);
}

/** With the number loaded: a balanced tree of comparisons over ranges `from` to `to`, that one not included. */
function search(emitter: Emitter, ranges: Ranges, from: number, to: number): Block {
  if (to - from === 1) return ranges.blocks[from]!;
  const middle = (from + to) >> 1;
  const above = search(emitter, ranges, middle, to);
  return test(emitter, "ge", ranges.starts[middle]!, above, search(emitter, ranges, from, middle));
}
