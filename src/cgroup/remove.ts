import { errnoNumber } from "../abi/errno.ts";
import { AT_FDCWD, AT_REMOVEDIR } from "../abi/fcntl.ts";
import { sleep } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { killCgroups } from "./kill.ts";
import type { ContainerCgroup } from "./paths.ts";
import { childrenOf } from "./processes.ts";

/** How long the kernel may take to notice that the last process of a cgroup is gone. */
const PATIENCE_MS = 2000;

/**
 * Kills what is left in the cgroups and removes them, with those that the container made inside. Those above them stay:
 * they are whoever's named them. Returns the paths that could not be removed.
 */
export function removeCgroups(cgroups: readonly ContainerCgroup[], patience = PATIENCE_MS): string[] {
  let left = cgroups.filter(({ path }) => removeTree(path) < 0);
  if (left.length === 0) return [];
  killCgroups(left, patience);
  const end = Bun.nanoseconds() + patience * 1e6;
  for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
    left = left.filter(({ path }) => removeTree(path) < 0);
    if (left.length === 0 || Bun.nanoseconds() > end) return left.map(({ path }) => path);
    sleep(pause);
  }
}

/** Removes what has no processes. */
export function removeEmptyCgroups(cgroups: readonly ContainerCgroup[]): void {
  for (const { path } of cgroups) removeTree(path);
}

/** rmdir(2), depth first where it must be. Returns 0, also for what is gone, or the negative errno. */
function removeTree(path: string): number {
  const removed = removeOne(path);
  if (removed !== -errnoNumber("EBUSY") && removed !== -errnoNumber("ENOTEMPTY")) return removed;
  const children = childrenOf(path);
  for (const child of children) removeTree(child);
  return children.length === 0 ? removed : removeOne(path);
}

function removeOne(path: string): number {
  const result = sys("unlinkat", AT_FDCWD, path, AT_REMOVEDIR);
  return result === -errnoNumber("ENOENT") ? 0 : result;
}
