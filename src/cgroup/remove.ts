import { errnoNumber } from "../abi/errno.ts";
import { AT_FDCWD, AT_REMOVEDIR } from "../abi/fcntl.ts";
import { nanoseconds } from "../kernel/clock.ts";
import { sleep } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { isCgroupPath, isShared, killCgroups } from "./kill.ts";
import type { ContainerCgroup } from "./paths.ts";
import { walkCgroups } from "./processes.ts";

/** How long the kernel may take to notice that the last process of a cgroup is gone. */
const PATIENCE_MS = 2000;

/** A cgroup that could not be removed, and why. */
export interface LeftCgroup {
  readonly path: string;
  readonly errno: number;
}

/**
 * Kills what is left in the cgroups and removes them, with those that the container made inside. Those above them stay:
 * they are whoever's named them. A cgroup that others share is left as it is, and `onShared` told of it. Returns what
 * could not be removed within `patience` milliseconds.
 */
export function removeCgroups(
  cgroups: readonly ContainerCgroup[],
  onShared: (path: string) => void = () => {},
  patience = PATIENCE_MS,
): LeftCgroup[] {
  // A cgroup that can be removed as it is has nobody in it.
  const busy = cgroups.filter(({ path }) => !isCgroupPath(path) || removeOne(path) < 0);
  if (busy.length === 0) return [];
  const own = busy.filter(({ path }) => !isShared(path));
  for (const { path } of busy.filter((each) => !own.includes(each))) onShared(path);
  if (removeAll(own).length === 0) return [];
  const end = nanoseconds() + patience * 1e6;
  killCgroups(own, patience);
  for (let pause = 1; ; pause = Math.min(pause * 2, 20)) {
    const left = removeAll(own);
    const waits = left.some(({ errno }) => isBusy(-errno));
    if (!waits || nanoseconds() > end) return left;
    sleep(pause);
  }
}

/** Removes what has no processes; returns what has. */
export function removeEmptyCgroups(cgroups: readonly ContainerCgroup[]): string[] {
  return cgroups.map(({ path }) => path).filter((path) => !isShared(path) && isBusy(removeTree(path)));
}

function removeAll(cgroups: readonly ContainerCgroup[]): LeftCgroup[] {
  return cgroups.map(({ path }) => ({ path, errno: -removeTree(path) })).filter(({ errno }) => errno > 0);
}

/** rmdir(2), depth first where it must be. Returns 0, also for what is gone, or the negative errno. */
function removeTree(path: string): number {
  const removed = removeOne(path);
  if (!isBusy(removed)) return removed;
  walkCgroups(path, { leave: (above, name) => void sys("unlinkat", above, name, AT_REMOVEDIR) });
  return removeOne(path);
}

function isBusy(result: number): boolean {
  return result === -errnoNumber("EBUSY") || result === -errnoNumber("ENOTEMPTY");
}

function removeOne(path: string): number {
  const result = sys("unlinkat", AT_FDCWD, path, AT_REMOVEDIR);
  return result === -errnoNumber("ENOENT") ? 0 : result;
}
