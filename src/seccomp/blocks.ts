import { SECCOMP_DATA_ARGS } from "../abi/seccomp.ts";
import type { Architecture } from "./architectures.ts";
import type { Condition, Decision } from "./decisions.ts";

/** A program as a graph without cycles: each block ends it, or goes on at one of two others. */
export type Block =
  | { readonly kind: "return"; readonly value: number }
  /** Loads the word at `offset` of seccomp_data, masked where there is a `mask`, unless it is loaded already. */
  | { readonly kind: "load"; readonly offset: number; readonly mask?: number; readonly next: Block }
  | { readonly kind: "test"; readonly op: TestOp; readonly k: number; readonly yes: Block; readonly no: Block };

/** Unsigned comparison of the loaded word with k; `set`: the two have a bit in common. */
export type TestOp = "eq" | "gt" | "ge" | "set";

/** Blocks that are the same are one, so that common ends are shared. */
export interface Blocks {
  readonly known: Map<string, Block>;
  readonly ids: Map<Block, number>;
}

export function newBlocks(): Blocks {
  return { known: new Map(), ids: new Map() };
}

export function returns(blocks: Blocks, value: number): Block {
  return shared(blocks, `return ${value}`, { kind: "return", value });
}

export function test(blocks: Blocks, op: TestOp, k: number, yes: Block, no: Block): Block {
  if (yes === no) return yes;
  return shared(blocks, `${op} ${k} ${blocks.ids.get(yes)} ${blocks.ids.get(no)}`, { kind: "test", op, k, yes, no });
}

export function load(blocks: Blocks, offset: number, mask: number | undefined, next: Block): Block {
  if (next.kind === "return") return next;
  const block: Block = mask === undefined ? { kind: "load", offset, next } : { kind: "load", offset, mask, next };
  return shared(blocks, `load ${offset} ${mask} ${blocks.ids.get(next)}`, block);
}

function shared(blocks: Blocks, key: string, block: Block): Block {
  const before = blocks.known.get(key);
  if (before !== undefined) return before;
  blocks.known.set(key, block);
  blocks.ids.set(block, blocks.ids.size);
  return block;
}

/** What is known of the two words of one argument on the way to a test: what each is, or some of what it is not. */
interface Fact {
  readonly is?: number;
  readonly not?: readonly number[];
}

interface Place {
  readonly rule: number;
  readonly condition: number;
  /** What the accumulator holds: `offset`, or `offset&mask`. */
  readonly loaded: string;
  /** The argument that `facts` are about. */
  readonly index: number;
  readonly facts: ReadonlyMap<number, Fact>;
}

const NOTHING_KNOWN: ReadonlyMap<number, Fact> = new Map();
/** In longer lists what is known is not carried along: every rule would be made anew for every rule before it. */
const MANY_RULES = 64;

/** The blocks that find the first rule of a decision whose conditions hold. */
export function decide(blocks: Blocks, decision: Decision, architecture: Architecture): Block {
  if (decision.length === 1) return returns(blocks, decision[0]!.returns);
  const made = new Map<string, Block>();
  const remembers = decision.length <= MANY_RULES;

  /** Many ways lead to a place: it is made once for all that know the same. */
  function at(place: Place): Block {
    const { conditions, returns: value } = decision[place.rule]!;
    const condition = conditions[place.condition];
    if (condition === undefined) return returns(blocks, value);
    const here = condition.index === place.index ? place : { ...place, index: condition.index, facts: NOTHING_KNOWN };
    const key = JSON.stringify([here.rule, here.condition, here.loaded, [...here.facts]]);
    const before = made.get(key);
    if (before !== undefined) return before;
    const holds = (from: Place) => at({ ...from, condition: place.condition + 1 });
    const fails = (from: Place) => at({ ...from, rule: place.rule + 1, condition: 0 });
    const block = compare(condition, architecture, here, holds, fails);
    made.set(key, block);
    return block;
  }

  function compare(
    { index, op, value, mask }: Condition,
    { is32, isBigEndian }: Architecture,
    place: Place,
    holds: Next,
    fails: Next,
  ): Block {
    const low = SECCOMP_DATA_ARGS + 8 * index + (isBigEndian ? 4 : 0);
    const high = is32 ? undefined : SECCOMP_DATA_ARGS + 8 * index + (isBigEndian ? 0 : 4);
    const [l, h] = [lower(value), upper(value)];
    switch (op) {
      case "SCMP_CMP_EQ":
      case "SCMP_CMP_NE": {
        const [yes, no] = op === "SCMP_CMP_EQ" ? [holds, fails] : [fails, holds];
        const second: Next = (from) => check(from, low, "eq", l, yes, no);
        return high === undefined ? second(place) : check(place, high, "eq", h, second, no);
      }
      case "SCMP_CMP_MASKED_EQ": {
        const [ml, mh] = [lower(mask), upper(mask)];
        const second: Next = (from) => checkMasked(from, low, ml, l, holds, fails);
        return high === undefined ? second(place) : checkMasked(place, high, mh, h, second, fails);
      }
      default: {
        const [yes, no] = op === "SCMP_CMP_GT" || op === "SCMP_CMP_GE" ? [holds, fails] : [fails, holds];
        const test = op === "SCMP_CMP_GT" || op === "SCMP_CMP_LE" ? "gt" : "ge";
        const second: Next = (from) => check(from, low, test, l, yes, no);
        if (high === undefined) return second(place);
        return check(place, high, "gt", h, yes, (from) => check(from, high, "eq", h, second, no));
      }
    }
  }

  function checkMasked(from: Place, offset: number, mask: number, value: number, yes: Next, no: Next): Block {
    if (mask === 0) return value === 0 ? yes(from) : no(from);
    if ((value & ~mask) !== 0) return no(from);
    if (mask === 0xffffffff) return check(from, offset, "eq", value, yes, no);
    // One bit, or none of some: a test without a masked copy.
    if (value === 0) return check(from, offset, "set", mask, no, yes);
    if (value === mask && (mask & (mask - 1)) === 0) return check(from, offset, "set", mask, yes, no);
    const loaded = `${offset}&${mask}`;
    const found = { ...from, loaded };
    const rest = test(blocks, "eq", value, yes(found), no(found));
    return from.loaded === loaded ? rest : load(blocks, offset, mask, rest);
  }

  function check(from: Place, offset: number, op: TestOp, k: number, yes: Next, no: Next): Block {
    const word = String(offset);
    const known = from.facts.get(offset);
    const answer = foresee(known, op, k);
    if (answer !== undefined) return answer ? yes(from) : no(from);
    const loaded = { ...from, loaded: word };
    if (!remembers) return testLoaded(from, loaded, loaded);
    const isK = { ...loaded, facts: new Map(from.facts).set(offset, { is: k }) };
    const notK = { ...loaded, facts: new Map(from.facts).set(offset, { not: [k, ...(known?.not ?? [])].slice(0, 4) }) };
    return op === "eq" ? testLoaded(from, isK, notK) : testLoaded(from, loaded, loaded);

    function testLoaded(from: Place, then: Place, otherwise: Place): Block {
      const rest = test(blocks, op, k, yes(then), no(otherwise));
      return from.loaded === word ? rest : load(blocks, offset, undefined, rest);
    }
  }

  return at({ rule: 0, condition: 0, loaded: "", index: -1, facts: NOTHING_KNOWN });
}

type Next = (from: Place) => Block;

/** The answer of a test that earlier ones give already. */
function foresee(known: Fact | undefined, op: TestOp, k: number): boolean | undefined {
  if (op === "gt" && k === 0xffffffff) return false;
  if (op === "ge" && k === 0) return true;
  if (known?.is !== undefined) {
    if (op === "eq") return known.is === k;
    if (op === "set") return (known.is & k) !== 0;
    return op === "gt" ? known.is > k : known.is >= k;
  }
  return op === "eq" && known?.not?.includes(k) === true ? false : undefined;
}

const lower = (value: bigint): number => Number(BigInt.asUintN(32, value));
const upper = (value: bigint): number => Number(BigInt.asUintN(32, value >> 32n));
