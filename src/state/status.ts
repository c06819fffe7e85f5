import { AT_FDCWD } from "../abi/fcntl.ts";
import { readText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { isLocked } from "./lock.ts";
import { START_SOCKET } from "./names.ts";
import { isAlive } from "./process.ts";
import type { ContainerState } from "./state.ts";

export type Status = "creating" | "created" | "running" | "paused" | "stopped";

/**
 * What the container is doing, from what can be seen of it. A create that was killed shows as `stopped`: its lock is
 * free. `directory` is the container's, open; `locked` tells that the caller itself holds the lock.
 */
export function statusOf(state: ContainerState, directory: number, locked = false): Status {
  if (state.phase === "creating") return !locked && isLocked(directory) ? "creating" : "stopped";
  if (!isAlive(state.init_process_pid, state.init_process_start)) return "stopped";
  if (isFrozen(state.cgroup_paths)) return "paused";
  const waits = sys("faccessat2", directory, START_SOCKET, 0, 0) === 0;
  return waits ? "created" : "running";
}

/** v1: freezer.state (kernel: admin-guide/cgroup-v1/freezer-subsystem); v2: cgroup.events of the freezer. */
function isFrozen(paths: ContainerState["cgroup_paths"]): boolean {
  const freezer = new Map(Object.entries(paths));
  const v1 = freezer.get("freezer");
  if (v1 !== undefined) return contentOf(`${v1}/freezer.state`).startsWith("FROZEN");
  const v2 = freezer.get("");
  return v2 !== undefined && /^frozen 1$/m.test(contentOf(`${v2}/cgroup.events`));
}

function contentOf(path: string): string {
  const text = readText(path, AT_FDCWD);
  return typeof text === "string" ? text : "";
}
