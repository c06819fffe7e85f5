import { AT_FDCWD } from "../abi/fcntl.ts";
import { SIGKILL } from "../abi/signal.ts";
import { nanoseconds } from "../kernel/clock.ts";
import { readText, sleep, writeText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import type { ContainerCgroup } from "./paths.ts";
import { processesIn, walkCgroups } from "./processes.ts";

/** Sends a signal once to each process in the cgroups and below them; returns how many got it. */
export function signalCgroups(cgroups: readonly ContainerCgroup[], signal: number): number {
  let sent = 0;
  for (const pid of processesOf(cgroups.filter(isOwn))) if (sys("kill", pid, signal) === 0) sent++;
  return sent;
}

/**
 * Kills every process in the cgroups and below them, those that are forked meanwhile too, and frozen ones. Returns how
 * many are left when `patience` (milliseconds) is over: a process in uninterruptible sleep cannot be killed.
 */
export function killCgroups(cgroups: readonly ContainerCgroup[], patience: number): number {
  const end = nanoseconds() + patience * 1e6;
  const own = cgroups.filter(isOwn);
  const others = own.filter((cgroup) => !killAtOnce(cgroup));
  const forksAreCaught = others.length < own.length;
  for (let pause = 1; ; pause = Math.min(pause * 2, 20)) {
    const held = forksAreCaught && pause < 4 ? [] : others;
    for (const cgroup of held) freeze(cgroup);
    const pids = processesOf(own);
    for (const pid of pids) sys("kill", pid, SIGKILL);
    for (const cgroup of others) release(cgroup);
    if (pids.size === 0 || nanoseconds() > end) return pids.size;
    sleep(pause);
  }
}

/** cgroup.kill, since Linux 5.14: the kernel itself catches what is forked meanwhile. */
function killAtOnce({ version, path }: ContainerCgroup): boolean {
  return version === 2 && writeText(`${path}/cgroup.kill`, "1") === 0;
}

/**
 * Holds the processes still, so that none forks between the look at the list and the kill: whoever only kills what is
 * listed never wins against a fork bomb. Waits no longer than 10 ms: what sleeps uninterruptibly does not fork either.
 */
function freeze({ version, path }: ContainerCgroup): void {
  const [file, word] = version === 1 ? ["freezer.state", "FROZEN"] : ["cgroup.freeze", "1"];
  if (writeText(`${path}/${file}`, word) < 0) return;
  for (let wait = 0; wait < 10 && !isFrozen(version, path); wait++) sleep(1);
}

function isFrozen(version: 1 | 2, path: string): boolean {
  const text = readText(version === 1 ? `${path}/freezer.state` : `${path}/cgroup.events`);
  return typeof text !== "string" || text.startsWith("FROZEN") || text.includes("frozen 1");
}

function release({ version, path }: ContainerCgroup): void {
  if (version === 1) thaw(path);
  else writeText(`${path}/cgroup.freeze`, "0");
}

/** A process in a frozen v1 cgroup does not die before it is thawed; one in a frozen v2 cgroup does. */
export function thaw(path: string): void {
  if (writeText(`${path}/freezer.state`, "THAWED") < 0) return;
  walkCgroups(path, { enter: (cgroup) => void writeText("freezer.state", "THAWED", cgroup) });
}

/** True when a v1 freezer above this one is frozen: nothing that tsrun may do lets these processes die. */
export function isHeldFromAbove(path: string): boolean {
  const text = readText(`${path}/freezer.parent_freezing`);
  return typeof text === "string" && text.startsWith("1");
}

function processesOf(cgroups: readonly ContainerCgroup[]): Set<number> {
  const found = new Set<number>();
  for (const { path } of cgroups) for (const pid of processesIn(path)) found.add(pid);
  return found;
}

function isOwn({ path }: ContainerCgroup): boolean {
  return !isShared(path);
}

/**
 * True for what cannot be a container's own cgroup, whatever a state file says: another directory, a root cgroup, a slice
 * of systemd's (slices hold others' units, never a container's processes), or one with the host's init or tsrun in it.
 */
export function isShared(path: string): boolean {
  if (!isCgroupPath(path) || isRootCgroup(path) || path.endsWith(".slice")) return true;
  const pids = processesIn(path);
  return pids.includes(1) || pids.includes(sys("getpid"));
}

/** Only the root of a v1 hierarchy has a release_agent; only that of v2 has no cgroup.events, and all of v1 neither. */
export function isRootCgroup(path: string): boolean {
  const has = (name: string) => sys("faccessat2", AT_FDCWD, `${path}/${name}`, 0, 0) === 0;
  return has("release_agent") || (has("cgroup.controllers") && !has("cgroup.events"));
}

/** Where tsrun makes cgroups (see readCgroupFacts); what lies elsewhere is never removed, even when it is empty. */
export function isCgroupPath(path: string): boolean {
  return path.startsWith("/sys/fs/cgroup/") && !path.includes("/../") && !path.endsWith("/..");
}
