import { killCgroups } from "../cgroup/kill.ts";
import { containerCgroups } from "../cgroup/paths.ts";
import { type Scope, stopScope } from "../cgroup/systemd.ts";
import { errorMessage } from "../errors.ts";
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
export function endScope(state: ContainerState, warn: (message: string) => void): void {
  const scope = scopeOf(state);
  if (scope === undefined) return;
  if (killCgroups(containerCgroups(state.cgroup_paths), PATIENCE_MS) > 0) return;
  try {
    stopScope(scope);
  } catch (error) {
    warn(errorMessage(error));
  }
}
