import { capabilityBit } from "../abi/capability.ts";
import { AT_FDCWD } from "../abi/fcntl.ts";
import { readText } from "../kernel/files.ts";
import type { PlanContext } from "../plan/context.ts";
import { add } from "../plan/step.ts";
import type { Config, IdMapping } from "../spec/types.ts";

/** What the kernel says may be given away with a cgroup (cgroups(7)). */
const DELEGATE = "/sys/kernel/cgroup/delegate";
/** config-linux.md "Cgroup ownership": when there is no such file. */
const ALWAYS = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];

/**
 * Gives the container's cgroup to the user that the process runs as (config-linux.md "Cgroup ownership"), so that what is
 * inside can make cgroups of its own: on unified v2 only, where that is safe, and only when the container gets a cgroup
 * namespace and can write to its cgroup at all. Run by tsrun in `attach`; the limits stay tsrun's.
 */
export function planOwnership(plan: PlanContext): void {
  const { facts, config, cgroupPaths } = plan;
  if (facts.cgroup.mode !== "unified" || !mayManageCgroups(config)) return;
  const [path] = cgroupPaths.values();
  const owner = path === undefined ? undefined : ownerOf(config, () => readUidMap(plan.initPid.value));
  if (path === undefined || owner === undefined) return;
  if (owner !== facts.euid && (facts.effectiveCapabilities & capabilityBit("CAP_CHOWN")) === 0n) {
    plan.warnings.push(`cannot give the cgroup to user ${owner}, as the container's writable /sys/fs/cgroup wants it`);
    return;
  }
  planChown(plan, path, owner);
  for (const file of delegatedFiles(readText(DELEGATE))) planChown(plan, `${path}/${file}`, owner, true);
}

/** A new cgroup namespace, and a mount of the cgroup on /sys/fs/cgroup that is not read-only. */
export function mayManageCgroups({ linux, mounts }: Config): boolean {
  const namespace = linux?.namespaces?.find(({ type }) => type === "cgroup");
  if (namespace === undefined || (namespace.path ?? "") !== "") return false;
  return (mounts ?? []).some(
    ({ source, destination, options }) =>
      source === "cgroup" && /^\/sys\/fs\/cgroup\/*$/.test(destination) && !(options ?? []).includes("ro"),
  );
}

/** The host's uid of the process's user; undefined when it has none. `readMap` is for a user namespace that exists. */
export function ownerOf({ process, linux }: Config, readMap: () => readonly IdMapping[]): number | undefined {
  const uid = process?.user?.uid ?? 0;
  const user = linux?.namespaces?.find(({ type }) => type === "user");
  if (user === undefined) return uid;
  const map = (user.path ?? "") === "" ? (linux?.uidMappings ?? []) : readMap();
  const range = map.find(({ containerID, size }) => uid >= containerID && uid < containerID + size);
  return range === undefined ? undefined : range.hostID + uid - range.containerID;
}

/** /proc/<pid>/uid_map (user_namespaces(7)), as tsrun's own user namespace counts. */
function readUidMap(pid: number | undefined): IdMapping[] {
  const text = pid === undefined ? -1 : readText(`/proc/${pid}/uid_map`);
  return typeof text === "number" ? [] : parseUidMap(text);
}

export function parseUidMap(text: string): IdMapping[] {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines.map((line) => {
    const [containerID = 0, hostID = 0, size = 0] = line.trim().split(/ +/).map(Number);
    return { containerID, hostID, size };
  });
}

/** Names of files in a cgroup. `text`: of /sys/kernel/cgroup/delegate, or the negative errno. */
export function delegatedFiles(text: string | number): string[] {
  const names = typeof text === "number" ? ALWAYS : text.split("\n");
  return names.filter((name) => /^[a-z0-9_.]+$/.test(name));
}

function planChown({ attach }: PlanContext, path: string, owner: number, mayBeMissing = false): void {
  const UNCHANGED = 0xffffffff;
  add(attach, {
    call: "fchownat",
    args: [AT_FDCWD, path, owner, UNCHANGED, 0],
    what: `give "${path}" to user ${owner}`,
    pointer: "/process/user/uid",
    // A controller that the cgroup does not have brings no files.
    ...(mayBeMissing ? { tolerate: ["ENOENT"] as const } : {}),
  });
}
