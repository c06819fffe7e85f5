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
import type { Block, TestOp } from "./blocks.ts";

/** A block with its place in the program. */
interface Placed {
  readonly block: Block;
  /** Where it goes on: when a test holds, or behind a load; and when a test fails. */
  yes: Placed | undefined;
  no: Placed | undefined;
  /** Index of its first instruction. */
  at: number;
  /** Jumps that are too far for the 8 bits of a comparison: each goes by way of a BPF_JA behind it. */
  farYes: boolean;
  farNo: boolean;
}

const NEAR = 255;

/** The blocks from this one on as struct sock_filter[], little-endian. Plain loops: this runs once, before it is compiled. */
export function assemble(first: Block): Uint8Array {
  const order = inOrder(first);
  // A jump that has become far makes the program longer, and others far too.
  while (measure(order));
  const words: number[] = [];
  for (let i = 0; i < order.length; i++) write(words, order[i]!, order[i + 1]);
  return new Uint8Array(Uint32Array.from(words).buffer);
}

/** Every block before those that it goes on at: classic BPF jumps forward only. Ends stand last, where all can share them. */
function inOrder(first: Block): Placed[] {
  const seen = new Map<Block, Placed>();
  const ends: Placed[] = [];
  const others: Placed[] = [];
  const visit = (block: Block): Placed => {
    const before = seen.get(block);
    if (before !== undefined) return before;
    const placed: Placed = { block, yes: undefined, no: undefined, at: 0, farYes: false, farNo: false };
    seen.set(block, placed);
    if (block.kind === "load") placed.yes = visit(block.next);
    if (block.kind === "test") {
      placed.yes = visit(block.yes);
      placed.no = visit(block.no);
    }
    (block.kind === "return" ? ends : others).push(placed);
    return placed;
  };
  visit(first);
  others.reverse();
  ends.reverse();
  return [...others, ...ends];
}

/** Gives every block its place; true when some jump has turned out to be far. */
function measure(order: readonly Placed[]): boolean {
  let next = 0;
  for (let i = 0; i < order.length; i++) {
    order[i]!.at = next;
    next += sizeOf(order[i]!, order[i + 1]);
  }
  let changed = false;
  for (let i = 0; i < order.length; i++) {
    const placed = order[i]!;
    if (placed.block.kind !== "test") continue;
    if (!placed.farYes && placed.yes!.at - placed.at - 1 > NEAR) changed = placed.farYes = true;
    if (!placed.farNo && placed.no!.at - placed.at - 1 > NEAR) changed = placed.farNo = true;
  }
  return changed;
}

function sizeOf({ block, yes, farYes, farNo }: Placed, following: Placed | undefined): number {
  if (block.kind === "return") return 1;
  if (block.kind === "test") return 1 + Number(farYes) + Number(farNo);
  return 1 + Number(block.mask !== undefined) + Number(yes !== following);
}

function write(words: number[], placed: Placed, following: Placed | undefined): void {
  const { block, at, farYes, farNo } = placed;
  if (block.kind === "return") {
    instruction(words, BPF_RET_K, block.value);
    return;
  }
  if (block.kind === "load") {
    instruction(words, BPF_LD_W_ABS, block.offset);
    if (block.mask !== undefined) instruction(words, BPF_ALU_AND_K, block.mask);
    const behind = at + 1 + Number(block.mask !== undefined);
    if (placed.yes !== following) instruction(words, BPF_JMP_JA, placed.yes!.at - behind - 1);
    return;
  }
  const [yes, no] = [placed.yes!.at - at - 1, placed.no!.at - at - 1];
  instruction(words, TESTS[block.op], block.k, farYes ? 0 : yes, farNo ? Number(farYes) : no);
  if (farYes) instruction(words, BPF_JMP_JA, yes - 1);
  if (farNo) instruction(words, BPF_JMP_JA, no - 1 - Number(farYes));
}

const TESTS: Readonly<Record<TestOp, number>> = {
  eq: BPF_JMP_JEQ_K,
  gt: BPF_JMP_JGT_K,
  ge: BPF_JMP_JGE_K,
  set: BPF_JMP_JSET_K,
};

function instruction(words: number[], code: number, k: number, yes = 0, no = 0): void {
  words.push(code | (yes << 16) | (no << 24), k);
}

/** How many instructions a program has. */
export function lengthOf(program: Uint8Array): number {
  return program.length / SOCK_FILTER_SIZE;
}
