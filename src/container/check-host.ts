import { AT_FDCWD } from "../abi/fcntl.ts";
import { TsrunError } from "../errors.ts";
import { sys } from "../kernel/kernel.ts";
import type { Config } from "../spec/types.ts";

/** What of a config.json cannot be judged without looking at this machine. Throws before anything is made. */
export function checkAgainstHost(config: Config): void {
  checkNetworkSysctls(config);
}

/** A network namespace by its path may be the host's own, whose parameters are nobody's to set. */
function checkNetworkSysctls({ linux }: Config): void {
  const path = linux?.namespaces?.find(({ type }) => type === "network")?.path;
  if (path === undefined || path === "") return;
  const name = Object.keys(linux?.sysctl ?? {}).find((key) => key.startsWith("net.") || key.startsWith("net/"));
  if (name === undefined || identity(path) !== identity("/proc/self/ns/net")) return;
  throw new TsrunError(`sysctl ${JSON.stringify(name)} not allowed in host network namespace (linux.sysctl)`, {
    code: "EINVALIDCONFIG",
    pointer: "/linux/sysctl",
    hint: "give the container a network namespace of its own",
  });
}

/** True when the config gives the container tsrun's own cgroup namespace by its path: it has none of its own then. */
export function sharesCgroupNamespace({ linux }: Config): boolean {
  const path = linux?.namespaces?.find(({ type }) => type === "cgroup")?.path;
  return path !== undefined && path !== "" && identity(path) === identity("/proc/self/ns/cgroup");
}

/** Device and inode of a file, by which namespaces are told apart (namespaces(7)). */
function identity(path: string): string {
  const STATX_INO = 0x100;
  const buffer = new Uint8Array(256);
  if (sys("statx", AT_FDCWD, path, 0, STATX_INO, buffer) < 0) return path;
  const view = new DataView(buffer.buffer);
  return [view.getBigUint64(0x20, true), view.getUint32(0x88, true), view.getUint32(0x8c, true)].join(":");
}
