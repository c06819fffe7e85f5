import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW } from "../abi/fcntl.ts";
import {
  FSPICK_CLOEXEC,
  FSPICK_EMPTY_PATH,
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_RDONLY,
  MS_PRIVATE,
  MS_SHARED,
  MS_UNBINDABLE,
} from "../abi/mount.ts";
import { TsrunError } from "../errors.ts";
import type { Mount } from "../spec/types.ts";
import { planCgroupMount } from "./cgroup-mounts.ts";
import { planClassicMount } from "./classic-mount.ts";
import { hasMountNamespace, hasUserNamespace, type PlanContext } from "./context.ts";
import { statBuffer } from "./devices.ts";
import { planIdmap } from "./idmap.ts";
import { type Attributes, type MountOptions, parseMountOptions } from "./mount-options.ts";
import {
  attachMount,
  branchOnError,
  changeAttributes,
  cloneTree,
  closeFd,
  configure,
  FSCONFIG_LIMIT,
  jump,
  makeFileSystem,
  type Origin,
  reconfigure,
} from "./mount-steps.ts";
import { cleanPath, components, createParents, type Kind, openDestination, openInRoot } from "./paths.ts";
import { basePropagation, opensOnHost } from "./rootfs.ts";
import { add, label, type Program, place, type Slot, slot, space } from "./step.ts";

/** One of config.mounts, understood. */
export interface MountEntry {
  readonly mount: Mount;
  readonly options: MountOptions;
  /** Absolute and without "." and "..". */
  readonly destination: string;
  readonly origin: Origin;
}

/** config.mounts, in order (config.md "Mounts"), in `build`. */
export function planMounts(context: PlanContext): void {
  for (const [index, mount] of (context.config.mounts ?? []).entries()) {
    const entry = readEntry(context, mount, `/mounts/${index}`);
    checkDestination(entry);
    planMount(context, entry);
    if (!hasMountNamespace(context) && !entry.options.remount) {
      context.hostMounts.push(context.rootfsPath + entry.destination);
    }
  }
}

function readEntry(context: PlanContext, mount: Mount, pointer: string): MountEntry {
  const options = parseMountOptions(mount.options ?? []);
  // As runc: with bind among the options the type means nothing; crun also takes the type alone for it.
  if (mount.type === "bind" && options.bind === "") options.bind = "bind";
  if (mount.type === "rbind") options.bind = "rbind";
  const destination = cleanPath(mount.destination);
  if (!mount.destination.startsWith("/")) {
    context.warnings.push(
      `mount destination "${mount.destination}" is not absolute, "${destination}" is meant (${pointer.slice(1).replace("/", "[")}].destination)`,
    );
  }
  const name = mount.source ?? mount.type ?? "";
  return { mount, options, destination, origin: { what: `mount "${name}" on "${destination}"`, pointer } };
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

export function refused(entry: MountEntry, why: string): TsrunError {
  const { what, pointer } = entry.origin;
  const property = `mounts[${pointer.split("/")[2]}]`;
  return new TsrunError(`cannot ${what}: ${why} (${property})`, { code: "EINVALIDCONFIG", pointer });
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

// --- bind mounts ---

function planBind(context: PlanContext, entry: MountEntry): void {
  const { options, mount, origin } = entry;
  const { build, slots } = context;
  const end = label();
  const source = sourcePath(context, entry);
  if (options.copySymlink) planCopySymlink(context, entry, source, end);
  const idmapped = options.idmap !== "" || mount.uidMappings !== undefined || mount.gidMappings !== undefined;
  if (idmapped && !context.facts.canMount) throw refused(entry, "idmapped mounts need CAP_SYS_ADMIN on the host");
  const onHost = idmapped || opensOnHost(context);
  const opener = onHost ? context.prepare : build;
  const tree = slot(slots, `source ${source}`);
  const flags = options.sourceNoFollow || options.copySymlink ? AT_SYMLINK_NOFOLLOW : 0;
  const missing = {
    says: { ENOENT: `cannot ${origin.what}: "${source}": no such file or directory (${property(entry)})` },
  };
  const recursive = options.bind === "rbind";
  cloneTree(opener, tree, { from: AT_FDCWD, path: source, recursive, flags, inherited: onHost }, origin, missing);
  const kind = onHost ? kindOnHost(context, tree, source, origin) : kindInInit(tree, origin);
  planTreeAttributes(context, opener, tree, entry, onHost);
  if (idmapped) planIdmap(context, entry, tree);
  const wanted = { root: context.rootfs, path: entry.destination, kind, noFollow: options.destinationNoFollow };
  const target = openDestination(build, slots, wanted, origin);
  attachMount(build, tree, target, origin, mismatch(entry));
  closeFd(build, target);
  closeFd(build, tree);
  place(build, end);
}

function property(entry: MountEntry): string {
  return `mounts[${entry.origin.pointer.split("/")[2]}]`;
}

/** move_mount(2) says EINVAL where mount(2) said ENOTDIR, which people and engines know. */
function mismatch(entry: MountEntry) {
  return {
    says: { EINVAL: `cannot ${entry.origin.what}: not a directory (${property(entry)})` },
    hint: "a directory can only be mounted on a directory, and a file on a file",
  };
}

function sourcePath(context: PlanContext, entry: MountEntry): string {
  const { source } = entry.mount;
  if (source === undefined || source === "") throw refused(entry, "a bind mount needs a source");
  return source.startsWith("/") ? source : `${context.bundle}/${source}`;
}

/** tsrun may look into directories that a mapped user may not: it finds out whether the source is one. */
function kindOnHost(context: PlanContext, tree: Slot, source: string, origin: Origin): Kind {
  const kind = slot(context.slots, `${source} is a directory`);
  add(context.prepare, {
    call: "faccessat2",
    args: [tree, ".", 0, 0],
    into: kind,
    tolerate: ["ENOTDIR"],
    ...origin,
  });
  return { branch: (program, file) => branchOnError(program, kind, file) };
}

function kindInInit(tree: Slot, origin: Origin): Kind {
  return {
    branch: (program, file) =>
      add(program, {
        call: "faccessat2",
        args: [tree, ".", 0, 0],
        tolerate: ["ENOTDIR"],
        onTolerated: file,
        ...origin,
      }),
  };
}

/**
 * On the detached copy, before anyone can see it: what it takes over from the host, attributes of everything below, its
 * own, then propagation. Attributes that are not named stay as they are on the host: a source that is nosuid there never
 * loses that because the container wants it read-only.
 */
function planTreeAttributes(
  context: PlanContext,
  program: Program,
  tree: Slot,
  entry: MountEntry,
  onHost: boolean,
): void {
  const { options, origin } = entry;
  const base = basePropagation(context);
  const last = options.propagation.at(-1);
  const replaced = last?.recursive === true && (last.type === MS_PRIVATE || last.type === MS_UNBINDABLE);
  if (onHost && base !== MS_SHARED && !replaced) {
    changeAttributes(program, tree, { propagation: base, recursive: true }, origin);
  }
  const locked = !onHost && (hasUserNamespace(context) || context.facts.inUserNamespace);
  planAttributes(program, tree, options.recursive, true, locked, origin);
  planAttributes(program, tree, options.attributes, false, locked, origin);
  for (const { type, recursive } of options.propagation) {
    changeAttributes(program, tree, { propagation: type, recursive }, origin);
  }
}

/**
 * In a user namespace the attributes that the host gave a mount are locked (mount_namespaces(7)) and clearing one is
 * EPERM. They then stay, as with runc, and the others are changed one by one.
 */
function planAttributes(
  program: Program,
  tree: Slot,
  { set, clear }: Attributes,
  recursive: boolean,
  locked: boolean,
  origin: Origin,
): void {
  if (set === 0 && clear === 0) return;
  if (!locked || clear === 0) {
    changeAttributes(program, tree, { set, clear, recursive }, origin);
    return;
  }
  const each = label();
  const done = label();
  changeAttributes(program, tree, { set, clear, recursive }, origin, {
    tolerate: ["EPERM"],
    onTolerated: each,
    onZero: done,
  });
  place(program, each);
  const keep = { tolerate: ["EPERM"] } as const;
  for (const bits of separate(clear)) {
    changeAttributes(program, tree, { set: set & bits, clear: bits, recursive }, origin, keep);
  }
  const rest = set & ~clear;
  if (rest !== 0) changeAttributes(program, tree, { set: rest, recursive }, origin);
  place(program, done);
}

/** The bits one by one; those of the access time are one field. */
function separate(clear: number): number[] {
  const parts: number[] = (clear & MOUNT_ATTR__ATIME) !== 0 ? [MOUNT_ATTR__ATIME] : [];
  for (let bit = 1; bit <= clear; bit *= 2) {
    if ((clear & bit) !== 0 && (bit & MOUNT_ATTR__ATIME) === 0) parts.push(bit);
  }
  return parts;
}

const PATH_MAX = 4096;

/** crun's copy-symlink: a source that is a symlink is made again at the destination; everything else is bound. */
function planCopySymlink(context: PlanContext, entry: MountEntry, source: string, end: ReturnType<typeof label>): void {
  const { build, slots } = context;
  const origin = { ...entry.origin, what: `copy the symlink "${source}" to "${entry.destination}"` };
  if (opensOnHost(context)) throw refused(entry, "copy-symlink is not supported in a user namespace");
  const names = components(entry.destination);
  const ordinary = label();
  // One byte less is read than there is room for, so that the text always ends in NUL.
  const target = space(PATH_MAX);
  add(build, {
    call: "readlinkat",
    args: [AT_FDCWD, source, target, PATH_MAX - 1],
    tolerate: ["EINVAL"],
    onTolerated: ordinary,
    ...origin,
  });
  const parent = createParents(build, slots, context.rootfs, names, origin);
  add(build, {
    call: "symlinkat",
    args: [target, parent, names.at(-1) ?? "."],
    tolerate: ["EEXIST"],
    ...origin,
  });
  if (parent !== context.rootfs) closeFd(build, parent);
  jump(build, end);
  place(build, ordinary);
}

// --- new file systems ---

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
  const target = openDestination(
    build,
    slots,
    { root: context.rootfs, path: destination, kind: "directory", plain },
    origin,
  );
  // Made read-only only when devices, and mount points in it, have been made: as runc.
  const delayed = isReadOnly(options) && (type === "tmpfs" || destination === "/dev");
  const data = [...options.superblock, ...options.data];
  if (isReadOnly(options) && !VIRTUAL_TYPES.includes(type)) data.unshift("ro");
  if (needsClassicMount(options)) {
    planClassicMount(context, entry, target, (why) => refused(entry, why));
    return;
  }
  const attributes = (options.attributes.set | options.recursive.set) & ~(delayed ? MOUNT_ATTR_RDONLY : 0);
  const mount = makeFileSystem(build, slots, { type, source: entry.mount.source ?? type, data, attributes }, origin);
  if (mode !== undefined) planSetMode(build, mount, mode, origin);
  for (const { type: propagation, recursive } of options.propagation) {
    changeAttributes(build, mount, { propagation, recursive }, origin);
  }
  attachMount(build, mount, target, origin);
  if (options.copyUp) context.copies.push({ from: target, to: mount, destination, pointer: origin.pointer });
  else closeFd(build, target);
  if (delayed) changeAttributes(context.enter, mount, { set: MOUNT_ATTR_RDONLY }, origin);
  if (!options.copyUp) closeFd(delayed ? context.enter : build, mount);
}

function isReadOnly(options: MountOptions): boolean {
  return ((options.attributes.set | options.recursive.set) & MOUNT_ATTR_RDONLY) !== 0;
}

/** fsconfig(2) takes 255 bytes; overlays with many layers have more. Some flags exist for mount(2) only. */
function needsClassicMount(options: MountOptions): boolean {
  return options.classic.length > 0 || options.data.some((option) => Buffer.byteLength(option) > FSCONFIG_LIMIT);
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

// --- remount ---

/** Changes what is mounted there already: its attributes, and without "bind" the file system's options as well. */
function planRemount(context: PlanContext, entry: MountEntry): void {
  const { options, origin } = entry;
  const { build, slots } = context;
  const target = slot(slots, `remount ${entry.destination}`);
  openInRoot(build, target, context.rootfs, entry.destination, origin);
  const data = [...options.superblock, ...options.data];
  if (options.bind === "" && data.length > 0) {
    const system = slot(slots, `context of ${entry.destination}`);
    add(build, { call: "fspick", args: [target, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH], into: system, ...origin });
    configure(build, system, data, origin);
    reconfigure(build, system, origin);
    closeFd(build, system);
  }
  const locked = hasUserNamespace(context) || context.facts.inUserNamespace;
  planAttributes(build, target, options.recursive, true, locked, origin);
  planAttributes(build, target, options.attributes, false, locked, origin);
  for (const { type, recursive } of options.propagation) {
    changeAttributes(build, target, { propagation: type, recursive }, origin);
  }
  closeFd(build, target);
}
