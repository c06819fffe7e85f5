import { AT_FDCWD } from "../abi/fcntl.ts";
import { systemdInstance } from "../cgroup/choose.ts";
import { killCgroups } from "../cgroup/kill.ts";
import { type ContainerCgroup, cgroupRecord, containerCgroups } from "../cgroup/paths.ts";
import { attachToScope, planScope, readSystemd, type Scope, stopScope } from "../cgroup/systemd.ts";
import { connectSystemd } from "../cgroup/systemd-bus.ts";
import { scopeName } from "../cgroup/systemd-unit.ts";
import { errorMessage } from "../errors.ts";
import type { CgroupFacts } from "../host/facts.ts";
import { inUserNamespace, readCgroupFacts } from "../host/read-facts.ts";
import { sys } from "../kernel/kernel.ts";
import { stage } from "../kernel/trace.ts";
import type { ContainerState } from "../state/state.ts";

/** What state.json keeps of a container's unit. */
export function scopeState(scope: Scope | undefined): Partial<ContainerState> {
  if (scope === undefined) return {};
  return { systemd_unit: scope.unit, systemd_slice: scope.slice, systemd_instance: scope.instance };
}

/** The container's unit; undefined when tsrun made its cgroup itself. */
export function scopeOf(state: ContainerState): Scope | undefined {
  const { systemd_unit: unit, systemd_slice: slice = "", systemd_instance: instance = "system" } = state;
  return unit === undefined ? undefined : { unit, slice, instance };
}

/** How long processes may take to die, in milliseconds. */
const PATIENCE_MS = 2000;

/**
 * Stops the container's unit, if it has one. What is in it is killed first: systemd would ask it to end, and wait for
 * that longer than anybody waits for a delete. Without systemd's help the cgroup is removed all the same: only a warning.
 */
export function endScope(state: ContainerState, warn: Warn): void {
  const scope = scopeOf(state);
  if (scope !== undefined) stopWithProcesses(scope, containerCgroups(state.cgroup_paths), warn);
}

type Warn = (message: string) => void;

function stopWithProcesses(scope: Scope, cgroups: readonly ContainerCgroup[], warn: Warn): void {
  stage("stop the scope");
  if (killCgroups(cgroups, PATIENCE_MS) > 0) return;
  try {
    stopScope(scope);
  } catch (error) {
    warn(errorMessage(error));
  }
}

/**
 * The same for a container whose state is lost: where it would be with this cgroupsPath, if there is a systemd and such a
 * scope. Returns its cgroups.
 */
export function endLikelyScope(cgroupsPath: string | undefined, id: string, warn: Warn): ContainerCgroup[] {
  const found = findScope(cgroupsPath, id);
  if (found === undefined) return [];
  stopWithProcesses(found.scope, found.cgroups, warn);
  return found.cgroups;
}

function findScope(
  cgroupsPath: string | undefined,
  id: string,
): { scope: Scope; cgroups: ContainerCgroup[] } | undefined {
  const instance = systemdInstance("auto", sys("geteuid"), inUserNamespace());
  try {
    using connection = connectSystemd(instance);
    const name = scopeName(cgroupsPath, id, instance === "user");
    const scope = planScope(name, instance, readSystemd(connection), undefined);
    const directories = readCgroupFacts().hierarchies.map((hierarchy) => ({
      hierarchy,
      path: hierarchy.mount + scope.cgroup,
    }));
    const there = directories.filter(({ path }) => sys("faccessat2", AT_FDCWD, path, 0, 0) === 0);
    return there.length === 0 ? undefined : { scope, cgroups: containerCgroups(cgroupRecord(there)) };
  } catch {
    // No systemd, or no path of its kind: then there is no scope.
    return undefined;
  }
}

/**
 * Lets the user's systemd move the agent of exec into the container's cgroup when the kernel would not let this process
 * be cloned there: from a login session, which is outside of what is delegated to the user, there is no way in.
 */
export function enterScope(
  state: ContainerState,
  facts: CgroupFacts,
  to: readonly ContainerCgroup[],
  pid: number,
): void {
  const scope = scopeOf(state);
  const path = to.find(({ version }) => version === 2)?.path;
  const [hierarchy] = facts.hierarchies;
  if (scope?.instance !== "user" || path === undefined || hierarchy === undefined || facts.mode !== "unified") return;
  const above = commonCgroup(hierarchy.mount + hierarchy.own, path);
  const [W_OK, AT_EACCESS] = [2, 0x200];
  if (sys("faccessat2", AT_FDCWD, `${above}/cgroup.procs`, W_OK, AT_EACCESS) === 0) return;
  stage("ask systemd to move the agent");
  const own = state.cgroup_paths[""] ?? path;
  attachToScope(scope, path.startsWith(`${own}/`) ? path.slice(own.length) : "", pid);
}

/** Whoever may write the cgroup.procs of the cgroup that is above both may move a process from one to the other. */
function commonCgroup(one: string, other: string): string {
  const parts = other.split("/");
  const differs = one.split("/").findIndex((part, i) => part !== parts[i]);
  return differs < 0 ? one : parts.slice(0, differs).join("/");
}
