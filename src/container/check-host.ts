import { capabilityBit } from "../abi/capability.ts";
import { AT_FDCWD } from "../abi/fcntl.ts";
import { TsrunError } from "../errors.ts";
import type { HostFacts } from "../host/facts.ts";
import { readText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { losesSetgroups } from "../plan/id-maps.ts";
import { type Labels, labelsOf } from "../plan/labels.ts";
import { SETGROUPS_DENIED, SETGROUPS_HINT } from "../plan/process.ts";
import type { Config } from "../spec/types.ts";

/** What of a config.json cannot be judged without looking at this machine. Throws before anything is made. */
export function checkAgainstHost(config: Config): void {
  checkNetworkSysctls(config);
  checkLabels(labelsOf(config.process, "/process"));
  checkMountLabel(config);
}

/** For who may not mount: what the kernel would refuse later, in words that tell less. */
export function checkWithoutRoot(config: Config, facts: HostFacts): void {
  if ((facts.effectiveCapabilities & capabilityBit("CAP_SYS_ADMIN")) !== 0n) return;
  const namespaces = config.linux?.namespaces ?? [];
  if (!namespaces.some(({ type }) => type === "user")) {
    throw new TsrunError("a container without root needs a user namespace (linux.namespaces)", {
      code: "EPERM",
      pointer: "/linux/namespaces",
      hint: "tsrun spec --rootless writes a config that has one",
    });
  }
  const { gid = 0, additionalGids = [] } = config.process?.user ?? {};
  if (!losesSetgroups(config, facts) || additionalGids.every((group) => group === gid)) return;
  const groups = `cannot set the additional groups [${additionalGids.join(" ")}]`;
  throw new TsrunError(`${groups}: ${SETGROUPS_DENIED} (process.user.additionalGids)`, {
    code: "EPERM",
    pointer: "/process/user/additionalGids",
    hint: SETGROUPS_HINT,
  });
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

/**
 * Engines give labels only where they find the kernel's module; a label that nobody enforces must not go unnoticed.
 * "unconfined" is a label too (as with runc).
 */
export function checkLabels(labels: Labels | undefined): void {
  if (labels?.apparmor !== undefined && !hasApparmor()) {
    const { value, pointer, from } = labels.apparmor;
    throw new TsrunError(
      `cannot apply the AppArmor profile ${JSON.stringify(value)}: AppArmor is not enabled on this machine (${from})`,
      { code: "ENOTSUP", pointer, hint: `do without ${from}, or boot a kernel that has AppArmor with apparmor=1` },
    );
  }
  if (labels?.selinux !== undefined)
    checkSelinux("set", labels.selinux.value, labels.selinux.pointer, labels.selinux.from);
}

function checkMountLabel({ linux }: Config): void {
  const label = linux?.mountLabel ?? "";
  if (label !== "") checkSelinux("mount file systems with", label, "/linux/mountLabel", "linux.mountLabel");
}

function checkSelinux(action: string, label: string, pointer: string, from: string): void {
  if (hasSelinux()) return;
  throw new TsrunError(
    `cannot ${action} the SELinux label ${JSON.stringify(label)}: SELinux is not enabled on this machine (${from})`,
    { code: "ENOTSUP", pointer, hint: `do without ${from}, or boot a kernel that has SELinux with selinux=1` },
  );
}

/** Without a sysfs to look at, what the kernel says to the label itself has to do. */
function hasApparmor(): boolean {
  const enabled = readText("/sys/module/apparmor/parameters/enabled");
  if (typeof enabled === "string") return enabled.startsWith("Y");
  return typeof readText("/sys/module/kernel/parameters/panic") === "number";
}

/** The kernel has the file system only when SELinux was not switched off at boot. */
function hasSelinux(): boolean {
  const systems = readText("/proc/filesystems");
  return typeof systems === "number" || systems.includes("\tselinuxfs\n");
}
