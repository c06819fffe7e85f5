import { describe, expect, test } from "bun:test";
import { capabilityBit } from "../abi/capability.ts";
import type { HostFacts } from "../host/facts.ts";
import type { Personality, Process } from "../spec/types.ts";
import {
  type ProcessContext,
  planIdentity,
  planOomScore,
  planProcessAttributes,
  planSessionKeyring,
} from "./process.ts";
import { type Data, program, type Step, slot, slotTable } from "./step.ts";
import { printProgram, testFacts } from "./test-printer.ts";

interface Changes extends Partial<Omit<ProcessContext, "process" | "facts">> {
  readonly facts?: Partial<HostFacts>;
}

function contextOf(process: Partial<Process>, changes: Changes = {}): ProcessContext {
  const slots = slotTable();
  return {
    pointer: "/process",
    personality: undefined,
    inUserNamespace: false,
    slots,
    attach: program("attach"),
    identity: program("identity"),
    pid: slot(slots, "pid"),
    rootfs: slot(slots, "rootfs"),
    makesWorkingDirectory: false,
    stdio: [],
    warnings: [],
    isFiltered: false,
    ...changes,
    process: { args: ["/bin/true"], cwd: "/", ...process },
    facts: testFacts(changes.facts),
  };
}

function identity(process: Partial<Process>, changes: Changes = {}) {
  const context = contextOf(process, changes);
  planIdentity(context);
  return { steps: context.identity.steps, lines: printProgram(context.identity), warnings: context.warnings };
}

function attached(process: Partial<Process>, changes: Changes = {}) {
  const context = contextOf(process, changes);
  planProcessAttributes(context);
  return { steps: context.attach.steps, lines: printProgram(context.attach) };
}

/** The step whose description is `what`, printed. */
function lineOf({ steps, lines }: { steps: readonly Step[]; lines: readonly string[] }, what: string): string {
  return lines[steps.findIndex((step) => step.what === what)]!;
}

function words(step: Step, argument: number): readonly unknown[] {
  return (step.args[argument] as Data & { kind: "words" }).words;
}

/** Kinds of steps in the order in which they first occur. */
function order(steps: readonly Step[]): string[] {
  return [...new Set(steps.map(kindOf))];
}

function kindOf({ call, args }: Step): string {
  const PRCTLS = new Map<unknown, string>([
    [4, "dumpable"],
    [8, args[1] === 1 ? "keep capabilities" : "end keeping capabilities"],
    [24, "bounding set"],
    [38, "no_new_privs"],
    [47, "ambient"],
  ]);
  return call === "prctl" ? PRCTLS.get(args[0])! : call;
}

const RICH: Partial<Process> = {
  user: { uid: 1000, gid: 100, additionalGids: [5], umask: 0o77 },
  capabilities: {
    bounding: ["CAP_KILL"],
    permitted: ["CAP_KILL"],
    inheritable: ["CAP_KILL"],
    ambient: ["CAP_KILL"],
  },
  noNewPrivileges: true,
};

test("the one right order", () => {
  const { steps } = identity(RICH, { personality: { domain: "LINUX32" } as Personality, stdio: [0] });
  expect(order(steps)).toEqual([
    "personality",
    "openat2",
    "fchdir",
    "bounding set",
    "fchown",
    "keep capabilities",
    "setgroups",
    "setresgid",
    "setresuid",
    "dumpable",
    "getpgid",
    "end keeping capabilities",
    "capset",
    "ambient",
    "no_new_privs",
    "umask",
    "prlimit64",
  ]);
});

test("the working directory is tried as root first, and as the user where root may not", () => {
  const { steps } = identity(RICH);
  const calls = steps.map(({ call }) => call);
  const [first, second] = [calls.indexOf("fchdir"), calls.lastIndexOf("fchdir")];
  const setuid = calls.indexOf("setresuid");
  expect(first).toBeLessThan(setuid);
  expect(second).toBeGreaterThan(setuid);
  expect(steps[first]!.tolerate).toEqual(["EACCES", "EPERM"]);
  expect(steps[second]!.tolerate).toBeUndefined();
  const asked = steps[calls.indexOf("getpgid")]!;
  expect(asked.args).toEqual([steps[first]!.into!]);
  expect(asked.onPositive!.at).toBe(second + 1);
  expect(asked.onZero!.at).toBe(second + 1);
});

test("root keeps its capabilities anyway: no keepcaps", () => {
  const { lines } = identity({});
  expect(lines.some((line) => line.startsWith("prctl(8"))).toBe(false);
});

test("user and groups", () => {
  const found = identity({ user: { uid: 1000, gid: 100, additionalGids: [5, 70000] } });
  expect(lineOf(found, "set the additional groups [5 70000]")).toBe("setgroups(2, 0x0500000070110100)");
  expect(lineOf(found, "become group 100")).toBe("setresgid(0x64, 0x64, 0x64)");
  expect(lineOf(found, "become user 1000")).toBe("setresuid(0x3e8, 0x3e8, 0x3e8)");
});

test("no user is root without groups", () => {
  const found = identity({});
  expect(lineOf(found, "set the additional groups []")).toBe("setgroups(0, 0)");
  expect(lineOf(found, "become user 0")).toBe("setresuid(0, 0, 0)");
});

test("who may not give up groups runs with those that it has, unless some are asked for", () => {
  const facts = { effectiveCapabilities: 0n };
  expect(lineOf(identity({}, { facts }), "set the additional groups []")).toBe("setgroups(0, 0) ? EPERM");
  const asked = identity({ user: { uid: 0, gid: 0, additionalGids: [5] } }, { facts });
  expect(lineOf(asked, "set the additional groups [5]")).toBe("setgroups(1, 0x05000000)");
  const step = asked.steps.find(({ call }) => call === "setgroups")!;
  expect(step.says!.EPERM).toMatch(
    /^cannot set the additional groups \[5\]: operation not permitted: a user namespace/,
  );
  expect(step.hint).toContain("/etc/subgid");
  // An image that has root in the group root: nothing is lost.
  const own = identity({ user: { uid: 0, gid: 7, additionalGids: [7] } }, { facts });
  expect(lineOf(own, "set the additional groups [7]")).toBe("setgroups(1, 0x07000000) ? EPERM");
});

test("umask: 022 unless the config says otherwise", () => {
  expect(lineOf(identity({}), "set the umask")).toBe("umask(0x12)");
  expect(lineOf(identity({ user: { uid: 0, gid: 0, umask: 0 } }), "set the umask")).toBe("umask(0)");
  expect(lineOf(identity({ user: { uid: 0, gid: 0, umask: 0o77 } }), "set the umask")).toBe("umask(0x3f)");
});

test("noNewPrivileges", () => {
  expect(lineOf(identity({ noNewPrivileges: true }), "set no_new_privs")).toBe("prctl(0x26, 1, 0, 0, 0)");
  expect(identity({ noNewPrivileges: false }).steps.some(({ what }) => what === "set no_new_privs")).toBe(false);
});

describe("capabilities", () => {
  const dropped = (changes: Changes) =>
    identity({ capabilities: { bounding: ["CAP_KILL"] } }, changes).steps.filter(
      (step) => kindOf(step) === "bounding set",
    ).length;

  test("on the host only what tsrun's own bounding set holds is dropped", () => {
    const few = capabilityBit("CAP_KILL") | capabilityBit("CAP_CHOWN");
    expect(dropped({ facts: { boundingCapabilities: few } })).toBe(1);
  });

  test("in a user namespace all capabilities are there", () => {
    const facts = { boundingCapabilities: 0n, effectiveCapabilities: 0n };
    expect(dropped({ facts, inUserNamespace: true })).toBe(40);
    expect(identity({ capabilities: { bounding: ["CAP_KILL"] } }, { facts, inUserNamespace: true }).warnings).toEqual(
      [],
    );
  });

  test("on the host what tsrun does not have is a warning", () => {
    const facts = { effectiveCapabilities: 0n };
    expect(identity({ capabilities: { bounding: ["CAP_KILL"] } }, { facts }).warnings).toEqual([
      "ignoring unknown or unavailable capabilities: [CAP_KILL]",
    ]);
  });
});

describe("rlimits", () => {
  test("are set from outside: raising takes privileges on the host", () => {
    const { lines, steps } = attached({
      rlimits: [{ type: "RLIMIT_CORE", soft: 1, hard: 2 }],
    });
    expect(lines).toEqual(["prlimit64($pid, 4, {1, 2}, 0)"]);
    expect(steps[0]!.pointer).toBe("/process/rlimits/0");
  });

  test("64 bits survive", () => {
    const rlimits = [{ type: "RLIMIT_FSIZE" as const, soft: 0xffffffffffffffffn, hard: 0xffffffffffffffffn }];
    const { lines } = attached({ rlimits: rlimits as unknown as NonNullable<Process["rlimits"]> });
    expect(lines).toEqual(["prlimit64($pid, 1, {18446744073709551615, 18446744073709551615}, 0)"]);
  });

  const nofile = (soft: number, hard: number): Partial<Process> => ({
    rlimits: [{ type: "RLIMIT_NOFILE", soft, hard }],
  });

  test("RLIMIT_NOFILE: a low one waits until nothing is opened any more", () => {
    expect(attached(nofile(3, 4096)).lines).toEqual([]);
    const { lines, steps } = identity(nofile(3, 4096));
    expect(lines.at(-1)).toBe("prlimit64(0, 7, {3, 0x1000}, 0)");
    expect(steps.at(-1)!.pointer).toBe("/process/rlimits/0");
  });

  test("RLIMIT_NOFILE: a ceiling above tsrun's own is made from outside, the limit inside", () => {
    expect(attached(nofile(3, 5000)).lines).toEqual(["prlimit64($pid, 7, {0x1388, 0x1388}, 0)"]);
    expect(identity(nofile(3, 5000)).lines.at(-1)).toBe("prlimit64(0, 7, {3, 0x1388}, 0)");
  });

  test("RLIMIT_NOFILE: without an entry it is what tsrun was started with, not what Bun made of it", () => {
    expect(identity({}).lines.at(-1)).toBe("prlimit64(0, 7, {0x400, 0x1000}, 0)");
  });
});

test("oomScoreAdj is set by the agent itself, also when it is 0", () => {
  const planned = (oomScoreAdj?: number) => {
    const agent = program("agent");
    planOomScore(agent, slotTable(), { oomScoreAdj }, "/process");
    return printProgram(agent);
  };
  expect(planned(-500)).toEqual([
    '$oom_score_adj = openat(-100, "/proc/self/oom_score_adj", 0x80001, 0)',
    'write($oom_score_adj, "-500", 4)',
    "close($oom_score_adj)",
  ]);
  expect(planned(0)[1]).toBe('write($oom_score_adj, "0", 1)');
  expect(planned()).toEqual([]);
  expect(attached({ oomScoreAdj: 5 }).lines).toEqual([]);
});

describe("scheduler", () => {
  /** struct sched_attr, 48 bytes: u32 size, u32 policy, u64 flags, s32 nice, u32 priority, u64 runtime, deadline, period. */
  function schedAttr(scheduler: NonNullable<Process["scheduler"]>): DataView {
    const step = attached({ scheduler }).steps[0]!;
    expect(step.call).toBe("sched_setattr");
    const values = words(step, 1).map((word) => BigInt.asUintN(64, BigInt(word as number | bigint)));
    return new DataView(BigUint64Array.from(values).buffer);
  }

  test("a negative nice value", () => {
    const attr = schedAttr({ policy: "SCHED_BATCH", nice: -5 });
    expect(attr.byteLength).toBe(48);
    expect([attr.getUint32(0, true), attr.getUint32(4, true)]).toEqual([48, 3]);
    expect([attr.getInt32(16, true), attr.getUint32(20, true)]).toEqual([-5, 0]);
  });

  test("a real-time priority", () => {
    const attr = schedAttr({ policy: "SCHED_FIFO", priority: 99, flags: ["SCHED_FLAG_RESET_ON_FORK"] });
    expect([attr.getUint32(4, true), attr.getBigUint64(8, true)]).toEqual([1, 1n]);
    expect([attr.getInt32(16, true), attr.getUint32(20, true)]).toEqual([0, 99]);
  });

  test("a deadline", () => {
    const attr = schedAttr({ policy: "SCHED_DEADLINE", runtime: 10, deadline: 20, period: 30 });
    expect(attr.getUint32(4, true)).toBe(6);
    expect([24, 32, 40].map((at) => attr.getBigUint64(at, true))).toEqual([10n, 20n, 30n]);
  });
});

test("ioPriority: the class in the bits from 13 on", () => {
  const lines = (ioPriority: NonNullable<Process["ioPriority"]>) => attached({ ioPriority }).lines;
  expect(lines({ class: "IOPRIO_CLASS_BE", priority: 7 })).toEqual([`ioprio_set(1, $pid, 0x${(0x4007).toString(16)})`]);
  expect(lines({ class: "IOPRIO_CLASS_RT", priority: 0 })).toEqual(["ioprio_set(1, $pid, 0x2000)"]);
  expect(lines({ class: "IOPRIO_CLASS_IDLE" } as NonNullable<Process["ioPriority"]>)).toEqual([
    "ioprio_set(1, $pid, 0x6000)",
  ]);
});

test("personality; its flags are a warning", () => {
  const linux32 = identity({}, { personality: { domain: "LINUX32" } as Personality });
  expect(linux32.lines[0]).toBe("personality(8)");
  const linux = identity({}, { personality: { domain: "LINUX", flags: ["X"] } as unknown as Personality });
  expect(linux.lines[0]).toBe("personality(0)");
  expect(linux.warnings).toEqual([expect.stringContaining("linux.personality.flags")]);
});

describe("working directory", () => {
  test("is resolved inside the root file system, and no magic link is followed", () => {
    const { lines } = identity({ cwd: "/a/../b/c" });
    expect(lines[0]).toBe('$working directory = openat2($rootfs, "b/c", {0x290000, 0, 0x12}, 0x18)');
    expect(lines[1]).toBe("$cwd entered = fchdir($working directory) ? EACCES EPERM");
  });

  test("is made for the first process only", () => {
    expect(identity({ cwd: "/a" }).steps.some(({ call }) => call === "mkdirat")).toBe(false);
    const first = identity({ cwd: "/a" }, { makesWorkingDirectory: true });
    expect(first.lines.filter((line) => line.startsWith("mkdirat"))).toEqual(['mkdirat($rootfs, "a", 0x1ed) ? EEXIST']);
  });

  test("the texts that engines look for", () => {
    const { says } = identity({ cwd: "/x" }).steps[0]!;
    expect(says!.EXDEV).toContain("current working directory is outside of container mount namespace root");
    expect(says!.ELOOP).toBe(says!.EXDEV!);
    expect(says!["*"]).toStartWith('chdir to cwd ("/x") set in config.json failed: ');
  });
});

test("descriptors of the caller are given to the user, but to no group", () => {
  const { steps, lines } = identity({ user: { uid: 7, gid: 8 } }, { stdio: [0, 2] });
  const given = steps.flatMap(({ call }, i) => (call === "fchown" ? [lines[i]!] : []));
  expect(given).toEqual(["fchown(0, 7, -1) ? EPERM EINVAL EROFS EBADF", "fchown(2, 7, -1) ? EPERM EINVAL EROFS EBADF"]);
});

test("a session keyring: where there is no quota left, the container runs without", () => {
  const joining = program("p");
  planSessionKeyring(joining, slotTable(), "c1");
  expect(printProgram(joining)).toEqual([
    '$session keyring = keyctl(1, "_ses.c1", 0, 0, 0) ? EDQUOT EPERM EACCES ENOSYS ENOMEM →2',
    "keyctl(5, $session keyring, 0x3f1b0000, 0, 0) ? EPERM EACCES ENOSYS",
  ]);
});
