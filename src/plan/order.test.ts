/** The order in which a process gives up what it has: a step in the wrong place would fail, or leave a privilege behind. */
import { describe, expect, test } from "bun:test";
import { capabilityBit } from "../abi/capability.ts";
import { lastPrograms } from "../container/execute.ts";
import type { Filter } from "../seccomp/filter.ts";
import type { Config, Process } from "../spec/types.ts";
import type { LastCapabilities } from "./capabilities.ts";
import { newPlan, planBeginning, planBuild, planProcess } from "./container.ts";
import { newExecPlan, planExecProcess, planJoin } from "./exec.ts";
import type { Step } from "./step.ts";
import { printStep, testFacts } from "./test-printer.ts";

const NAMES = ["CAP_KILL", "CAP_CHOWN"];
const CONFIG: Config = {
  ociVersion: "1.3.0",
  root: { path: "rootfs" },
  mounts: [{ destination: "/proc", type: "proc", source: "proc" }],
  process: {
    args: ["/bin/true"],
    cwd: "/work-dir",
    user: { uid: 1000, gid: 1000, additionalGids: [5] },
    capabilities: { bounding: NAMES, effective: NAMES, permitted: NAMES, inheritable: NAMES, ambient: NAMES },
    apparmorProfile: "profile",
    selinuxLabel: "u:r:t",
  },
  linux: {
    namespaces: [{ type: "mount" }, { type: "pid" }],
    maskedPaths: ["/proc/kcore"],
    seccomp: { defaultAction: "SCMP_ACT_ALLOW" },
  },
};
const FILTER: Filter = { program: new Uint8Array(8), flags: 0, notifies: false, isMute: false };

/** All steps of the container's first process, as text, with what each is for. */
function init(changes: Partial<Process> = {}): string[] {
  const process = { ...CONFIG.process!, ...changes };
  const config = { ...CONFIG, process };
  const request = { config, id: "c", bundle: "/b", facts: testFacts(), noPivot: false, noNewKeyring: false };
  const whole = { ...request, cgroupPaths: new Map(), stdio: [0], preserveFds: 0 };
  const plan = newPlan(whole);
  planBeginning(plan, undefined);
  planBuild(plan, whole, undefined);
  planProcess(plan, whole);
  const { exec } = last(plan.slots, process, plan.lastCapabilities);
  return shown([plan.build, plan.enter, plan.identity, exec].flatMap(({ steps }) => steps));
}

/** The same of a process that exec adds, from the agent's first step on. */
function added(changes: Partial<Process> = {}): string[] {
  const process = { ...CONFIG.process!, ...changes };
  const plan = newExecPlan();
  const facts = testFacts();
  const request = { id: "c", config: CONFIG, process, pointer: "", facts, pidfd: 101, root: 102, console: undefined };
  const whole = { ...request, isFiltered: true, newKeyring: true, stdio: [0] };
  planJoin(plan, whole, undefined);
  planExecProcess(plan, whole);
  const { exec } = last(plan.slots, process, plan.lastCapabilities);
  return shown([plan.join, plan.identity, exec].flatMap(({ steps }) => steps));
}

function last(
  slots: Parameters<typeof lastPrograms>[0],
  process: Process,
  lastCapabilities: LastCapabilities | undefined,
) {
  const execution = { process, env: [], preserveFds: 0, pointer: "/process", filter: FILTER, lastCapabilities };
  return lastPrograms(slots, execution);
}

function shown(steps: readonly Step[]): string[] {
  return steps.map((step) => `${step.what}: ${printStep(step)}`);
}

const LABELS = 'apply the AppArmor profile "profile": write';
const CONTEXT = 'set the SELinux label "u:r:t": write';
const BOUNDING = "from the bounding set";
const FILTER_LOADED = "seccomp(";

/** [earlier, later, why]: parts of lines; the last of the earlier comes before the first of the later. */
const RULES: readonly (readonly [earlier: string, later: string, why: string])[] = [
  ["open a private procfs", "move_mount(", "/proc is the host's until something is mounted"],
  ["label the session keyring", "keyctl(1", "the keyring gets the label"],
  ["keyctl(1", "label keys as usual again", "no other key gets it"],
  ["pivot_root(", LABELS, "the file systems are there"],
  ["mask ", LABELS, "the file systems are there"],
  [LABELS, BOUNDING, "AppArmor may ask for CAP_MAC_OVERRIDE"],
  [LABELS, "setresuid(", "AppArmor may ask for CAP_MAC_OVERRIDE"],
  [CONTEXT, "setresuid(", "with tsrun's own label and user"],
  ["$cwd entered = fchdir(", "setresuid(", "the working directory as root"],
  [BOUNDING, "keep capabilities over setuid", "takes CAP_SETPCAP"],
  [BOUNDING, "capset(", "takes CAP_SETPCAP"],
  ["fchown(0", "setgroups(1", "takes CAP_CHOWN"],
  ["prctl(8, 1", "setresuid(", "keepcaps"],
  ["setgroups(1", "setresgid(", "takes CAP_SETGID"],
  ["setresgid(", "setresuid(", "takes CAP_SETGID"],
  ["setresuid(", "prctl(8, 0", "keepcaps"],
  ["prctl(8, 0", "capset(", "the securebits are as they were"],
  ["setresuid(", "capset(", "setuid clears the effective set"],
  ["capset(", "raise the ambient", "ambient is what is permitted and inheritable"],
  ["clear the ambient", "raise the ambient", "nothing of the caller's is left"],
  ["raise the ambient", "set no_new_privs", "the last of what is gained"],
  ["set no_new_privs", FILTER_LOADED, "loads without CAP_SYS_ADMIN"],
  ["set RLIMIT_NOFILE", FILTER_LOADED, "nothing more is opened"],
  ["close what the process must not have", FILTER_LOADED, "the filter need not allow it"],
  [FILTER_LOADED, "execve(", "the program is filtered"],
];

/** What the container's process alone does. */
const OF_INIT = ["move_mount(", "pivot_root(", "mask "];

function violations(lines: readonly string[], rules = RULES): string[] {
  return rules.flatMap(([earlier, later, why]) => {
    const [before, after] = [lines.findLastIndex((line) => line.includes(earlier)), firstOf(lines, later)];
    if (before < 0 || after < 0) return [`no ${before < 0 ? earlier : later}`];
    return before < after ? [] : [`${earlier} after ${later}: ${why}`];
  });
}

const firstOf = (lines: readonly string[], part: string): number => lines.findIndex((line) => line.includes(part));

const ofExec: typeof RULES = [
  ...RULES.filter(([earlier, later]) => !OF_INIT.includes(earlier) && !OF_INIT.includes(later)),
  ["open a private procfs", "setns(", "in the container, /proc may be anything"],
  ["clone3(", LABELS, "who labels itself is the process, not the agent"],
];

test("of the container's first process", () => {
  expect(violations(init({ noNewPrivileges: true }))).toEqual([]);
});

test("of a process that exec adds", () => {
  expect(violations(added({ noNewPrivileges: true }), ofExec)).toEqual([]);
});

test("the rules find what is out of place", () => {
  const lines = added({ noNewPrivileges: true });
  for (const part of ["setresuid(", "capset(", LABELS, "set no_new_privs", FILTER_LOADED]) {
    const at = firstOf(lines, part);
    const swapped = [lines[at]!, ...lines.slice(0, at), ...lines.slice(at + 1)];
    expect([part, violations(swapped, ofExec).length > 0]).toEqual([part, true]);
    const late = [...lines.slice(0, at), ...lines.slice(at + 1), lines[at]!];
    expect([part, violations(late, ofExec).length > 0]).toEqual([part, true]);
  }
});

describe("without no_new_privs", () => {
  const admin = capabilityBit("CAP_SYS_ADMIN");
  const effective = (line: string): bigint => BigInt(/\{[^}]*\}, \{(\d+)/.exec(line)![1]!) & 0xffffffffn;

  for (const [whose, lines] of [
    ["the first process", init()],
    ["exec", added()],
  ] as const) {
    test(`${whose} keeps CAP_SYS_ADMIN for the filter, and gives it up right behind it`, () => {
      const [kept, given, ...more] = lines.filter((line) => line.includes("capset("));
      expect(more).toEqual([]);
      expect(effective(kept!) & admin).toBe(admin);
      expect(effective(given!) & admin).toBe(0n);
      const order = [lines.indexOf(kept!), firstOf(lines, FILTER_LOADED), lines.indexOf(given!)];
      expect(order).toEqual(order.toSorted((a, b) => a - b));
      expect(lines.indexOf(given!) - firstOf(lines, FILTER_LOADED)).toBe(1);
      expect(lines.length - lines.indexOf(given!)).toBe(2);
    });
  }
});

test("with it, nothing but execve comes behind the filter", () => {
  for (const lines of [init({ noNewPrivileges: true }), added({ noNewPrivileges: true })]) {
    expect(lines.slice(firstOf(lines, FILTER_LOADED) + 1).map((line) => line.split(": ")[1]!.slice(0, 7))).toEqual([
      "execve(",
    ]);
  }
});
