import { AT_FDCWD, O_CLOEXEC, O_WRONLY } from "../abi/fcntl.ts";
import type { CgroupFacts, CgroupHierarchy } from "../host/facts.ts";
import type { PlanContext } from "../plan/context.ts";
import { add, label, place, slot } from "../plan/step.ts";
import type { Limits } from "../plan/trial.ts";

export type LimitController = "memory" | "cpu" | "pids";

/** A file of the container's cgroup and what is written to it, in order. */
export interface LimitFile {
  readonly file: string;
  readonly value: string;
  /** The kernel may be without it. */
  readonly optional?: true;
}

/** The controllers that these limits need. */
export function limitedControllers({ memory, cpus, pids }: Limits): LimitController[] {
  const wanted = [memory !== undefined && "memory", cpus !== undefined && "cpu", pids !== undefined && "pids"] as const;
  return wanted.filter((name) => name !== false);
}

/** Where a controller is: bound to a v1 hierarchy, or else in the v2 one, when there is one. */
export function hierarchyOf(facts: CgroupFacts, controller: LimitController): CgroupHierarchy | undefined {
  return (
    facts.hierarchies.find(({ controllers }) => controllers.includes(controller)) ??
    facts.hierarchies.find(({ version }) => version === 2)
  );
}

/** Microseconds; the kernel's own default, which is what people compare with. */
const CPU_PERIOD = 100_000;

/** The files for one controller (docs.kernel.org: cgroup-v1/memory.rst, cgroup-v2.rst). Swap is not to evade the limit. */
export function limitFiles(controller: LimitController, limits: Limits, version: 1 | 2): LimitFile[] {
  if (controller === "pids") return [{ file: "pids.max", value: String(limits.pids) }];
  if (controller === "cpu") {
    const quota = Math.round((limits.cpus ?? 0) * CPU_PERIOD);
    if (version === 2) return [{ file: "cpu.max", value: `${quota} ${CPU_PERIOD}` }];
    return [
      { file: "cpu.cfs_period_us", value: String(CPU_PERIOD) },
      { file: "cpu.cfs_quota_us", value: String(quota) },
    ];
  }
  const value = String(limits.memory);
  if (version === 2) {
    return [
      { file: "memory.max", value },
      { file: "memory.swap.max", value: "0", optional: true },
    ];
  }
  return [
    { file: "memory.limit_in_bytes", value },
    { file: "memory.memsw.limit_in_bytes", value, optional: true },
  ];
}

/** Limits of the container's cgroups, in `attach`: by tsrun, when the init is in them and has not done anything yet. */
export function planLimits(context: PlanContext, limits: Limits): void {
  for (const controller of limitedControllers(limits)) {
    const hierarchy = hierarchyOf(context.facts.cgroup, controller);
    const path = hierarchy === undefined ? undefined : context.cgroupPaths.get(hierarchy.mount);
    if (hierarchy === undefined || path === undefined) continue;
    for (const wanted of limitFiles(controller, limits, hierarchy.version)) {
      planLimit(context, controller, path, wanted);
    }
  }
}

function planLimit({ attach, slots }: PlanContext, controller: LimitController, path: string, wanted: LimitFile): void {
  const { file, value, optional } = wanted;
  const fd = slot(slots, file);
  const next = label();
  const what = `limit ${controller}: write "${value}" to "${path}/${file}"`;
  const missing = `cannot limit ${controller}: cgroup "${path}" does not have the controller "${controller}"`;
  add(attach, {
    call: "openat",
    args: [AT_FDCWD, `${path}/${file}`, O_WRONLY | O_CLOEXEC, 0],
    into: fd,
    what,
    tolerate: optional ? ["ENOENT"] : undefined,
    onTolerated: next,
    says: { ENOENT: missing },
    hint: `the cgroup above it has to hand it down: echo +${controller} > cgroup.subtree_control`,
  });
  add(
    attach,
    { call: "write", args: [fd, value, value.length], what },
    { call: "close", args: [fd], what: `close ${file}` },
  );
  place(attach, next);
}
