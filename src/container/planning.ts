import { planCgroup } from "../cgroup/cgroupfs.ts";
import type { CgroupManager } from "../cgroup/choose.ts";
import { planOwnership } from "../cgroup/delegate.ts";
import { cgroupDirectories, cgroupMap, cgroupRecord } from "../cgroup/paths.ts";
import { planResources } from "../cgroup/plan-resources.ts";
import { type CgroupFindings, readCgroups } from "../cgroup/read-cgroups.ts";
import type { HostFacts } from "../host/facts.ts";
import {
  type ContainerRequest,
  newPlan,
  planBeginning,
  planBuild,
  planConnect,
  planListen,
  planProcess,
  planSendPidfd,
} from "../plan/container.ts";
import type { PlanContext } from "../plan/context.ts";
import { type Slot, slot } from "../plan/step.ts";
import type { Config, Resources } from "../spec/types.ts";
import { readResolvedDestinations } from "./resolved-destinations.ts";

/** What a container is planned from: by create, which does it, and by `tsrun plan`, which prints it. */
export interface PlanRequest extends Omit<ContainerRequest, "cgroupPaths"> {
  readonly config: Config;
  readonly facts: HostFacts;
  readonly cgroupManager: CgroupManager;
  /** No cgroup is better than no container. */
  readonly mayGoWithoutCgroup: boolean;
  /** Where the terminal goes: the path of an engine's socket, or a descriptor of tsrun's own. */
  readonly console: string | number | undefined;
  readonly pidfdSocket: string | undefined;
  readonly warn: (message: string) => void;
}

export interface BegunPlan {
  readonly plan: PlanContext;
  /** The container's cgroups, for state.json. */
  readonly cgroups: Record<string, string>;
}

/** Up to a process in the container's namespaces. `socketPath` is where a container that waits for start listens. */
export function beginPlan(request: PlanRequest, socketPath: string | undefined): BegunPlan {
  const found = request.cgroupManager === "disabled" ? { cgroups: [], warnings: [] } : findCgroups(request);
  for (const warning of found.warnings) request.warn(warning);
  const used = found.cgroups.map(({ directory }) => directory);
  const plan = newPlan({ ...request, cgroupPaths: cgroupMap(used) });
  planBeginning(plan, planCgroup(plan, found.cgroups));
  if (socketPath !== undefined) planListen(plan, socketPath);
  return { plan, cgroups: cgroupRecord(used) };
}

function findCgroups({ config, facts, id, mayGoWithoutCgroup }: PlanRequest): CgroupFindings {
  const directories = cgroupDirectories(config.linux?.cgroupsPath, id, facts.cgroup);
  return readCgroups(directories, facts.cgroup.mode === "unified", mayGoWithoutCgroup);
}

/** The file systems. */
export function continuePlan(request: PlanRequest, plan: PlanContext): void {
  const resolvedDestinations = readResolvedDestinations(request.config, plan.rootfsPath);
  planBuild(
    { ...plan, resolvedDestinations },
    { ...request, cgroupPaths: plan.cgroupPaths },
    planConsole(request, plan),
  );
}

/** Everything else but what start does. */
export function completePlan(request: PlanRequest, plan: PlanContext): void {
  const resources = request.config.linux?.resources;
  if (resources !== undefined) planLimitsOf(request, plan, resources);
  planOwnership(plan);
  planProcess(plan, { ...request, cgroupPaths: plan.cgroupPaths });
  if (request.pidfdSocket !== undefined) planSendPidfd(plan, plan.initPid, request.pidfdSocket);
}

/** Before the process gets its scheduling policy: v1 has none that is real-time without a limit for it. */
function planLimitsOf({ cgroupManager, facts }: PlanRequest, plan: PlanContext, resources: Resources): void {
  if (cgroupManager === "disabled") {
    if (Object.keys(resources).length > 0) plan.warnings.push("linux.resources has no effect without a cgroup manager");
    return;
  }
  const directories = facts.cgroup.hierarchies.flatMap((hierarchy) => {
    const path = plan.cgroupPaths.get(hierarchy.mount);
    return path === undefined ? [] : [{ hierarchy, path }];
  });
  plan.warnings.push(...planResources(plan.attach, plan.slots, cgroupRecord(directories), resources));
}

function planConsole(request: PlanRequest, plan: PlanContext): Slot | undefined {
  if (request.config.process?.terminal !== true || request.console === undefined) return undefined;
  if (typeof request.console === "string") return planConnect(plan, request.console, "console socket");
  return { ...slot(plan.slots, "console socket"), value: request.console };
}
