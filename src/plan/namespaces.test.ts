import { expect, test } from "bun:test";
import {
  CLONE_INTO_CGROUP,
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  CLONE_PARENT,
} from "../abi/sched.ts";
import type { HostFacts } from "../host/facts.ts";
import type { Linux, Namespace, NamespaceType } from "../spec/types.ts";
import { namespaceFlag, planNamespaces } from "./namespaces.ts";
import { type Data, type Step, slot } from "./step.ts";
import { printProgram, testContext } from "./test-printer.ts";

function planned(linux: Linux, facts: Partial<HostFacts> = {}, withCgroup = false) {
  const context = testContext({ linux }, facts);
  planNamespaces(context, withCgroup ? slot(context.slots, "cgroup") : undefined);
  return context;
}

const made = (...types: NamespaceType[]): Linux => ({ namespaces: types.map((type) => ({ type })) });

function cloneArgs(steps: readonly Step[]): readonly unknown[] {
  const clone = steps.find(({ call }) => call === "clone3")!;
  return (clone.args[0] as Data & { kind: "words" }).words;
}

test("each type has the flag of its own", () => {
  const types = ["mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time"] as const;
  const flags = types.map(namespaceFlag);
  expect(flags).toEqual([
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWNET,
    CLONE_NEWUTS,
    CLONE_NEWIPC,
    CLONE_NEWUSER,
    CLONE_NEWCGROUP,
    CLONE_NEWTIME,
  ]);
  expect(new Set(flags).size).toBe(8);
});

test("new ones are made in one clone3, whose child is a sibling of the agent", () => {
  const { unshare } = planned(made("mount", "pid", "network", "uts", "ipc", "user"));
  const flags = CLONE_PARENT + CLONE_NEWNS + CLONE_NEWPID + CLONE_NEWNET + CLONE_NEWUTS + CLONE_NEWIPC + CLONE_NEWUSER;
  expect(printProgram(unshare)).toEqual([
    `$init = clone3({0x${flags.toString(16)}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0x58) 0→3`,
    expect.stringMatching(/^write\(socket, &\$slots, /),
    "exit_group(0)",
    "close($state directory)",
  ]);
});

test("without namespaces there is still a child, in those of tsrun", () => {
  const { unshare } = planned({ namespaces: [] });
  expect(cloneArgs(unshare.steps)[0]).toBe(CLONE_PARENT);
});

test("a cgroup of v2 is entered by clone3; its descriptor and the lock do not stay in the child", () => {
  const { unshare } = planned(made("mount"), {}, true);
  const lines = printProgram(unshare);
  const flags = CLONE_PARENT + CLONE_NEWNS + CLONE_INTO_CGROUP;
  expect(lines[0]).toBe(`$init = clone3({0x${flags.toString(16)}, 0, 0, 0, 0, 0, 0, 0, 0, 0, $cgroup}, 0x58) 0→3`);
  expect(lines.slice(3)).toEqual(["close($state directory)", "close($cgroup)"]);
});

test("joined ones are opened by tsrun and joined by the agent, before new ones are made", () => {
  const { prepare, unshare } = planned({
    namespaces: [{ type: "network", path: "/run/netns/a" }, { type: "mount" }],
  });
  expect(printProgram(prepare)).toEqual(['$network namespace = openat(-100, "/run/netns/a", 0, 0)']);
  expect(printProgram(unshare).slice(0, 3)).toEqual([
    `setns($network namespace, 0x${CLONE_NEWNET.toString(16)})`,
    "close($network namespace)",
    `$init = clone3({0x${(CLONE_PARENT + CLONE_NEWNS).toString(16)}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0x58) 0→5`,
  ]);
  expect(unshare.steps[0]!.pointer).toBe("/linux/namespaces/0/path");
  expect(unshare.steps[0]!.says!.EINVAL).toContain("is not a network namespace");
});

const joins = (facts: Partial<HostFacts>) =>
  planned(
    {
      namespaces: [
        { type: "user", path: "/u" },
        { type: "network", path: "/n" },
        { type: "ipc", path: "/i" },
      ],
    },
    facts,
  )
    .unshare.steps.filter(({ call }) => call === "setns")
    .map(({ args }) => args[1]);

test("the user namespace is joined last by who has power over the host", () => {
  expect(joins({ canMount: true })).toEqual([CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUSER]);
});

test("and first by who gets power over the others only there", () => {
  expect(joins({ canMount: false })).toEqual([CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWIPC]);
});

test("an empty path is a new namespace", () => {
  const { prepare, unshare } = planned({ namespaces: [{ type: "pid", path: "" }] });
  expect(prepare.steps).toEqual([]);
  expect(cloneArgs(unshare.steps)[0]).toBe(CLONE_PARENT + CLONE_NEWPID);
});

test("the cgroup namespace is made by the init, which is in its cgroup by then", () => {
  const { unshare, build } = planned(made("mount", "cgroup"));
  expect(cloneArgs(unshare.steps)[0]).toBe(CLONE_PARENT + CLONE_NEWNS);
  expect(printProgram(build)).toContain("unshare(0x2000000)");
});

test("nsdelegate: an existing cgroup namespace is joined by who is born in the cgroup", () => {
  const join = `setns($cgroup namespace, 0x${CLONE_NEWCGROUP.toString(16)})`;
  const lines = (types: readonly Namespace[], withCgroup: boolean) =>
    printProgram(planned({ namespaces: [...types] }, {}, withCgroup).unshare).filter((line) =>
      /^setns|clone3/.test(line),
    );
  const cgroup: Namespace = { type: "cgroup", path: "/c" };
  expect(lines([cgroup], true).at(-1)).toBe(join);
  expect(lines([cgroup], false).at(0)).toBe(join);
  // It may be the host's, over which a process in the user namespace has no privileges.
  expect(lines([cgroup, { type: "user" }], true).at(0)).toBe(join);
});

test("a joined cgroup namespace is not made again", () => {
  const { build } = planned({ namespaces: [{ type: "cgroup", path: "/c" }] });
  expect(build.steps.some(({ call }) => call === "unshare")).toBe(false);
});

test("the init hides from ptrace before it does anything with the container's namespaces", () => {
  const { build } = planned(made("mount", "cgroup"));
  expect(printProgram(build)).toEqual([
    'prctl(0xf, "tsrun:[2:INIT]")',
    "prctl(4, 0)",
    "setsid() ? EPERM",
    "unshare(0x2000000)",
    "umask(0)",
  ]);
});

test("in a user namespace that is joined nobody finds the init dumpable, not even before its first batch", () => {
  const joined = planned({
    namespaces: [
      { type: "user", path: "/u" },
      { type: "pid", path: "/p" },
    ],
  }).unshare;
  expect(printProgram(joined)[0]).toBe("prctl(4, 0, 0, 0, 0)");
  // tsrun, which may not be root, has to write the maps of a new one.
  expect(printProgram(planned(made("user", "pid")).unshare)[0]).toContain("clone3");
});

test("in a user namespace the init becomes its root first", () => {
  const { build } = planned(made("mount", "user"));
  expect(printProgram(build).slice(1, 4)).toEqual([
    "setgroups(0, 0) ? EPERM",
    "setresgid(0, 0, 0)",
    "setresuid(0, 0, 0)",
  ]);
});

test("a time namespace without offsets is made by clone3", () => {
  expect(cloneArgs(planned(made("time")).unshare.steps)[0]).toBe(CLONE_PARENT + CLONE_NEWTIME);
});

test("with offsets the init makes it, writes them while it is empty, and moves in", () => {
  const timeOffsets = { boottime: { secs: -5, nanosecs: 7 }, monotonic: { secs: 86400 } };
  const { unshare, build } = planned({ ...made("time"), timeOffsets });
  expect(cloneArgs(unshare.steps)[0]).toBe(CLONE_PARENT);
  expect(printProgram(build).slice(1, 7)).toEqual([
    "unshare(0x80)",
    '$timens_offsets = openat(-100, "/proc/self/timens_offsets", 1, 0)',
    'write($timens_offsets, "monotonic 86400 0\\nboottime -5 7\\n", 0x20)',
    "close($timens_offsets)",
    '$time_for_children = openat(-100, "/proc/self/ns/time_for_children", 0, 0)',
    "setns($time_for_children, 0x80)",
  ]);
});
