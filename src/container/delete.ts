import { errnoName, errnoNumber, errnoText } from "../abi/errno.ts";
import { MNT_DETACH, UMOUNT_NOFOLLOW } from "../abi/mount.ts";
import { isHeldFromAbove } from "../cgroup/kill.ts";
import { type ContainerCgroup, cgroupDirectories, cgroupRecord, containerCgroups } from "../cgroup/paths.ts";
import { removeCgroups, removeEmptyCgroups } from "../cgroup/remove.ts";
import { TsrunError } from "../errors.ts";
import { runPoststopHooks } from "../hooks/poststop.ts";
import { readCgroupFacts } from "../host/read-facts.ts";
import { close } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { stage } from "../kernel/trace.ts";
import type { Config, Hooks } from "../spec/types.ts";
import { lockIfExists } from "../state/lock.ts";
import { doesNotExist } from "../state/names.ts";
import { hasFinalState, salvageState } from "../state/salvage.ts";
import type { ContainerState } from "../state/state.ts";
import { statusOf } from "../state/status.ts";
import { findContainerDirectory, readSavedConfig, readState, removeContainerDirectory } from "../state/store.ts";
import { killInit } from "./init-process.ts";
import { thawFreezer } from "./kill.ts";
import { endLikelyScope, endScope } from "./scope.ts";
import { stateDocument } from "./state-document.ts";

/** How long the container's first process may take to die of SIGKILL. */
const PATIENCE_MS = 10_000;
/** After this, a look at what may hold it. */
const FIRST_PATIENCE_MS = 500;

export type Warn = (message: string) => void;

/**
 * Removes what create made. Without `force` the container must have stopped, or not been started yet; with it, it is
 * killed, a container that does not exist is no error, and what a killed create or a broken state left is cleared up.
 */
export function deleteContainer(root: string, id: string, force: boolean, warn: Warn): void {
  stage("delete: read the state");
  const directory = findContainerDirectory(root, id);
  const found = directory !== undefined && lockIfExists(directory, id);
  try {
    if (found) deleteLocked(directory, root, id, force, warn);
    else if (!force) throw doesNotExist();
  } finally {
    if (directory !== undefined) close(directory);
  }
}

/**
 * The same for a container whose first process this tsrun has reaped: everything is known, unless somebody else has
 * deleted it meanwhile. `directory` is the descriptor of its state directory, unlocked; it is closed.
 */
export function deleteEnded(
  directory: number,
  root: string,
  state: ContainerState,
  hooks: Hooks | undefined,
  warn: Warn,
): void {
  try {
    if (!lockIfExists(directory, state.id)) return;
    destroy({ ...state, init_process_pid: 0 }, warn);
    stage("delete: remove the state directory");
    removeContainerDirectory(root, state.id);
    runPoststopHooks(hooks, JSON.stringify(stateDocument(state, "stopped")), warn);
  } finally {
    close(directory);
  }
}

function deleteLocked(directory: number, root: string, id: string, force: boolean, warn: Warn): void {
  const state = force ? salvageState(directory, id) : readState(directory, root, id);
  if (state !== undefined && !force) checkDeletable(state, directory);
  const hooks = savedConfig(directory)?.hooks;
  if (state === undefined) destroyUnknown(directory, id, warn);
  else destroy(state, warn);
  stage("delete: remove the state directory");
  removeContainerDirectory(root, id);
  if (state !== undefined) runPoststopHooks(hooks, JSON.stringify(stateDocument(state, "stopped")), warn);
}

/** A created container may be deleted, as with runc and crun: it is killed. */
function checkDeletable(state: ContainerState, directory: number): void {
  const status = statusOf(state, directory, true);
  if (status === "stopped" || status === "created") return;
  throw new TsrunError(`cannot delete container ${state.id} that is not stopped: ${status}`, {
    code: "EBUSY",
    hint: "kill it first, or use --force",
  });
}

/**
 * Undoes create: process, cgroups, mounts. In this order: a cgroup with a process cannot be removed. Throws when
 * something stays, so that the state directory does too and delete can be tried again.
 */
export function destroy(state: ContainerState, warn: Warn): void {
  stage("delete: end the process");
  endInit(state);
  endScope(state, warn);
  stage("delete: remove the cgroups");
  clearCgroups(state.id, containerCgroups(state.cgroup_paths), warn);
  unmountAll(state.mounted, warn);
}

/** A frozen process cannot die; what is frozen from above is not the container's to thaw, so waiting is in vain. */
function endInit(state: ContainerState): void {
  const thaw = () => thawFreezer(state);
  if (killInit(state, FIRST_PATIENCE_MS, thaw)) return;
  const held = containerCgroups(state.cgroup_paths).find(({ path }) => isHeldFromAbove(path));
  if (held === undefined && killInit(state, PATIENCE_MS, thaw)) return;
  throw new TsrunError(`cannot delete container "${state.id}": process ${state.init_process_pid} does not die`, {
    code: "EBUSY",
    hint:
      held === undefined
        ? "a process that waits for a device or a network file system cannot be killed; try again when it goes on"
        : `a cgroup above "${held.path}" is frozen: write THAWED to its freezer.state, then try again`,
  });
}

function clearCgroups(id: string, cgroups: readonly ContainerCgroup[], warn: Warn): void {
  const left = removeCgroups(cgroups, (path) => warn(`cgroup "${path}" is not the container's alone: left as it is`));
  const [first] = left;
  if (first === undefined) return;
  const paths = left.map(({ path }) => path).join(", ");
  const cause = first.errno === errnoNumber("EBUSY") ? "still in use" : errnoText(first.errno);
  throw new TsrunError(`cannot delete container "${id}": cgroup ${paths}: ${cause}`, { code: errnoName(first.errno) });
}

/** What is mounted may have been unmounted by others, or may never have come to be mounted. */
function unmountAll(paths: readonly string[], warn: Warn): void {
  for (const path of [...paths].reverse()) {
    const result = sys("umount2", path, MNT_DETACH | UMOUNT_NOFOLLOW);
    const gone = result === -errnoNumber("EINVAL") || result === -errnoNumber("ENOENT");
    if (result < 0 && !gone) warn(`cannot unmount "${path}": ${errnoText(-result)}`);
  }
}

/**
 * Without a state, the cgroups are where create would have put them. A broken state.json is of a container that was
 * created: its processes are killed. Without one create did not come far, and processes there are somebody else's, unless
 * the file was lost: only a person can tell.
 */
function destroyUnknown(directory: number, id: string, warn: Warn): void {
  const cgroups = likelyCgroups(directory, id);
  if (!hasFinalState(directory)) {
    const left = removeEmptyCgroups(cgroups);
    if (left.length > 0) warn(`whose the processes in cgroup ${left.join(", ")} are is not known: left as they are`);
    return;
  }
  const scoped = endLikelyScope(savedConfig(directory)?.linux?.cgroupsPath, id, warn);
  clearCgroups(id, [...cgroups, ...scoped], warn);
}

function likelyCgroups(directory: number, id: string): ContainerCgroup[] {
  const cgroupsPath = savedConfig(directory)?.linux?.cgroupsPath;
  try {
    return containerCgroups(cgroupRecord(cgroupDirectories(cgroupsPath, id, readCgroupFacts())));
  } catch {
    return [];
  }
}

/** The configuration as far as it can still be read: it was checked at create. */
function savedConfig(directory: number): Partial<Config> | undefined {
  try {
    return JSON.parse(readSavedConfig(directory)) as Partial<Config>;
  } catch {
    return undefined;
  }
}
