import {
  BPF_ALU_AND_K,
  BPF_JMP_JA,
  BPF_JMP_JEQ_K,
  BPF_JMP_JGE_K,
  BPF_JMP_JGT_K,
  BPF_JMP_JSET_K,
  BPF_LD_W_ABS,
  BPF_RET_K,
  SOCK_FILTER_SIZE,
} from "../abi/filter.ts";

/**
 * A program that is written from its end to its beginning: classic BPF jumps forward only, so that whatever is jumped to is
 * there before what jumps, and every distance is known at once.
 */
export interface Emitter {
  /** Code and jumps of each instruction, the last one of the program first; and its k: 32 bits with a sign, arrays of which are faster. */
  readonly codes: number[];
  readonly ks: number[];
  /** What returns return. */
  readonly values: number[];
  /** The nearest instruction that is as good as the block: a return, or a jump to what is far. */
  readonly near: Map<Block, number>;
  /** Blocks that are the same are one, so that common ends are shared. */
  readonly known: Map<string, Block>;
}

/**
 * What to do from some point on: the place of an instruction, counted from the end; or negative, the return of
 * `values[-1 - block]`, which is written where it is needed.
 */
export type Block = number;

/** Unsigned comparison of the loaded word with k; `set`: the two have a bit in common. */
export type TestOp = "eq" | "gt" | "ge" | "set";

export function newEmitter(): Emitter {
  return { codes: [], ks: [], values: [], near: new Map(), known: new Map() };
}

export function returns({ values }: Emitter, value: number): Block {
  const before = values.indexOf(value);
  return -1 - (before < 0 ? values.push(value) - 1 : before);
}

/** Whether nothing but a return is left to do. */
export function isReturn(block: Block): boolean {
  return block < 0;
}

/** Goes on at `yes` or at `no`. */
export function test(emitter: Emitter, op: TestOp, k: number, yes: Block, no: Block): Block {
  if (yes === no) return yes;
  const { codes } = emitter;
  // The first may come to be one further away when the second needs an instruction of its own.
  let then = nearest(emitter, yes);
  let otherwise = nearest(emitter, no);
  if (codes.length - then > NEAR) then = nearest(emitter, yes);
  if (codes.length - otherwise > NEAR) otherwise = nearest(emitter, no);
  const at = codes.length;
  return emit(emitter, codeOf(op) | ((at - then - 1) << 16) | ((at - otherwise - 1) << 24), k);
}

/** The same for tests of which there may be several alike: there is one of each. */
export function sharedTest(emitter: Emitter, op: TestOp, k: number, yes: Block, no: Block): Block {
  if (yes === no) return yes;
  const key = `${op} ${k} ${yes} ${no}`;
  let block = emitter.known.get(key);
  if (block === undefined) {
    block = test(emitter, op, k, yes, no);
    emitter.known.set(key, block);
  }
  return block;
}

/** Loads the word at `offset` of seccomp_data, masked where there is a `mask`, and goes on. */
export function load(emitter: Emitter, offset: number, mask: number | undefined, next: Block): Block {
  if (isReturn(next)) return next;
  const key = `load ${offset} ${mask} ${next}`;
  let block = emitter.known.get(key);
  if (block === undefined) {
    const last = emitter.codes.length - 1;
    if (next !== last) emit(emitter, BPF_JMP_JA, last - next);
    if (mask !== undefined) emit(emitter, BPF_ALU_AND_K, mask);
    block = emit(emitter, BPF_LD_W_ABS, offset);
    emitter.known.set(key, block);
  }
  return block;
}

/** A comparison has 8 bits for a distance. */
const NEAR = 256;

/** An instruction that a test which is emitted now can jump to: the block's own, or one that leads there. */
function nearest(emitter: Emitter, block: Block): number {
  const { codes, near } = emitter;
  const at = near.get(block) ?? block;
  if (at >= 0 && codes.length - at <= NEAR) return at;
  const copy = isReturn(block)
    ? emit(emitter, BPF_RET_K, emitter.values[-1 - block]!)
    : emit(emitter, BPF_JMP_JA, codes.length - block - 1);
  near.set(block, copy);
  return copy;
}

function codeOf(op: TestOp): number {
  if (op === "ge") return BPF_JMP_JGE_K;
  if (op === "eq") return BPF_JMP_JEQ_K;
  return op === "gt" ? BPF_JMP_JGT_K : BPF_JMP_JSET_K;
}

function emit({ codes, ks }: Emitter, code: number, k: number): Block {
  codes.push(code);
  return ks.push(k | 0) - 1;
}

/** The program that begins with `first`, the last that was emitted, as struct sock_filter[], little-endian. */
export function finish(emitter: Emitter, first: Block): Uint8Array {
  const { codes, ks } = emitter;
  if (isReturn(first)) nearest(emitter, first);
  const count = codes.length;
  const words = new Int32Array(2 * count);
  for (let at = 0, from = count - 1; from >= 0; from--) {
    words[at++] = codes[from]!;
    words[at++] = ks[from]!;
  }
  return new Uint8Array(words.buffer);
}

/** How many instructions a program has. */
export function lengthOf(program: Uint8Array): number {
  return program.length / SOCK_FILTER_SIZE;
}
