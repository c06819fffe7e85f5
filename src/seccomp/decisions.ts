import {
  SECCOMP_RET_ALLOW,
  SECCOMP_RET_ERRNO,
  SECCOMP_RET_KILL_PROCESS,
  SECCOMP_RET_KILL_THREAD,
  SECCOMP_RET_LOG,
  SECCOMP_RET_TRACE,
  SECCOMP_RET_TRAP,
  SECCOMP_RET_USER_NOTIF,
} from "../abi/seccomp.ts";
import type { Seccomp, SeccompAction, SeccompOperator } from "../spec/types.ts";
import type { Architecture } from "./architectures.ts";

/** `argument op value`, unsigned; MASKED_EQ: `(argument & mask) == value`. */
export interface Condition {
  /** 0 to 5. */
  readonly index: number;
  readonly op: SeccompOperator;
  readonly value: bigint;
  readonly mask: bigint;
}

/** What is returned when all conditions hold. */
export interface Rule {
  readonly conditions: readonly Condition[];
  /** SECCOMP_RET_… with its data. */
  readonly returns: number;
  /** JSON pointer below linux.seccomp; empty for what no rule of the profile says. */
  readonly pointer: string;
}

/** The first rule whose conditions hold decides; the last one has none. */
export type Decision = readonly Rule[];

/** Decisions for system calls of one architecture; `decisionOn` finds that for a number. */
export interface Decisions {
  readonly architecture: Architecture;
  /** The first is for calls that no rule names. */
  readonly list: readonly Decision[];
  /** For each number from the architecture's first on, which of the list. */
  readonly near: readonly number[];
  /** The same for numbers above those: ARM has some. */
  readonly far: ReadonlyMap<number, number>;
  /** Calls above this number are newer than the profile: they do not exist (ENOSYS), as with runc. */
  readonly newest: number | undefined;
}

const EPERM = 1;
const ENOSYS = 38;

export const NO_SUCH_CALL: Decision = [{ conditions: [], returns: SECCOMP_RET_ERRNO + ENOSYS, pointer: "" }];

/** As many numbers as the longest table has in one piece, and some. */
const NEAR = 600;

export function decisionOn({ architecture: { first }, list, near, far }: Decisions, number: number): Decision {
  return list[near[number - first] ?? far.get(number) ?? 0]!;
}

/**
 * What the profile decides on this architecture. Names that it does not have are passed over (config-linux.md). Most rules
 * have no conditions and many names, which share one decision. Plain loops and arrays: this runs once, interpreted.
 */
export function decisionsOf(profile: Seccomp, architecture: Architecture): Decisions {
  const byDefault = returnValue(profile.defaultAction, profile.defaultErrnoRet);
  const last: Rule = { conditions: [], returns: byDefault, pointer: "/defaultAction" };
  const found: Found = { architecture, list: [[last]], near: [], far: new Map(), newest: -1 };
  // No typed array: the interpreter is several times slower with these.
  for (let i = 0; i < NEAR; i++) found.near.push(0);
  const gates = gatesOf(architecture);
  const syscalls = profile.syscalls ?? [];
  for (let i = 0; i < syscalls.length; i++) {
    const { names, action, errnoRet, args } = syscalls[i]!;
    const returns = returnValue(action, errnoRet);
    const pointer = `/syscalls/${i}`;
    const isPlain = args === undefined || args.length === 0;
    const conditions = isPlain ? NONE : conditionsOf(args);
    const rules = conditions.map((conditions): Rule => ({ conditions, returns, pointer }));
    noteCalls(found, names, rules, last);
    if (gates !== undefined) noteOperations(found, names, gates, rules, last);
  }
  if (isLenient(profile.defaultAction)) return { ...found, newest: undefined };
  // s390's way to make calls of large numbers: of one that the kernel does not know, a filter sees this number.
  if (architecture.name.startsWith("SCMP_ARCH_S390")) found.near[0] = found.list.push(NO_SUCH_CALL) - 1;
  return found;
}

/** Of one rule without conditions. */
const NONE: readonly Condition[][] = [[]];

interface Found extends Decisions {
  readonly list: Decision[];
  readonly near: number[];
  readonly far: Map<number, number>;
  newest: number;
}

function noteCalls(found: Found, names: readonly string[], rules: readonly Rule[], last: Rule): void {
  const { architecture, near, list } = found;
  const { numbers, first } = architecture;
  // As with runc and libseccomp: what says the same as the default says nothing.
  const isSilent = rules[0]!.returns === last.returns;
  const alone = isSilent ? 0 : list.push(decide([], rules, last)) - 1;
  let newest = found.newest;
  for (let i = 0; i < names.length; i++) {
    const number = numbers.get(names[i]!);
    if (number === undefined) continue;
    if (number > newest) newest = number;
    if (isSilent) continue;
    if (near[number - first] === 0) near[number - first] = alone;
    else merge(found, number, rules, last);
  }
  found.newest = newest;
}

/** The rules come behind others about the same call, or are far. */
function merge(found: Found, number: number, rules: readonly Rule[], last: Rule): void {
  const { architecture, list, near, far } = found;
  const at = list.push(decide(decisionOn(found, number), rules, last)) - 1;
  const place = number - architecture.first;
  if (place < NEAR) near[place] = at;
  else far.set(number, at);
}

function noteOperations(
  found: Found,
  names: readonly string[],
  gates: ReadonlyMap<string, Gate>,
  rules: readonly Rule[],
  last: Rule,
): void {
  const own = new Map<number, Rule[]>();
  for (let i = 0; i < names.length; i++) {
    const gate = gates.get(names[i]!);
    if (gate === undefined) continue;
    const { number, operation } = gate;
    if (number > found.newest) found.newest = number;
    const all = own.get(number) ?? [];
    for (const rule of rules) all.push({ ...rule, conditions: withOperation(operation, rule.conditions) });
    own.set(number, all);
  }
  if (rules[0]!.returns === last.returns) return;
  for (const [number, all] of own) merge(found, number, all, last);
}

/** An unconditional rule decides wherever it stands, as with libseccomp. */
function decide(before: Decision, rules: readonly Rule[], last: Rule): Decision {
  if (before.length === 0 && rules.length === 1) return rules[0]!.conditions.length === 0 ? rules : [rules[0]!, last];
  const all = [...before.filter((rule) => rule !== last), ...rules];
  const unconditional = all.find(({ conditions }) => conditions.length === 0);
  return unconditional === undefined ? [...all, last] : [unconditional];
}

/** Where every unknown call is let through, new ones are too; a tracer can say ENOSYS itself. */
function isLenient(action: SeccompAction): boolean {
  return action === "SCMP_ACT_ALLOW" || action === "SCMP_ACT_LOG" || action === "SCMP_ACT_TRACE";
}

/** All must hold; but where two are about the same argument, each is a rule of its own, as with runc. */
function conditionsOf(args: NonNullable<NonNullable<Seccomp["syscalls"]>[number]["args"]>): Condition[][] {
  const conditions = args.map(({ index, op, value, valueTwo }): Condition => {
    if (op !== "SCMP_CMP_MASKED_EQ") return { index, op, value: BigInt(value), mask: -1n };
    // libseccomp compares no bits outside the mask.
    const mask = BigInt(value);
    return { index, op, value: BigInt(valueTwo ?? 0) & mask, mask };
  });
  const indexes = new Set(args.map(({ index }) => index));
  return indexes.size === args.length ? [conditions] : conditions.map((condition) => [condition]);
}

export function returnValue(action: SeccompAction, errno = EPERM): number {
  switch (action) {
    case "SCMP_ACT_KILL":
    case "SCMP_ACT_KILL_THREAD":
      return SECCOMP_RET_KILL_THREAD;
    case "SCMP_ACT_KILL_PROCESS":
      return SECCOMP_RET_KILL_PROCESS;
    case "SCMP_ACT_TRAP":
      return SECCOMP_RET_TRAP;
    case "SCMP_ACT_ERRNO":
      return SECCOMP_RET_ERRNO + (errno & 0xffff);
    case "SCMP_ACT_TRACE":
      return SECCOMP_RET_TRACE + (errno & 0xffff);
    case "SCMP_ACT_ALLOW":
      return SECCOMP_RET_ALLOW;
    case "SCMP_ACT_LOG":
      return SECCOMP_RET_LOG;
    case "SCMP_ACT_NOTIFY":
      return SECCOMP_RET_USER_NOTIF;
  }
}

/** A call that is made by way of another, whose first argument tells which operation is meant. */
interface Gate {
  readonly number: number;
  readonly operation: Condition;
}

/**
 * The arguments of an operation are in memory, out of a filter's sight. As with libseccomp, the operation takes the place
 * of a condition on the first one, and the others stay, though they are about something else there.
 */
function withOperation(operation: Condition, conditions: readonly Condition[]): readonly Condition[] {
  return [operation, ...conditions.filter(({ index }) => index !== 0)];
}

/** Old architectures have the calls of sockets and System V IPC as operations of two others, besides or only. */
function gatesOf({ numbers }: Architecture): Map<string, Gate> | undefined {
  const [socketcall, ipc] = [numbers.get("socketcall"), numbers.get("ipc")];
  if (socketcall === undefined && ipc === undefined) return undefined;
  const gates = new Map<string, Gate>();
  const add = (number: number | undefined, operations: string) => {
    if (number === undefined) return;
    for (const [i, name] of operations.split(" ").entries()) {
      if (name !== "-") gates.set(name, { number, operation: operationIs(i) });
    }
  };
  add(socketcall, SOCKETCALL);
  add(ipc, IPC);
  return gates;
}

function operationIs(operation: number): Condition {
  return { index: 0, op: "SCMP_CMP_EQ", value: BigInt(operation), mask: -1n };
}

/** linux/net.h and linux/ipc.h, by the number of the operation. */
const SOCKETCALL =
  "- socket bind connect listen accept getsockname getpeername socketpair send recv sendto recvfrom shutdown setsockopt getsockopt sendmsg recvmsg accept4 recvmmsg sendmmsg";
const IPC =
  "- semop semget semctl semtimedop - - - - - - msgsnd msgrcv msgget msgctl - - - - - - shmat shmdt shmget shmctl";
