import { expect, test } from "bun:test";
import fc from "fast-check";
import { SECCOMP_RET_ERRNO, SECCOMP_RET_KILL_THREAD, X32_SYSCALL_BIT } from "../abi/seccomp.ts";
import type { Seccomp, SeccompAction, SeccompArch, SeccompOperator } from "../spec/types.ts";
import { compileSeccomp, decisionsFor } from "./compile.ts";
import type { Decisions } from "./decisions.ts";
import { decidingRule } from "./evaluate.ts";
import { type Call, interpret } from "./interpret.ts";
import { compileWithLibseccomp, noLibseccomp, tokenOf } from "./libseccomp-under-test.ts";

const NATIVE = "SCMP_ARCH_X86_64";
const X86_64_TOKEN = 0xc000003e;
/** The number of a call that a tracer has cancelled. */
const SKIPPED = 0xffffffff;
const ENOSYS = SECCOMP_RET_ERRNO + 38;

/** The actions whose data can be told apart. */
const ACTIONS: readonly SeccompAction[] = [
  "SCMP_ACT_ALLOW",
  "SCMP_ACT_ERRNO",
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_KILL_THREAD",
  "SCMP_ACT_LOG",
  "SCMP_ACT_TRACE",
  "SCMP_ACT_TRAP",
];
const OPERATORS: readonly SeccompOperator[] = [
  "SCMP_CMP_EQ",
  "SCMP_CMP_NE",
  "SCMP_CMP_LT",
  "SCMP_CMP_LE",
  "SCMP_CMP_GT",
  "SCMP_CMP_GE",
  "SCMP_CMP_MASKED_EQ",
];
/** Little-endian ones: what libseccomp takes together on this machine. */
const OTHERS: readonly SeccompArch[] = ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_PPC64LE"];
/** Neighbours, calls of old architectures that go through socketcall and ipc, and one that nobody has. */
const NAMES = "read write close personality clone socket accept4 semop shmat openat kcmp membarrier nonsense".split(
  " ",
);
const OPERATIONS = ["socket", "accept4", "semop", "shmat"];
const VALUES = [0n, 1n, 8n, 0x20008n, 0x7e020000n, 0xffffffffn, 0x100000000n, 0x100000001n, 2n ** 63n, 2n ** 64n - 1n];

const condition = fc.record({
  index: fc.nat(2),
  op: fc.constantFrom(...OPERATORS),
  value: fc.constantFrom(...VALUES),
  valueTwo: fc.constantFrom(...VALUES),
});
const rules = fc.array(
  fc.record({
    names: fc.uniqueArray(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3 }),
    action: fc.constantFrom(...ACTIONS),
    args: fc.array(condition, { maxLength: 2 }),
  }),
  { maxLength: 6 },
);

const profiles = fc.record({
  defaultAction: fc.constantFrom(...ACTIONS),
  architectures: fc.uniqueArray(fc.constantFrom(...OTHERS), { maxLength: 3 }),
  syscalls: rules,
});

/** Every call that the profile names, its neighbours, and both ends of what there is; arguments at the edges of what is compared. */
function callsOf(profile: Seccomp, all: readonly Decisions[]): Call[] {
  const args = (profile.syscalls ?? []).flatMap(({ args = [] }) => args);
  const edges = new Set([0n, 1n]);
  for (const { value, valueTwo } of args) {
    for (const near of [BigInt(value), BigInt(valueTwo ?? 0)]) {
      for (const by of [-1n, 0n, 1n, 1n << 32n]) edges.add(BigInt.asUintN(64, near + by));
    }
  }
  const places = args.length === 0 ? [[0n]] : [...edges].map((edge) => [edge]);
  const several = [...edges].slice(0, 12);
  const mixed = several.flatMap((a, i) => [
    [a, several[(i + 1) % several.length]!, several[(i + 2) % several.length]!],
    [several[0]!, a, several[(i + 3) % several.length]!],
    [several[1]!, several[(i + 5) % several.length]!, a],
  ]);
  return all.flatMap(({ architecture: { token, numbers: table, base } }) => {
    const named = (profile.syscalls ?? []).flatMap(({ names }) => names.map((name) => table.get(name) ?? -1));
    const gates = ["socketcall", "ipc"].map((name) => table.get(name) ?? -1);
    const near = [...named, ...gates]
      .filter((number) => number >= 0)
      .flatMap((number) => [number - 1, number, number + 1]);
    const numbers = new Set([...near, base, base + 5000, 0x3fffffff, 0xffffffff].filter((number) => number >= 0));
    return [...numbers].flatMap((number) => [...places, ...mixed].map((args) => ({ number, token, args })));
  });
}

/** Calls newer than the profile get ENOSYS of tsrun, as of runc, whatever libseccomp says of them. */
function isNewer({ number, token }: Call, all: readonly Decisions[]): boolean {
  return all.some(({ architecture, newest = -1 }) => {
    if (architecture.token !== token || newest < 0) return false;
    const sharesToken = architecture.name === "SCMP_ARCH_X32" || architecture.name === NATIVE;
    const isX32 = (number & X32_SYSCALL_BIT) !== 0;
    return number > newest && (!sharesToken || (architecture.name === "SCMP_ARCH_X32") === isX32);
  });
}

/** What the profile says of a call, rule by rule. */
function saidOf({ number, token, args }: Call, all: readonly Decisions[]): number {
  const isX32 = token === X86_64_TOKEN && (number & X32_SYSCALL_BIT) !== 0;
  const own = all.filter(({ architecture }) => architecture.token === token);
  const found = own.find(({ architecture }) => (architecture.name === "SCMP_ARCH_X32") === isX32);
  // x32 without its architecture: a call of an architecture that the profile does not have, but for a tracer's -1.
  if (found === undefined) return number === SKIPPED ? own[0]!.other[0]!.returns : SECCOMP_RET_KILL_THREAD;
  return decidingRule(found, number, args)!.returns;
}

/** The calls of which the program does not say what it should. */
function wrong(profile: Seccomp, should: (call: Call, all: readonly Decisions[]) => number): string[] {
  const all = decisionsFor(profile, NATIVE);
  const program = compileSeccomp(profile, NATIVE);
  const found: string[] = [];
  for (const call of callsOf(profile, all)) {
    const wanted = isNewer(call, all) ? ENOSYS : should(call, all);
    const got = interpret(program, call).returns;
    const name = `${call.token.toString(16)} ${call.number} (${call.args.join(", ")})`;
    if (got !== wanted) found.push(`${name}: ${got.toString(16)}, should be ${wanted.toString(16)}`);
  }
  return found;
}

const skipped = noLibseccomp !== undefined;
if (skipped) console.log(`skipped, the comparison with libseccomp: ${noLibseccomp}`);

// Where several conditional rules are about one call, libseccomp 2.5.4 forgets at times which half of an argument it has
// loaded, and of rules with different actions its own order decides: that is left to the next test. So are the operations
// of socketcall and ipc, before which it sometimes does not load the number of the call.
test.skipIf(skipped)("one rule for a call: the same as libseccomp's", () => {
  fc.assert(
    fc.property(profiles, (given) => {
      const profile = withoutOverlap(given);
      const tokens = decisionsFor(profile, NATIVE).map(({ architecture: { name, token } }) => tokenOf(name, token));
      const theirs = compileWithLibseccomp(profile, tokens);
      expect(wrong(profile, (call) => interpret(theirs, call).returns)).toEqual([]);
    }),
    { numRuns: 100 },
  );
});

test("any profile: the first rule that applies", () => {
  fc.assert(
    fc.property(profiles, (profile) => {
      expect(wrong(profile, saidOf)).toEqual([]);
    }),
    { numRuns: 100 },
  );
});

/** Every name once, every argument once. */
function withoutOverlap(profile: Seccomp): Seccomp {
  const seen = new Set<string>();
  const syscalls = (profile.syscalls ?? []).map(({ names, args = [], ...rule }) => ({
    ...rule,
    names: names.filter((name) => !OPERATIONS.includes(name) && !seen.has(name) && seen.add(name)),
    args: args.filter(({ index }, i) => args.findIndex((other) => other.index === index) === i),
  }));
  return { ...profile, syscalls: syscalls.filter(({ names }) => names.length > 0) };
}
