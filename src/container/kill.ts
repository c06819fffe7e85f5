import { SIGKILL } from "../abi/signal.ts";
import { killCgroups, signalCgroups, thaw } from "../cgroup/kill.ts";
import { containerCgroups } from "../cgroup/paths.ts";
import { TsrunError } from "../errors.ts";
import { readText } from "../kernel/files.ts";
import type { ContainerState } from "../state/state.ts";
import type { Status } from "../state/status.ts";
import { signalInit } from "./init-process.ts";
import { loadContainer } from "./load.ts";

const PATIENCE_MS = 2000;

/**
 * Sends a signal to the container's first process, or with `all` to every process of the container: then one that has
 * stopped is no error, since engines use it to clean up what a container without a pid namespace left. SIGKILL for the
 * first process is for all where it would leave the others, as with runc.
 */
export function killContainer(root: string, id: string, signal: number, all: boolean): void {
  const { state, status } = loadContainer(root, id);
  if (all) signalAll(state, signal);
  else signalFirst(state, status, signal);
}

function signalFirst(state: ContainerState, status: Status, signal: number): void {
  if (status === "stopped" && signal === SIGKILL && killOrphans(state)) return;
  if (status === "creating" || status === "stopped") throw notRunning();
  if (signal === SIGKILL && sharesPids(state.init_process_pid)) signalAll(state, signal);
  else if (!signalInit(state, signal)) throw notRunning();
  if (status === "created" && endsARuntime(signal)) signalInit(state, SIGKILL);
  if (status === "paused" && signal === SIGKILL) thawFreezer(state);
}

/**
 * Whether the end of this process would leave the container's others alive: only that of the first process of a process
 * id namespace ends all in it. NSpid (proc_pid_status(5)) ends with the id in the process's own.
 */
function sharesPids(pid: number): boolean {
  const text = readText(`/proc/${pid}/status`);
  const own = typeof text === "string" ? /^NSpid:.*\t(\d+)$/m.exec(text)?.[1] : undefined;
  return own !== undefined && own !== "1";
}

/** Kills what outlived the first process; false when there is nothing. What a create that was killed names may be others'. */
function killOrphans({ phase, cgroup_paths }: ContainerState): boolean {
  if (phase !== "created") return false;
  const cgroups = containerCgroups(cgroup_paths);
  return signalCgroups(cgroups, SIGKILL) > 0 && killCgroups(cgroups, PATIENCE_MS) === 0;
}

/** Engines look for this text. */
export function notRunning(): TsrunError {
  return new TsrunError("container not running", { code: "ESRCH" });
}

function signalAll(state: ContainerState, signal: number): void {
  const cgroups = containerCgroups(state.cgroup_paths);
  // Without a cgroup of its own the container has no list of its processes.
  if (cgroups.length === 0) signalInit(state, signal);
  else if (signal === SIGKILL) killCgroups(cgroups, PATIENCE_MS);
  else signalCgroups(cgroups, signal);
}

/**
 * The first process of a pid namespace is spared every signal that it has no handler for. What waits in a created
 * container has none, but callers expect such a container to end like any other (runc's init handles these).
 */
function endsARuntime(signal: number): boolean {
  const [SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGTERM] = [1, 2, 3, 6, 15];
  return [SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGTERM].includes(signal);
}

/** On v1 a frozen process keeps even SIGKILL until it is thawed. */
export function thawFreezer(state: ContainerState): void {
  const freezer = new Map(Object.entries(state.cgroup_paths)).get("freezer");
  if (freezer !== undefined) thaw(freezer);
}
