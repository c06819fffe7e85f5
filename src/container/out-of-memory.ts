import { SIGKILL } from "../abi/signal.ts";
import { hasReachedLimit, readOomKills, watchKernelLog } from "../cgroup/oom.ts";
import { TsrunError } from "../errors.ts";
import type { Config } from "../spec/types.ts";

/** Why the kernel has killed in a container since somebody began to count; undefined when it has not. */
export type KillReason = () => string | undefined;

/**
 * Counts from now on, or from `before`; undefined for a container without a memory limit of its own, which then costs
 * nothing. The kernel counts before it kills, so that whoever sees a process dead finds it counted; or, where the cgroup is
 * systemd's, finds neither cgroup nor count any more: there the kernel's log tells.
 */
export function countKills(
  config: Config,
  cgroupPaths: Readonly<Record<string, string>>,
  { before, manager }: { readonly before?: number; readonly manager?: string | undefined } = {},
): KillReason | undefined {
  const limit = memoryLimit(config);
  if (limit === undefined) return undefined;
  const least = before ?? readOomKills(cgroupPaths) ?? 0;
  const isLogged = manager === "systemd" ? watchKernelLog(cgroupPaths) : undefined;
  return () => {
    const kills = readOomKills(cgroupPaths);
    if (kills === undefined ? isLogged?.() !== true : kills <= least) return undefined;
    return `OOM-killed: ${reached(limit)}`;
  };
}

/**
 * Why a process of a container is gone that has only just got its cgroups. The kernel may also refuse it memory without
 * killing for it, and some of what a process begins with cannot be refused and survived.
 */
export function limitReason(config: Config, cgroupPaths: Readonly<Record<string, string>>): string | undefined {
  const limit = memoryLimit(config);
  if (limit === undefined) return undefined;
  if ((readOomKills(cgroupPaths) ?? 0) > 0) return `OOM-killed: ${reached(limit)}`;
  return hasReachedLimit(cgroupPaths) ? reached(limit) : undefined;
}

/** What to say of a process of the container that has ended with this status, as a shell has it. */
export function killedFor(reason: KillReason | undefined, shellStatus: number): string | undefined {
  return shellStatus === 128 + SIGKILL ? reason?.() : undefined;
}

/** The error itself, unless all that it can say is that the process is gone, and the reason is known. */
export function withReason(error: unknown, action: string, reason: KillReason | undefined): unknown {
  if (!(error instanceof TsrunError) || reason === undefined) return error;
  if (error.details.code !== "EAGENTGONE" && error.details.code !== "ESRCH") return error;
  const cause = reason();
  if (cause === undefined) return error;
  return new TsrunError(`cannot ${action}: ${cause}`, {
    code: "EOOM",
    pointer: "/linux/resources/memory/limit",
    hint: "raise the limit: what the kernel takes for the container's namespaces and mounts counts too",
  });
}

interface Limit {
  readonly bytes: bigint;
  readonly property: string;
}

function reached({ bytes, property }: Limit): string {
  return `memory limit ${sizeText(bytes)} reached, ${property}`;
}

function memoryLimit(config: Config): Limit | undefined {
  const { memory, unified } = config.linux?.resources ?? {};
  const max = unified?.["memory.max"];
  if (max !== undefined) {
    return /^\d+$/.test(max) ? { bytes: BigInt(max), property: 'linux.resources.unified["memory.max"]' } : undefined;
  }
  if (memory?.limit === undefined || memory.limit <= 0) return undefined;
  return { bytes: BigInt(memory.limit), property: "linux.resources.memory.limit" };
}

/** In the largest unit that makes it a whole number. */
export function sizeText(bytes: bigint): string {
  const units = ["GiB", "MiB", "KiB"];
  for (const [i, unit] of units.entries()) {
    const size = 1n << BigInt(30 - 10 * i);
    if (bytes >= size && bytes % size === 0n) return `${bytes / size} ${unit}`;
  }
  return `${bytes} bytes`;
}
