import type { Architecture } from "./architectures.ts";
import { type Condition, type Decisions, decisionOn, type Rule } from "./decisions.ts";

/** The rule that decides on a call of one architecture: without the program that is made of it. */
export function decidingRule(decisions: Decisions, number: number, args: readonly bigint[]): Rule | undefined {
  const { architecture, newest = -1 } = decisions;
  if (newest >= 0 && number > newest) return undefined;
  return decisionOn(decisions, number).find(({ conditions }) =>
    conditions.every((one) => holds(one, args[one.index] ?? 0n, architecture)),
  );
}

/** As the kernel compares: unsigned, all bits of a register. */
export function holds({ op, value, mask }: Condition, argument: bigint, { is32 }: Architecture): boolean {
  const bits = is32 ? 32 : 64;
  const [a, b, m] = [argument, value, mask].map((word) => BigInt.asUintN(bits, word)) as [bigint, bigint, bigint];
  switch (op) {
    case "SCMP_CMP_EQ":
      return a === b;
    case "SCMP_CMP_NE":
      return a !== b;
    case "SCMP_CMP_LT":
      return a < b;
    case "SCMP_CMP_LE":
      return a <= b;
    case "SCMP_CMP_GT":
      return a > b;
    case "SCMP_CMP_GE":
      return a >= b;
    case "SCMP_CMP_MASKED_EQ":
      return (a & m) === b;
  }
}
