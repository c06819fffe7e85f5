import { AT_FDCWD } from "../abi/fcntl.ts";
import { SIGKILL } from "../abi/signal.ts";
import { sleep, writeText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import type { ContainerCgroup } from "./paths.ts";
import { childrenOf, processesIn } from "./processes.ts";

/** Sends a signal once to each process in the cgroups and below them; returns how many got it. */
export function signalCgroups(cgroups: readonly ContainerCgroup[], signal: number): number {
  let sent = 0;
  for (const pid of processesOf(cgroups)) if (sys("kill", pid, signal) === 0) sent++;
  return sent;
}

/**
 * Kills every process in the cgroups and below them, those that are forked meanwhile too, and frozen ones. Returns how
 * many are left when `patience` is over: a process in uninterruptible sleep cannot be killed.
 */
export function killCgroups(cgroups: readonly ContainerCgroup[], patience: number): number {
  const end = Bun.nanoseconds() + patience * 1e6;
  for (const { version, path } of cgroups)
    if (version === 2 && !isRootCgroup(path)) writeText(`${path}/cgroup.kill`, "1");
  for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
    const pids = processesOf(cgroups);
    if (pids.size === 0 || Bun.nanoseconds() > end) return pids.size;
    for (const pid of pids) sys("kill", pid, SIGKILL);
    for (const { version, path } of cgroups) if (version === 1) thaw(path);
    sleep(pause);
  }
}

/** A process in a frozen v1 cgroup does not die before it is thawed; one in a frozen v2 cgroup does. */
export function thaw(path: string): void {
  if (writeText(`${path}/freezer.state`, "THAWED") < 0) return;
  for (const child of childrenOf(path)) thaw(child);
}

/** Never tsrun itself, and never what is in a root cgroup: a state file that says so is wrong. */
function processesOf(cgroups: readonly ContainerCgroup[]): Set<number> {
  const found = new Set<number>();
  for (const { path } of cgroups) {
    if (isRootCgroup(path)) continue;
    for (const pid of processesIn(path)) found.add(pid);
  }
  found.delete(sys("getpid"));
  return found;
}

/** Only the root of a v1 hierarchy has a release_agent; only that of v2 has no cgroup.events, and all of v1 neither. */
export function isRootCgroup(path: string): boolean {
  const has = (name: string) => sys("faccessat2", AT_FDCWD, `${path}/${name}`, 0, 0) === 0;
  return has("release_agent") || (has("cgroup.controllers") && !has("cgroup.events"));
}
