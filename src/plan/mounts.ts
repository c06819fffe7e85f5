import { AT_EMPTY_PATH } from "../abi/fcntl.ts";
import { MOUNT_ATTR_RDONLY } from "../abi/mount.ts";
import { planBind } from "./bind-mount.ts";
import { planCgroupMount } from "./cgroup-mounts.ts";
import { planClassicMount } from "./classic-mount.ts";
import { hasMountNamespace, type PlanContext } from "./context.ts";
import { statBuffer } from "./devices.ts";
import { planOutsideProc, reserveLandings } from "./inside-proc.ts";
import { destinationOf, isKernelMount, type MountEntry, readEntry, refused } from "./mount-entry.ts";
import { mountContext, planLabelQueues } from "./mount-label.ts";
import { type MountOptions, wholeAttributes } from "./mount-options.ts";
import {
  attachMount,
  changeAttributes,
  cloneTree,
  closeFd,
  FSCONFIG_LIMIT,
  makeFileSystem,
  type Origin,
} from "./mount-steps.ts";
import { cleanPath, openDestination, openInRoot } from "./paths.ts";
import { planRemount } from "./remount.ts";
import { add, label, type Program, place, type Slot, slot } from "./step.ts";

/** config.mounts, in order (config.md "Mounts"), in `build`. */
export function planMounts(context: PlanContext): void {
  reserveLandings(context, context.config.mounts?.length ?? 0);
  for (const [index, mount] of (context.config.mounts ?? []).entries()) {
    const entry = readEntry(context, mount, `/mounts/${index}`);
    checkDestination(entry);
    if (entry.destination === "/dev" && !entry.options.remount) context.dev.mount = undefined;
    if (!entry.options.remount) forgetCovered(context.kernelMounts, entry.destination);
    planMount(context, entry);
    if (!hasMountNamespace(context) && !entry.options.remount) {
      context.hostMounts.push(context.rootfsPath + entry.destination);
    }
  }
}

function forgetCovered(mounts: Map<string, Slot>, destination: string): void {
  mounts.delete(destination);
  if (destination === "/dev") mounts.delete("/dev/pts");
}

function planMount(context: PlanContext, entry: MountEntry): void {
  const { options, mount } = entry;
  if (options.remount) planRemount(context, entry);
  else if (options.bind !== "") planBind(context, entry);
  else if (options.idmap !== "" || mount.uidMappings !== undefined || mount.gidMappings !== undefined) {
    throw refused(entry, "only bind mounts can be idmapped");
  } else if (mount.type === "cgroup" || mount.type === "cgroup2") planCgroupMount(context, entry);
  else planNewMount(context, entry);
}

/** What runc allows to be bound over, because lxcfs emulates it per container. */
const EMULATED = [
  "/proc/cpuinfo",
  "/proc/diskstats",
  "/proc/meminfo",
  "/proc/stat",
  "/proc/swaps",
  "/proc/uptime",
  "/proc/loadavg",
  "/proc/slabinfo",
  "/proc/net/dev",
  "/proc/sys/kernel/ns_last_pid",
  "/proc/sys/crypto/fips_enabled",
];

/** A volume in place of procfs would swallow what is written to /proc to confine the container (CVE-2019-16884). */
function checkDestination(entry: MountEntry): void {
  const { destination, mount, options } = entry;
  if (destination === "/") throw refused(entry, "the container's root is root.path");
  if (destination === "/proc") {
    const proc = options.bind === "" ? mount.type === "proc" : cleanPath(mount.source ?? "") === "/proc";
    if (!proc && !options.remount)
      throw refused(entry, `"${destination}" cannot be mounted because it is not of type proc`);
  } else if (destination.startsWith("/proc/") && !EMULATED.includes(destination)) {
    throw refused(entry, `"${destination}" cannot be mounted because it is inside /proc`);
  }
}

/** On a symlink they could be led elsewhere, and what is trusted to be procfs would not be (CVE-2019-19921). */
const PLAIN_TYPES = ["proc", "sysfs"];
/** Their superblock is the kernel's or new: read-only holds for the mount alone, and no other container is affected. */
const VIRTUAL_TYPES = [
  "proc",
  "sysfs",
  "tmpfs",
  "devpts",
  "mqueue",
  "ramfs",
  "devtmpfs",
  "securityfs",
  "debugfs",
  "bpf",
];

function planNewMount(context: PlanContext, entry: MountEntry): void {
  const { options, origin, destination } = entry;
  const { build, slots } = context;
  const type = entry.mount.type ?? "";
  if (options.copyUp && type !== "tmpfs") throw refused(entry, "tmpcopyup is for tmpfs");
  const takesMode = type === "tmpfs" && !options.data.some((option) => option.startsWith("mode="));
  const mode = takesMode ? planReadMode(context, entry) : undefined;
  const plain = PLAIN_TYPES.includes(type);
  const target = openDestination(build, slots, { ...destinationOf(context, entry), kind: "directory", plain }, origin);
  if (!plain) planOutsideProc(context, entry, target);
  // Made read-only only when devices, and mount points in it, have been made: as runc.
  const delayed = isReadOnly(options) && (type === "tmpfs" || destination === "/dev");
  const data = [...options.superblock, ...options.data];
  if (isReadOnly(options) && !VIRTUAL_TYPES.includes(type)) data.unshift("ro");
  if (needsClassicMount(type, options)) {
    planClassicMount(context, entry, target);
    return;
  }
  const attributes = wholeAttributes(options) & ~(delayed ? MOUNT_ATTR_RDONLY : 0);
  const label = mountContext(context, entry);
  const system = { type, source: entry.mount.source ?? type, data, attributes, label };
  const mount = makeFileSystem(build, slots, system, origin);
  if (mode !== undefined) planSetMode(build, mount, mode, origin);
  for (const { type: propagation, recursive } of options.propagation) {
    changeAttributes(build, mount, { propagation, recursive }, origin);
  }
  planLabelQueues(context, entry, mount);
  attachMount(build, mount, target, origin);
  if (options.copyUp) planCopyUp(context, entry, target, mount);
  if (!options.copyUp) closeFd(build, target);
  if (delayed) changeAttributes(context.enter, mount, { set: MOUNT_ATTR_RDONLY }, origin);
  if (destination === "/dev" && type === "tmpfs" && !options.copyUp) context.dev.mount = mount;
  else if (isKernelMount(entry)) context.kernelMounts.set(destination, mount);
  else closeFd(delayed ? context.enter : build, mount);
}

/** A second, detached mount of the tmpfs to copy to: nothing that is mounted in the first is in the way. */
function planCopyUp(context: PlanContext, entry: MountEntry, from: Slot, mount: Slot): void {
  const { destination, origin } = entry;
  const to = slot(context.slots, `copy of ${destination}`);
  cloneTree(context.build, to, { from: mount, path: "", recursive: false }, origin);
  const asked = ["mode", "uid", "gid"].filter((name) => entry.options.data.some((each) => each.startsWith(`${name}=`)));
  context.copies.push({ from, to, destination, pointer: origin.pointer, asked });
}

function isReadOnly(options: MountOptions): boolean {
  return (wholeAttributes(options) & MOUNT_ATTR_RDONLY) !== 0;
}

/**
 * fsconfig(2) takes 255 bytes; overlays with many layers have more. Some flags exist for mount(2) only; to a file system
 * without a disk they mean nothing.
 */
function needsClassicMount(type: string, options: MountOptions): boolean {
  const hasFlags = options.classic.length > 0 && !VIRTUAL_TYPES.includes(type);
  return hasFlags || options.data.some((option) => Buffer.byteLength(option) > FSCONFIG_LIMIT);
}

/** The mode of the directory that a tmpfs will hide, for a tmpfs without mode= (runc): /tmp stays 1777, a 0700 stays 0700. */
function planReadMode(context: PlanContext, entry: MountEntry): { directory: Slot; mode: Slot } {
  const { build, slots } = context;
  const directory = slot(slots, `hidden ${entry.destination}`);
  const absent = ["ENOENT"] as const;
  openInRoot(build, directory, context.rootfs, entry.destination, entry.origin, { tolerate: absent });
  const { buffer, mode } = statBuffer(context, entry.destination);
  add(build, {
    call: "newfstatat",
    args: [directory, "", buffer, AT_EMPTY_PATH],
    tolerate: ["EBADF"],
    ...entry.origin,
  });
  return { directory, mode };
}

/** The kernel takes 16 bits of what lies in the word of st_mode. A directory that was missing had no mode to keep. */
function planSetMode(program: Program, mount: Slot, from: { directory: Slot; mode: Slot }, origin: Origin): void {
  const done = label();
  closeFd(program, from.directory, { tolerate: ["EBADF"], onTolerated: done });
  add(program, { call: "fchmodat", args: [mount, ".", from.mode], ...origin });
  place(program, done);
}
