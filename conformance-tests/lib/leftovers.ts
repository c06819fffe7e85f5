import { rmdirSync } from "node:fs";
import { cgroupsOf, mountsUnder, processesOf } from "../../tests/helpers/leaks.ts";
import { shimSockets } from "./containerd.ts";

/**
 * Processes, mounts, cgroups and sockets of shims that there are of an engine, whose `mark` is in the path or the
 * environment of everything that it makes. Not among them are its daemons, the cgroups in which those of containers are,
 * and the sockets that were there before.
 */
export function leftBehind(mark: string, daemons: readonly number[], socketsBefore: readonly string[]): string[] {
  return [
    ...processesOf(mark)
      .filter((pid) => !daemons.includes(pid))
      .map((pid) => `process ${pid}`),
    ...mountsUnder(mark).map((path) => `mount ${path}`),
    ...cgroupsOf(mark)
      .filter((path) => !path.endsWith(`/${mark}`) && !path.endsWith(`/${mark}/buildkit`))
      .map((path) => `cgroup ${path}`),
    ...shimSockets()
      .filter((name) => !socketsBefore.includes(name))
      .map((name) => `socket ${name}`),
  ];
}

/** Runtimes make /NAMESPACE/ID and remove only ID: the parent may be shared. */
export function removeParentCgroups(mark: string): void {
  for (const path of cgroupsOf(mark)) {
    try {
      rmdirSync(path);
    } catch {
      // In use: then the left-overs name what uses it.
    }
  }
}
