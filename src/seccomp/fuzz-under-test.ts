/**
 * Random profiles, and what is tried on each: every call of every rule on every architecture, with arguments at the edges of
 * what they are compared with, by interpreting the program. For a moment in compile.property.test.ts, for longer in
 * tests/fuzz.
 */
import fc from "fast-check";
import { SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_THREAD, X32_SYSCALL_BIT } from "../abi/seccomp.ts";
import { SECCOMP_ACTIONS, SECCOMP_ARCHITECTURES, SECCOMP_OPERATORS } from "../spec/seccomp-names.ts";
import type { Seccomp, SeccompAction } from "../spec/types.ts";
import { architecture } from "./architectures.ts";
import { compileSeccomp, decisionsFor } from "./compile.ts";
import type { Decisions } from "./decisions.ts";
import { decidingRule } from "./evaluate.ts";
import { type Call, interpret } from "./interpret.ts";
import { compileWithLibseccomp, knowsArchitecture, numberOf, tokenOf } from "./libseccomp-under-test.ts";

type SyscallRule = NonNullable<Seccomp["syscalls"]>[number];
type SyscallArg = NonNullable<SyscallRule["args"]>[number];

export function rulesProperty(profiles: fc.Arbitrary<Seccomp>) {
  return fc.property(profiles, mustFollowRules);
}

export function libseccompProperty(profiles: fc.Arbitrary<Seccomp> = largeProfiles) {
  return fc.property(profiles, mustBeAsLibseccomp);
}

/** Throws unless the program says what the first rule that applies says. */
export function mustFollowRules(profile: Seccomp): void {
  mustBeNone(wrong(profile, saidOf));
}

/** Throws unless the program says what libseccomp's says; of the profile as far as it has one rule for a call. */
export function mustBeAsLibseccomp(profile: Seccomp): void {
  mustBeNone(differences(withoutOverlap(profile)));
}

function mustBeNone(found: readonly string[]): void {
  if (found.length > 0) throw new Error([...found.slice(0, 10), `${found.length} calls are wrong`].join("\n"));
}

/** The actions whose data can be told apart; SCMP_ACT_NOTIFY is none for a default. */
const DEFAULTS: readonly SeccompAction[] = SECCOMP_ACTIONS.filter((action) => action !== "SCMP_ACT_NOTIFY");
const NATIVE = "SCMP_ARCH_X86_64";
/** Neighbours, calls of old architectures that go through socketcall and ipc, and one that nobody has. */
const FEW_NAMES = "read write close personality clone socket accept4 semop shmat openat kcmp membarrier nonsense".split(
  " ",
);
const EDGES = [0n, 1n, 8n, 0x20008n, 0x7e020000n, 0xffffffffn, 0x100000000n, 0x100000001n, 2n ** 63n, 2n ** 64n - 1n];

/** libseccomp's; the kernel takes one more. */
const MAX_ERRNO = 4094;

interface Sizes {
  readonly names: readonly string[];
  readonly rules: number;
  readonly conditions: number;
  readonly architectures: number;
}

function profilesOf({ names, rules, conditions, architectures }: Sizes): fc.Arbitrary<Seccomp> {
  const value = fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...EDGES) }, fc.bigInt(0n, 2n ** 64n - 1n));
  const condition = fc.record({ index: fc.nat(5), op: fc.constantFrom(...SECCOMP_OPERATORS), value, valueTwo: value });
  const rule = fc.record(
    {
      names: fc.uniqueArray(fc.constantFrom(...names), { minLength: 1, maxLength: 4 }),
      action: fc.constantFrom(...SECCOMP_ACTIONS),
      errnoRet: fc.nat(MAX_ERRNO),
      args: fc.array(condition, { maxLength: conditions }),
    },
    { requiredKeys: ["names", "action"] },
  );
  return fc.record(
    {
      defaultAction: fc.constantFrom(...DEFAULTS),
      defaultErrnoRet: fc.nat(MAX_ERRNO),
      architectures: fc.uniqueArray(fc.constantFrom(...SECCOMP_ARCHITECTURES), { maxLength: architectures }),
      syscalls: fc.array(rule, { maxLength: rules }),
    },
    { requiredKeys: ["defaultAction", "syscalls"] },
  );
}

export const smallProfiles = profilesOf({ names: FEW_NAMES, rules: 6, conditions: 2, architectures: 3 });

const allNames = [...new Set(SECCOMP_ARCHITECTURES.flatMap((name) => [...architecture(name).numbers.keys()]))];
export const largeProfiles = fc.oneof(
  smallProfiles,
  profilesOf({ names: [...FEW_NAMES, ...allNames], rules: 40, conditions: 4, architectures: 6 }),
);

/** The calls of which the program does not say what it should. */
function wrong(profile: Seccomp, should: (call: Call, decisions: Decisions, all: readonly Decisions[]) => number) {
  const all = decisionsFor(profile, NATIVE);
  const program = compileSeccomp(profile, NATIVE);
  const found: string[] = [];
  for (const decisions of all) {
    const { name, token, isBigEndian } = decisions.architecture;
    for (const [number, args] of callsOf(profile, decisions)) {
      const call = { number, token, args };
      const wanted = isNewer(call, all) ? ENOSYS : should(call, decisions, all);
      const got = interpret(program, call, isBigEndian).returns;
      if (got === wanted) continue;
      found.push(`${name} ${number} (${args.join(", ")}): ${got.toString(16)}, should be ${wanted.toString(16)}`);
    }
  }
  return found;
}

/** libseccomp's program for one token, and the numbers of calls that it is not asked about. */
interface Theirs {
  readonly program: Uint8Array;
  readonly left: ReadonlySet<number>;
}

/**
 * libseccomp 2.5.4 is asked for each token alone, and not about names that it does not know on all architectures of that
 * token: with these it forgets at times to load the number of the call; nor about those that the kernel does not have there
 * (_llseek of 64-bit PA-RISC). What it cannot be asked, the rules say.
 */
function differences(profile: Seccomp): string[] {
  const asked = new Map<number, Theirs | undefined>();
  return wrong(profile, (call, { architecture: { token, isBigEndian } }, all) => {
    if (!asked.has(token)) asked.set(token, ask(profile, token, all));
    const theirs = asked.get(token);
    if (theirs === undefined || theirs.left.has(call.number)) return saidOf(call, undefined, all);
    return interpret(theirs.program, call, isBigEndian).returns;
  });
}

/** Of PowerPC: libseccomp has one number for this and switch_endian where there is neither. */
const MISTAKEN = "sys_debug_setcontext";

function ask(profile: Seccomp, token: number, all: readonly Decisions[]): Theirs | undefined {
  const own = all.map(({ architecture }) => architecture).filter((one) => one.token === token);
  if (!own.every(({ name }) => knowsArchitecture(name))) return undefined;
  const left = new Set<number>();
  const isKnown = (call: string) =>
    call !== MISTAKEN &&
    own.every(({ name, token, numbers }) => numbers.has(call) && numberOf(tokenOf(name, token), call) >= 0);
  for (const call of ["socketcall", "ipc", ...(profile.syscalls ?? []).flatMap(({ names }) => names)]) {
    const numbers = own.map(({ numbers }) => numbers.get(call)).filter((number) => number !== undefined);
    if (call === "socketcall" || call === "ipc" || !isKnown(call)) for (const number of numbers) left.add(number);
  }
  const syscalls = (profile.syscalls ?? []).map((rule) => ({ ...rule, names: rule.names.filter(isKnown) }));
  return { program: compileWithLibseccomp({ ...profile, syscalls }, own), left };
}

const ENOSYS = SECCOMP_RET_ERRNO + 38;
/** The number of a call that a tracer has cancelled. */
const SKIPPED = 0xffffffff;

/** Every call that the profile names, with its neighbours, and both ends of what there is. */
function* callsOf({ syscalls = [] }: Seccomp, { architecture }: Decisions): Generator<[number, bigint[]]> {
  const { numbers, base } = architecture;
  for (const number of [base, base + 5000, 0x3fffffff, SKIPPED]) yield [number, [0n]];
  const gates = ["socketcall", "ipc"].map((name) => numbers.get(name)).filter((number) => number !== undefined);
  const seen = new Set<number>();
  for (const { names, args = [] } of syscalls) {
    const tried = [...argumentsAround(args)];
    for (const number of names.map((name) => numbers.get(name)).filter((number) => number !== undefined)) {
      for (const args of tried) yield [number, args];
      for (const near of [number - 1, number + 1]) if (near >= base) yield [near, tried[0]!];
      // Rules about the same call meet: each is asked with the other's arguments.
      for (const others of seen.has(number) ? syscalls : []) yield* around(number, others, architecture.numbers);
      seen.add(number);
    }
    for (const gate of gates) {
      for (const args of tried.slice(0, 4)) {
        for (const operation of OPERATIONS) yield [gate, [operation, ...args.slice(1)]];
      }
    }
  }
}

/** Of socketcall and ipc: the first, the last, those of FEW_NAMES and their neighbours, and none. */
const OPERATIONS = [0n, 1n, 2n, 18n, 20n, 21n, 22n, 24n, 25n, 0x100000001n];

function* around(
  number: number,
  { names, args = [] }: SyscallRule,
  numbers: ReadonlyMap<string, number>,
): Generator<[number, bigint[]]> {
  if (!names.some((name) => numbers.get(name) === number)) return;
  for (const vector of argumentsAround(args)) yield [number, vector];
}

/** Arguments that fulfil all conditions, and then each argument in turn at the edges of what it is compared with. */
function* argumentsAround(conditions: readonly SyscallArg[]): Generator<bigint[]> {
  const all = Array<bigint>(6).fill(0n);
  for (const condition of conditions) all[condition.index] = fulfilling(condition);
  yield all;
  for (const { index, value, valueTwo = 0 } of conditions) {
    const [a, b] = [BigInt(value), BigInt(valueTwo)];
    for (const near of [a, b, a & b, b | ~a, a ^ (1n << 32n), a ^ (1n << 63n)]) {
      for (const by of [-1n, 0n, 1n]) yield all.with(index, BigInt.asUintN(64, near + by));
    }
  }
}

function fulfilling({ op, value, valueTwo = 0 }: SyscallArg): bigint {
  const a = BigInt(value);
  if (op === "SCMP_CMP_MASKED_EQ") return BigInt.asUintN(64, (BigInt(valueTwo) & a) | ~a);
  const by = op === "SCMP_CMP_LT" ? -1n : op === "SCMP_CMP_GT" || op === "SCMP_CMP_NE" ? 1n : 0n;
  return BigInt.asUintN(64, a + by);
}

/**
 * Calls newer than the profile get ENOSYS of tsrun, as of runc, whatever libseccomp says of them; s390 gives the number 0 to
 * large ones.
 */
function isNewer({ number, token }: Call, all: readonly Decisions[]): boolean {
  return all.some(({ architecture, newest }) => {
    if (architecture.token !== token || newest === undefined) return false;
    if (architecture.name.startsWith("SCMP_ARCH_S390") && number === 0) return true;
    if (newest < 0) return false;
    const sharesToken = architecture.name === "SCMP_ARCH_X32" || architecture.name === NATIVE;
    const isX32 = (number & X32_SYSCALL_BIT) !== 0;
    return number > newest && (!sharesToken || (architecture.name === "SCMP_ARCH_X32") === isX32);
  });
}

/** What the profile says of a call, rule by rule. */
function saidOf({ number, token, args }: Call, _: unknown, all: readonly Decisions[]): number {
  const own = all.filter(({ architecture }) => architecture.token === token);
  const isX32 = own[0]!.architecture.name === NATIVE && (number & X32_SYSCALL_BIT) !== 0;
  const found = own.find(({ architecture }) => (architecture.name === "SCMP_ARCH_X32") === isX32);
  // x32 without its architecture: a call of an architecture that the profile does not have, but for a tracer's -1.
  if (found === undefined) return number === SKIPPED ? own[0]!.list[0]![0]!.returns : SECCOMP_RET_KILL_THREAD;
  return decidingRule(found, number, args)!.returns;
}

/**
 * Every name once, every argument once. Where several conditional rules are about one call, libseccomp 2.5.4 forgets at
 * times which half of an argument it has loaded, and of rules with different actions its own order decides.
 */
function withoutOverlap(profile: Seccomp): Seccomp {
  const seen = new Set<string>();
  const syscalls = (profile.syscalls ?? []).map(({ names, args = [], ...rule }) => ({
    ...rule,
    names: names.filter((name) => !seen.has(name) && seen.add(name)),
    args: args.filter(({ index }, i) => args.findIndex((other) => other.index === index) === i),
  }));
  return { ...profile, syscalls: syscalls.filter(({ names }) => names.length > 0) };
}
