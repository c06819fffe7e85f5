import { expect, test } from "bun:test";
import type { CgroupHierarchy } from "../host/facts.ts";
import type { PlanContext } from "../plan/context.ts";
import { type Program, program, slotTable } from "../plan/step.ts";
import { stepError } from "../plan/step-error.ts";
import { planCgroup } from "./cgroupfs.ts";
import type { CgroupFinding } from "./read-cgroups.ts";

const pids: CgroupHierarchy = { version: 1, controllers: ["pids"], mount: "/c/pids", own: "/" };
const cpuset: CgroupHierarchy = { version: 1, controllers: ["cpuset"], mount: "/c/cpuset", own: "/" };
const v2: CgroupHierarchy = { version: 2, controllers: [], mount: "/c", own: "/" };

function plan(...findings: CgroupFinding[]) {
  const unshare = program("unshare");
  // The planner looks at nothing else of the context.
  const context = { unshare, slots: slotTable() } as unknown as PlanContext;
  const unified = planCgroup(context, findings);
  return { unified, lines: linesOf(unshare) };
}

function linesOf({ steps }: Program): string[] {
  return steps
    .filter(({ call }) => call !== "close")
    .map(({ call, args }) => `${call} ${args.filter((arg) => typeof arg === "string").join(" ")}`.trim());
}

test("v1: every level is made, then the agent enters by itself", () => {
  const { unified, lines } = plan({ directory: { hierarchy: pids, path: "/c/pids/a/b" }, handDown: [] });
  expect(lines).toEqual(["mkdirat /c/pids/a", "mkdirat /c/pids/a/b", "openat /c/pids/a/b/tasks", "write 0"]);
  expect(unified).toBeUndefined();
});

test("v1 cpuset: what is empty is filled from above before anyone enters", () => {
  const empty = ["/c/cpuset/a", "/c/cpuset/a/b"];
  const directory = { hierarchy: cpuset, path: "/c/cpuset/a/b" };
  const { lines } = plan({ directory, cpuset: { cpus: "0-1", mems: "0", empty }, handDown: [] });
  expect(lines.slice(2)).toEqual([
    "openat /c/cpuset/a/cpuset.cpus",
    "write 0-1",
    "openat /c/cpuset/a/cpuset.mems",
    "write 0",
    "openat /c/cpuset/a/b/cpuset.cpus",
    "write 0-1",
    "openat /c/cpuset/a/b/cpuset.mems",
    "write 0",
    "openat /c/cpuset/a/b/tasks",
    "write 0",
  ]);
});

test("v2: controllers are handed down, together or one by one, and the cgroup is opened for clone3", () => {
  const directory = { hierarchy: v2, path: "/c/a" };
  const { unified, lines } = plan({
    directory,
    handDown: [{ path: "/c", controllers: ["cpu", "pids"], required: [] }],
  });
  expect(lines).toEqual([
    "mkdirat /c/a",
    "openat /c/cgroup.subtree_control",
    "write +cpu +pids",
    "write +cpu",
    "write +pids",
    "openat /c/a",
  ]);
  expect(unified).toBeDefined();
});

test("v2: when all controllers were taken at once, they are not tried one by one", () => {
  const unshare = program("unshare");
  const context = { unshare, slots: slotTable() } as unknown as PlanContext;
  const directory = { hierarchy: v2, path: "/c/a" };
  planCgroup(context, [{ directory, handDown: [{ path: "/c", controllers: ["cpu", "pids"], required: [] }] }]);
  const together = unshare.steps.find(({ args }) => args.includes("+cpu +pids"))!;
  expect(unshare.steps[together.onPositive!.at]!.call).toBe("close");
});

test("v2: what is required must be handed down, what is not may be refused", () => {
  const unshare = program("unshare");
  const context = { unshare, slots: slotTable() } as unknown as PlanContext;
  const required = [{ controller: "pids", pointer: "/linux/resources/pids/limit" }];
  planCgroup(context, [
    { directory: { hierarchy: v2, path: "/c/a" }, handDown: [{ path: "/c", controllers: ["cpu", "pids"], required }] },
  ]);
  const step = (word: string) => unshare.steps.find(({ args }) => args.includes(word))!;
  expect(step("+cpu").tolerate).toContain("EBUSY");
  expect(step("+pids").tolerate).toBeUndefined();
  expect(step("/c/cgroup.subtree_control").tolerate).toBeUndefined();
  const { message } = stepError(step("+pids"), 16);
  expect(message).toBe(
    'cannot use the cgroup controller "pids": cgroup "/c" cannot hand it down: device or resource busy (linux.resources.pids.limit)',
  );
});

test("without a hierarchy nothing is done", () => {
  expect(plan()).toEqual({ unified: undefined, lines: [] });
});
