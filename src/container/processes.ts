import { processesIn } from "../cgroup/processes.ts";
import { readText } from "../kernel/files.ts";
import { isAlive } from "../state/process.ts";
import type { ContainerState } from "../state/state.ts";
import { isDigits } from "../text.ts";

/**
 * The process ids of a container as the caller sees them, ascending: all in its cgroup and below it, in one hierarchy, as
 * runc does it: that of the devices, or v2's. A container without a cgroup has its first process and what descends
 * from it.
 */
export function containerProcesses(state: ContainerState): number[] {
  const paths = new Map(Object.entries(state.cgroup_paths));
  const path = paths.get("devices") ?? paths.get("pids") ?? paths.get("") ?? [...paths.values()][0];
  const pids = path === undefined ? familyOf(state) : processesIn(path);
  return [...new Set(pids)].sort((a, b) => a - b);
}

function familyOf({ init_process_pid: pid, init_process_start: start }: ContainerState): number[] {
  if (!isAlive(pid, start)) return [];
  const family = [pid];
  for (const each of family) family.push(...childrenOf(each));
  return family;
}

/** proc_pid_task_tid_children(5), of the threads' children those of the first thread: others are rare. */
function childrenOf(pid: number): number[] {
  const text = readText(`/proc/${pid}/task/${pid}/children`);
  return typeof text === "number" ? [] : text.split(" ").filter(isDigits).map(Number);
}
