import { describe, expect, test } from "bun:test";
import {
  CLONE_INTO_CGROUP,
  CLONE_NEWCGROUP,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_PARENT,
} from "../abi/sched.ts";
import type { Config, NamespaceType, Process } from "../spec/types.ts";
import { type ExecRequest, newExecPlan, planExecProcess, planInitialAffinity, planJoin } from "./exec.ts";
import { slot } from "./step.ts";
import { printProgram, testFacts } from "./test-printer.ts";

const PIDFD = 101;
const ROOT = 102;
const hex = (number: number) => `0x${number.toString(16)}`;

function requestOf(types: NamespaceType[], changes: Partial<ExecRequest> = {}): ExecRequest {
  const process: Process = { args: ["/bin/true"], cwd: "/" };
  return {
    id: "c1",
    config: { ociVersion: "1.3.0", process, linux: { namespaces: types.map((type) => ({ type })) } } as Config,
    process,
    pointer: "/process",
    facts: testFacts(),
    pidfd: PIDFD,
    root: ROOT,
    console: undefined,
    isFiltered: false,
    newKeyring: true,
    stdio: [],
    ...changes,
  };
}

function joined(types: NamespaceType[], withCgroup = false): string[] {
  const plan = newExecPlan();
  planJoin(plan, requestOf(types), withCgroup ? slot(plan.slots, "cgroup") : undefined);
  return [...printProgram(plan.join), ...printProgram(plan.identity)];
}

function identity(request: ExecRequest) {
  const plan = newExecPlan();
  planExecProcess(plan, request);
  return { ...plan, lines: printProgram(plan.identity), calls: plan.identity.steps.map(({ call }) => call) };
}

describe("join", () => {
  test("hidden from ptrace before it is where somebody could look; all namespaces at once", () => {
    expect(joined(["mount", "pid"])).toEqual([
      "prctl(4, 0, 0, 0, 0)",
      `setns(${hex(PIDFD)}, ${hex(CLONE_NEWNS + CLONE_NEWPID)})`,
      `$process = clone3({${hex(CLONE_PARENT)}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0x58) 0→5`,
      expect.stringMatching(/^write\(socket, /),
      "exit_group(0)",
      `close(${hex(PIDFD)})`,
    ]);
  });

  test("without namespaces there is nothing to join", () => {
    expect(joined([]).some((line) => line.startsWith("setns"))).toBe(false);
  });

  test("the process is born in the cgroup of v2, and does not keep its descriptor", () => {
    const lines = joined(["mount"], true);
    expect(lines[2]).toContain(`{${hex(CLONE_PARENT + CLONE_INTO_CGROUP)}, 0, 0, 0, 0, 0, 0, 0, 0, 0, $cgroup}`);
    expect(lines.slice(-2)).toEqual(["close($cgroup)", `close(${hex(PIDFD)})`]);
  });

  test("nsdelegate: the cgroup namespace shows less than the host's, so it is joined by who is born in the cgroup", () => {
    const setns = (flags: number) => `setns(${hex(PIDFD)}, ${hex(flags)})`;
    const lines = joined(["mount", "user", "cgroup"], true);
    expect(lines[1]).toBe(setns(CLONE_NEWNS + CLONE_NEWUSER));
    expect(lines.slice(-2)).toEqual([setns(CLONE_NEWCGROUP), `close(${hex(PIDFD)})`]);
    expect(joined(["mount", "cgroup"])[1]).toBe(setns(CLONE_NEWNS + CLONE_NEWCGROUP));
  });

  test("a joined namespace counts as well as one that was new", () => {
    const plan = newExecPlan();
    const config = { linux: { namespaces: [{ type: "user", path: "/u" }] } } as Config;
    planJoin(plan, requestOf([], { config }), undefined);
    expect(printProgram(plan.join)[1]).toBe(`setns(${hex(PIDFD)}, ${hex(CLONE_NEWUSER)})`);
  });
});

describe("the process", () => {
  test("with a mount namespace it has its root; nothing of the host is left open", () => {
    const { lines } = identity(requestOf(["mount"]));
    expect(lines.slice(0, 6)).toEqual([
      'prctl(0xf, "tsrun:[2:INIT]")',
      "setsid() ? EPERM",
      expect.stringContaining('keyctl(1, "_ses.c1"'),
      expect.stringContaining("keyctl(5"),
      `close(${hex(ROOT)})`,
      '$rootfs = openat(-100, "/", 0x290000, 0)',
    ]);
  });

  test("without one the root is entered by descriptor", () => {
    const { lines } = identity(requestOf([], { newKeyring: false }));
    expect(lines.slice(2, 6)).toEqual([`fchdir(${hex(ROOT)})`, 'chroot(".")', 'chdir("/")', `close(${hex(ROOT)})`]);
  });

  test("in a user namespace it becomes its root before anything else", () => {
    expect(identity(requestOf(["user", "mount"])).calls.slice(0, 4)).toEqual([
      "prctl",
      "setgroups",
      "setresgid",
      "setresuid",
    ]);
  });

  test("without a new keyring it keeps the caller's", () => {
    expect(identity(requestOf(["mount"], { newKeyring: false })).calls).not.toContain("keyctl");
  });

  test("a working directory that is missing is not made", () => {
    expect(identity(requestOf(["mount"])).calls).not.toContain("mkdirat");
  });

  test("the terminal goes to the console, whose descriptor is known already", () => {
    const process: Process = { args: ["sh"], cwd: "/", terminal: true };
    const { lines } = identity(requestOf(["mount"], { process, console: 9, stdio: [0, 1, 2] }));
    expect(lines).toContain("close($console socket)");
    expect(lines.some((line) => line.includes('"console"'))).toBe(false);
    expect(lines.filter((line) => line.startsWith("fchown(0"))).toEqual([]);
  });

  test("the program is looked up last, as the user", () => {
    const { calls } = identity(requestOf(["mount"]));
    expect(calls.lastIndexOf("setresuid")).toBeLessThan(calls.indexOf("faccessat2"));
    expect(calls.at(-1)).toBe("close");
  });
});

describe("execCPUAffinity", () => {
  function affinity(of: Process["execCPUAffinity"], containers?: Process["execCPUAffinity"]): string[] {
    const base = requestOf([]);
    const process: Process = { ...base.process, ...(of === undefined ? {} : { execCPUAffinity: of }) };
    const config = { ...base.config, process: { ...base.process, ...(containers && { execCPUAffinity: containers }) } };
    const request = { ...base, process, config };
    const plan = newExecPlan();
    planInitialAffinity(plan, request);
    planJoin(plan, request, undefined);
    planExecProcess(plan, request);
    const lines = [...printProgram(plan.join), ...printProgram(plan.identity)];
    return lines.filter((line) => /sched_setaffinity\(|clone3\(/.test(line));
  }
  const isClone = expect.stringContaining("clone3(");

  test("initial on the way in, final when the process is in the container's cgroup", () => {
    expect(affinity({ initial: "0", final: "1,64" })).toEqual([
      "sched_setaffinity(0, 8, 0x0100000000000000)",
      isClone,
      "sched_setaffinity(0, 0x10, 0x02000000000000000100000000000000)",
    ]);
  });

  test("none", () => {
    expect(affinity(undefined)).toEqual([isClone]);
  });

  test("without final, all of the container", () => {
    const all = expect.stringContaining("sched_setaffinity(0, 0x400, ");
    expect(affinity({ initial: "0" })).toEqual([expect.stringContaining("0x01"), isClone, all]);
    expect(affinity({ initial: "", final: "" })).toEqual([isClone, all]);
  });

  test("the container's own where the process has none", () => {
    expect(affinity(undefined, { initial: "3", final: "3" })).toHaveLength(3);
    expect(affinity({ final: "0" }, { initial: "3", final: "3" })).toEqual([
      isClone,
      expect.stringContaining("sched_setaffinity(0, 8, 0x01"),
    ]);
  });
});
