import { SECCOMP_DATA_ARGS } from "../abi/seccomp.ts";
import type { Architecture } from "./architectures.ts";
import type { Condition, Decision } from "./decisions.ts";
import { type Block, type Emitter, load, returns, sharedTest, type TestOp } from "./emit.ts";

/** What is known of one word of an argument on the way to a test: what it is, or some of what it is not. */
interface Fact {
  /** -1 where that is not known. */
  readonly is: number;
  readonly not: readonly number[];
  /** The same as text: two facts that say the same have the same. */
  readonly key: string;
}

interface Place {
  readonly rule: number;
  readonly condition: number;
  /** What the accumulator holds: the word at this offset, and with `mask` not 0 only these bits of it. */
  readonly offset: number;
  readonly mask: number;
  /** The argument that the facts are about. */
  readonly index: number;
  readonly low: Fact;
  readonly high: Fact;
}

const UNKNOWN: Fact = { is: -1, not: [], key: "" };
/** In longer lists what is known is not carried along: every rule would be made anew for every rule before it. */
const MANY_RULES = 64;

/** The blocks that find the first rule of a decision whose conditions hold. */
export function decide(emitter: Emitter, decision: Decision, architecture: Architecture): Block {
  if (decision.length === 1) return returns(emitter, decision[0]!.returns);
  const made = new Map<string, Block>();
  const remembers = decision.length <= MANY_RULES;

  /** Many ways lead to a place: it is made once for all that know the same. */
  function at(from: Place, rule: number, condition: number): Block {
    const { conditions, returns: value } = decision[rule]!;
    const asked = conditions[condition];
    if (asked === undefined) return returns(emitter, value);
    const { offset, mask } = from;
    const knows = asked.index === from.index;
    const low = knows ? from.low : UNKNOWN;
    const high = knows ? from.high : UNKNOWN;
    const key = `${rule} ${condition} ${offset} ${mask} ${low.key} ${high.key}`;
    let block = made.get(key);
    if (block === undefined) {
      const place = { rule, condition, offset, mask, index: asked.index, low, high };
      block = compare(asked, architecture, place);
      made.set(key, block);
    }
    return block;
  }

  const holds: Next = (from) => at(from, from.rule, from.condition + 1);
  const fails: Next = (from) => at(from, from.rule + 1, 0);

  function compare({ index, op, value, mask }: Condition, { is32, isBigEndian }: Architecture, place: Place): Block {
    const low = lowOffset(index, architecture);
    const high = is32 ? undefined : isBigEndian ? low - 4 : low + 4;
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
        const ordered = op === "SCMP_CMP_GT" || op === "SCMP_CMP_LE" ? "gt" : "ge";
        const second: Next = (from) => check(from, low, ordered, l, yes, no);
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
    const found = { ...from, offset, mask };
    const rest = sharedTest(emitter, "eq", value, yes(found), no(found));
    return from.offset === offset && from.mask === mask ? rest : load(emitter, offset, mask, rest);
  }

  function check(from: Place, offset: number, op: TestOp, k: number, yes: Next, no: Next): Block {
    const isLow = offset === lowOffset(from.index, architecture);
    const known = isLow ? from.low : from.high;
    const answer = foresee(known, op, k);
    if (answer !== undefined) return answer ? yes(from) : no(from);
    let then: Place = { ...from, offset, mask: 0 };
    let otherwise = then;
    if (remembers && op === "eq") {
      const [isK, isNot] = [factIs(k), factNot(known, k)];
      otherwise = isLow ? { ...then, low: isNot } : { ...then, high: isNot };
      then = isLow ? { ...then, low: isK } : { ...then, high: isK };
    }
    const rest = sharedTest(emitter, op, k, yes(then), no(otherwise));
    return from.offset === offset && from.mask === 0 ? rest : load(emitter, offset, undefined, rest);
  }

  return at({ rule: 0, condition: 0, offset: -1, mask: 0, index: -1, low: UNKNOWN, high: UNKNOWN }, 0, 0);
}

type Next = (from: Place) => Block;

/** Of struct seccomp_data. */
function lowOffset(index: number, { isBigEndian }: Architecture): number {
  return SECCOMP_DATA_ARGS + 8 * index + (isBigEndian ? 4 : 0);
}

function factIs(k: number): Fact {
  return { is: k, not: [], key: `=${k}` };
}

/** The last few values that a word is not: which of them it is has been asked before. */
function factNot({ not }: Fact, k: number): Fact {
  const MEMORY = 4;
  const list = [k, ...not].slice(0, MEMORY);
  return { is: -1, not: list, key: list.join() };
}

/** The answer of a test that earlier ones give already. */
function foresee({ is, not }: Fact, op: TestOp, k: number): boolean | undefined {
  if (op === "gt" && k === 0xffffffff) return false;
  if (op === "ge" && k === 0) return true;
  if (is >= 0) {
    if (op === "eq") return is === k;
    if (op === "set") return (is & k) !== 0;
    return op === "gt" ? is > k : is >= k;
  }
  return op === "eq" && not.includes(k) ? false : undefined;
}

const lower = (value: bigint): number => Number(BigInt.asUintN(32, value));
const upper = (value: bigint): number => Number(BigInt.asUintN(32, value >> 32n));
