import { BPF_MAXINSNS } from "../abi/filter.ts";
import { SECCOMP_DATA_ARCH, SECCOMP_DATA_NR, SECCOMP_RET_KILL_THREAD, X32_SYSCALL_BIT } from "../abi/seccomp.ts";
import { TsrunError } from "../errors.ts";
import type { Seccomp, SeccompArch } from "../spec/types.ts";
import { type Architecture, architecture } from "./architectures.ts";
import { assemble, lengthOf } from "./assemble.ts";
import { type Block, type Blocks, decide, load, newBlocks, returns, test } from "./blocks.ts";
import { type Decision, type Decisions, decisionsOf, NO_SUCH_CALL } from "./decisions.ts";

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
  const blocks = newBlocks();
  try {
    return assemble(architectures(blocks, all));
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

/** x32 has x86_64's token: the two are one search. */
function architectures(blocks: Blocks, all: readonly Decisions[]): Block {
  let next = returns(blocks, SECCOMP_RET_KILL_THREAD);
  const tokens = [...new Set(all.map(({ architecture }) => architecture.token))];
  for (const token of tokens.reverse()) {
    const own = all.filter(({ architecture }) => architecture.token === token);
    next = test(
      blocks,
      "eq",
      token,
      load(blocks, SECCOMP_DATA_NR, undefined, search(blocks, rangesOf(blocks, own))),
      next,
    );
  }
  return load(blocks, SECCOMP_DATA_ARCH, undefined, next);
}

/** From this number up to the next range. */
interface Range {
  readonly from: number;
  readonly block: Block;
}

function rangesOf(blocks: Blocks, all: readonly Decisions[]): Range[] {
  const ranges: Range[] = [];
  const add = (from: number, block: Block) => {
    const last = ranges.at(-1);
    if (last?.from === from) ranges.pop();
    if (ranges.at(-1)?.block !== block) ranges.push({ from, block });
  };
  const ordered = all.toSorted((a, b) => a.architecture.base - b.architecture.base);
  for (const { architecture, calls, other, newest } of ordered) {
    const blockOf = decider(blocks, architecture);
    const others = blockOf(other);
    add(architecture.base, others);
    // A typed array: to compare numbers takes no function.
    const numbers = Uint32Array.from(calls.keys()).sort();
    for (let i = 0; i < numbers.length; i++) {
      const number = numbers[i]!;
      add(number, blockOf(calls.get(number)!));
      if (numbers[i + 1] !== number + 1) add(number + 1, others);
    }
    if (newest !== undefined && newest >= 0) add(newest + 1, blockOf(NO_SUCH_CALL));
  }
  const [{ architecture, other }] = ordered as [Decisions];
  if (architecture.name === "SCMP_ARCH_X86_64" && ordered.length === 1) {
    // Numbers of x32, which the profile does not name. A tracer that skips a call makes it -1.
    ranges.push({ from: X32_SYSCALL_BIT, block: returns(blocks, SECCOMP_RET_KILL_THREAD) });
    add(0xffffffff, decide(blocks, other, architecture));
  }
  return ranges;
}

/** Calls share decisions: each is looked into once. */
function decider(blocks: Blocks, architecture: Architecture): (decision: Decision) => Block {
  const known = new Map<Decision, Block>();
  return (decision) => {
    let block = known.get(decision);
    if (block === undefined) {
      block = decide(blocks, decision, architecture);
      known.set(decision, block);
    }
    return block;
  };
}

/** With the number loaded: a balanced tree of comparisons. */
function search(blocks: Blocks, ranges: readonly Range[]): Block {
  if (ranges.length === 1) return ranges[0]!.block;
  const middle = ranges.length >> 1;
  const { from } = ranges[middle]!;
  return test(blocks, "ge", from, search(blocks, ranges.slice(middle)), search(blocks, ranges.slice(0, middle)));
}
