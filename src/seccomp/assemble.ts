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
  /** Index of its first instruction. */
  at: number;
  /** Jumps that are too far for the 8 bits of a comparison: each goes by way of a BPF_JA behind it. */
  farYes: boolean;
  farNo: boolean;
}

const NEAR = 255;

/** The blocks from this one on as struct sock_filter[], little-endian. */
export function assemble(first: Block): Uint8Array {
  const order = inOrder(first).map((block): Placed => ({ block, at: 0, farYes: false, farNo: false }));
  const places = new Map(order.map((placed) => [placed.block, placed]));
  const at = (block: Block): number => places.get(block)!.at;
  // A jump that has become far makes the program longer, and others far too.
  while (measure(order, at));
  const words: number[] = [];
  for (const [i, placed] of order.entries()) write(words, placed, order[i + 1]?.block, at);
  const program = new Uint8Array(words.length * 4);
  const view = new DataView(program.buffer);
  for (const [i, word] of words.entries()) view.setUint32(i * 4, word >>> 0, true);
  return program;
}

/** Every block before those that it goes on at: classic BPF jumps forward only. Ends stand last, where all can share them. */
function inOrder(first: Block): Block[] {
  const seen = new Set<Block>();
  const order: Block[] = [];
  const visit = (block: Block): void => {
    if (seen.has(block)) return;
    seen.add(block);
    if (block.kind === "load") visit(block.next);
    if (block.kind === "test") {
      visit(block.yes);
      visit(block.no);
    }
    order.push(block);
  };
  visit(first);
  order.reverse();
  const isEnd = ({ kind }: Block) => kind === "return";
  return [...order.filter((block) => !isEnd(block)), ...order.filter(isEnd)];
}

/** Gives every block its place; true when some jump has turned out to be far. */
function measure(order: readonly Placed[], at: (block: Block) => number): boolean {
  let next = 0;
  for (const [i, placed] of order.entries()) {
    placed.at = next;
    next += sizeOf(placed, order[i + 1]?.block);
  }
  let changed = false;
  for (const placed of order) {
    const { block } = placed;
    if (block.kind !== "test") continue;
    const farYes = placed.farYes || at(block.yes) - placed.at - 1 > NEAR;
    const farNo = placed.farNo || at(block.no) - placed.at - 1 > NEAR;
    changed ||= farYes !== placed.farYes || farNo !== placed.farNo;
    placed.farYes = farYes;
    placed.farNo = farNo;
  }
  return changed;
}

function sizeOf({ block, farYes, farNo }: Placed, following: Block | undefined): number {
  if (block.kind === "return") return 1;
  if (block.kind === "test") return 1 + Number(farYes) + Number(farNo);
  return 1 + Number(block.mask !== undefined) + Number(block.next !== following);
}

function write(words: number[], placed: Placed, following: Block | undefined, at: (block: Block) => number): void {
  const { block, farYes, farNo } = placed;
  const jump = (from: number, to: Block) => instruction(words, BPF_JMP_JA, at(to) - from - 1);
  if (block.kind === "return") {
    instruction(words, BPF_RET_K, block.value);
    return;
  }
  if (block.kind === "load") {
    instruction(words, BPF_LD_W_ABS, block.offset);
    if (block.mask !== undefined) instruction(words, BPF_ALU_AND_K, block.mask);
    if (block.next !== following) jump(placed.at + 1 + Number(block.mask !== undefined), block.next);
    return;
  }
  const yes = farYes ? 0 : at(block.yes) - placed.at - 1;
  const no = farNo ? Number(farYes) : at(block.no) - placed.at - 1;
  instruction(words, TESTS[block.op], block.k, yes, no);
  if (farYes) jump(placed.at + 1, block.yes);
  if (farNo) jump(placed.at + 1 + Number(farYes), block.no);
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
