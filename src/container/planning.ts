import { planCgroup } from "../cgroup/cgroupfs.ts";
import { type CgroupManager, withProperties } from "../cgroup/choose.ts";
import { planOwnership } from "../cgroup/delegate.ts";
import { canRestrictDevices, deviceModel } from "../cgroup/device-rules.ts";
import { cgroupMap, cgroupRecord } from "../cgroup/paths.ts";
import { planDeviceRules } from "../cgroup/plan-device-rules.ts";
import { planResources } from "../cgroup/plan-resources.ts";
import { type CgroupFindings, readCgroups } from "../cgroup/read-cgroups.ts";
import { readDeviceCgroup } from "../cgroup/read-device-cgroup.ts";
import { requiredControllers } from "../cgroup/required.ts";
import type { PlannedScope } from "../cgroup/systemd.ts";
import type { HostFacts } from "../host/facts.ts";
import { findMapTools } from "../host/map-tools.ts";
import { type ContainerRequest, newPlan, planBeginning, planBuild, planProcess } from "../plan/container.ts";
import type { PlanContext } from "../plan/context.ts";
import { needsMapTools } from "../plan/id-maps.ts";
import { planConnect, planListen, planSendPidfd } from "../plan/sockets.ts";
import { type Slot, slot } from "../plan/step.ts";
import type { Config, Resources } from "../spec/types.ts";
import { sharesCgroupNamespace } from "./check-host.ts";
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
  /** Asked for when the agent runs, before its first program. */
  readonly scope: PlannedScope | undefined;
}

/** Up to a process in the container's namespaces. `socketPath` is where a container that waits for start listens. */
export function beginPlan(request: PlanRequest, socketPath: string | undefined): BegunPlan {
  const { found, scope } = findCgroups(request);
  for (const warning of found.warnings) request.warn(warning);
  const used = found.cgroups.map(({ directory }) => directory);
  const mapTools = needsMapTools(request.config, request.facts) ? findMapTools() : undefined;
  const plan = newPlan({ ...request, cgroupPaths: cgroupMap(used), mapTools });
  planBeginning(plan, planCgroup(plan, found.cgroups));
  const resources = request.config.linux?.resources;
  if (resources !== undefined) planFirstLimits(request, plan, resources);
  if (socketPath !== undefined) planListen(plan, socketPath);
  return { plan, cgroups: cgroupRecord(used), scope };
}

/** Looks at the container's cgroups-to-be; a unit of systemd has to know all that they are to hold. */
function findCgroups(request: PlanRequest): { found: CgroupFindings; scope: PlannedScope | undefined } {
  const { config, facts, id, mayGoWithoutCgroup, cgroupManager } = request;
  if (cgroupManager.name === "disabled") return { found: { cgroups: [], warnings: [] }, scope: undefined };
  const wanted = { config, id, facts: facts.cgroup, mayGoWithout: mayGoWithoutCgroup };
  const { directories, scope } = cgroupManager.place(wanted);
  const resources = config.linux?.resources;
  const record = cgroupRecord(directories);
  const required = resources === undefined ? [] : requiredControllers(resources, record);
  const unified = facts.cgroup.mode === "unified";
  // What systemd makes is the caller's to use, however little it could make there itself.
  const mayGoWithout = mayGoWithoutCgroup && !(unified && scope !== undefined);
  const found = readCgroups(directories, unified, mayGoWithout, required);
  return { found, scope: scope === undefined ? undefined : withProperties(scope, wanted, record) };
}

/** The file systems. */
export function continuePlan(request: PlanRequest, plan: PlanContext): void {
  const resolvedDestinations = readResolvedDestinations(request.config, plan.rootfsPath);
  planBuild(
    { ...plan, resolvedDestinations, sharesCgroupNamespace: sharesCgroupNamespace(request.config) },
    { ...request, cgroupPaths: plan.cgroupPaths },
    planConsole(request, plan),
  );
}

/** Everything else but what start does. */
export function completePlan(request: PlanRequest, plan: PlanContext): void {
  const resources = request.config.linux?.resources;
  if (resources !== undefined) planOtherLimits(request, plan, resources);
  planDevicesOf(request, plan, resources?.devices);
  planOwnership(plan);
  planProcess(plan, { ...request, cgroupPaths: plan.cgroupPaths });
  if (request.pidfdSocket !== undefined) planSendPidfd(plan, plan.initPid, request.pidfdSocket);
}

/**
 * Memory, while the init has not done anything yet: the kernel refuses a limit below what is in use (v1), or kills to have
 * it (v2), and to build file systems takes some hundred kB for a moment, which it can do with less of when it must.
 */
function planFirstLimits({ cgroupManager, facts }: PlanRequest, plan: PlanContext, resources: Resources): void {
  const { memory } = resources;
  if (cgroupManager.name === "disabled") {
    if (Object.keys(resources).length > 0) plan.warnings.push("linux.resources has no effect without a cgroup manager");
  } else if (memory !== undefined) {
    plan.warnings.push(...planResources(plan.attach, plan.slots, cgroupsOf(facts, plan), { memory }));
  }
}

/** Before the process gets its scheduling policy: v1 has none that is real-time without a limit for it. */
function planOtherLimits({ cgroupManager, facts }: PlanRequest, plan: PlanContext, resources: Resources): void {
  if (cgroupManager.name === "disabled") return;
  const { memory: _, ...others } = resources;
  plan.warnings.push(...planResources(plan.attach, plan.slots, cgroupsOf(facts, plan), others));
}

function cgroupsOf({ cgroup }: HostFacts, { cgroupPaths }: PlanContext): Record<string, string> {
  const directories = cgroup.hierarchies.flatMap((hierarchy) => {
    const path = cgroupPaths.get(hierarchy.mount);
    return path === undefined ? [] : [{ hierarchy, path }];
  });
  return cgroupRecord(directories);
}

/** Every container has device rules. */
function planDevicesOf(request: PlanRequest, plan: PlanContext, rules: Resources["devices"]): void {
  const { cgroupManager, facts } = request;
  if (cgroupManager.name === "disabled") return;
  const cgroup = canRestrictDevices(facts) ? readDeviceCgroup(cgroupsOf(facts, plan)) : undefined;
  if (cgroup === undefined) {
    if ((rules?.length ?? 0) > 0) plan.warnings.push(`linux.resources.devices has no effect: ${NO_DEVICE_RULES}`);
    return;
  }
  const { model, warnings } = deviceModel(rules);
  plan.warnings.push(...warnings);
  planDeviceRules({ prepare: plan.attach, restrict: plan.restrict, slots: plan.slots }, cgroup, model);
}

const NO_DEVICE_RULES = "tsrun may not restrict devices here, or there is no cgroup to do it in";

function planConsole(request: PlanRequest, plan: PlanContext): Slot | undefined {
  if (request.config.process?.terminal !== true || request.console === undefined) return undefined;
  if (typeof request.console === "string") return planConnect(plan, request.console, "console socket");
  return { ...slot(plan.slots, "console socket"), value: request.console };
}
