import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW } from "../abi/fcntl.ts";
import { makeDevice, S_IFBLK, S_IFCHR, S_IFIFO, S_IFMT, statLayout } from "../abi/stat.ts";
import { propertyOf, TsrunError } from "../errors.ts";
import type { Device } from "../spec/types.ts";
import { type DeviceCheck, hasUserNamespace, type PlanContext } from "./context.ts";
import { parseMountOptions } from "./mount-options.ts";
import { attachMount, changeAttributes, cloneTree, closeFd, type Origin } from "./mount-steps.ts";
import { cleanPath, components, createParents, openDestination } from "./paths.ts";
import { basePropagation, opensOnHost } from "./rootfs.ts";
import { add, addressOf, type Data, label, numberedSlot, type Program, place, type Slot, slot } from "./step.ts";

/** config-linux.md "Default Devices": what every container finds in /dev, all with mode 0666. */
function defaultDevices(): Device[] {
  const character = (path: string, major: number, minor: number): Device => ({ type: "c", path, major, minor });
  return [
    character("/dev/null", 1, 3),
    character("/dev/zero", 1, 5),
    character("/dev/full", 1, 7),
    character("/dev/random", 1, 8),
    character("/dev/urandom", 1, 9),
    character("/dev/tty", 5, 0),
  ];
}

/** What the symlinks of /dev point to (config-linux.md "Default Devices"; /dev/core as runc has it). */
const SYMLINKS: readonly [string, string][] = [
  ["fd", "/proc/self/fd"],
  ["stdin", "/proc/self/fd/0"],
  ["stdout", "/proc/self/fd/1"],
  ["stderr", "/proc/self/fd/2"],
];

interface Node {
  readonly device: Device;
  readonly path: string;
  readonly pointer: string;
}

/**
 * Devices and symlinks, in `build` after the mounts. Nothing is done when the config binds something of the host's on
 * /dev: those are the host's own nodes. In a user namespace, and where tsrun may not make nodes, the host's are bound.
 */
export function planDevices(context: PlanContext): void {
  if (bindsDev(context)) return;
  for (const node of wantedNodes(context)) planNode(context, node);
  planSymlinks(context);
}

function bindsDev(context: PlanContext): boolean {
  return (context.config.mounts ?? []).some((mount) => {
    const bind = mount.type === "bind" || parseMountOptions(mount.options ?? []).bind !== "";
    return bind && cleanPath(mount.destination) === "/dev";
  });
}

/** A configured device replaces the default one of the same path. /dev/ptmx is always the symlink to pts/ptmx. */
function wantedNodes(context: PlanContext): Node[] {
  const nodes = new Map<string, Node>();
  for (const device of defaultDevices()) nodes.set(device.path, { device, path: device.path, pointer: "" });
  for (const [index, device] of (context.config.linux?.devices ?? []).entries()) {
    const path = cleanPath(device.path);
    if (path !== "/dev/ptmx") nodes.set(path, { device, path, pointer: `/linux/devices/${index}` });
  }
  return [...nodes.values()];
}

function planNode(context: PlanContext, node: Node): void {
  const origin = { what: `make the device "${node.path}"`, pointer: node.pointer };
  const fifo = node.device.type === "p";
  if (!fifo && (!context.facts.canMknod || hasUserNamespace(context))) bindNode(context, node, origin);
  else makeNode(context, node, origin);
}

function typeBits(device: Device): number {
  return device.type === "p" ? S_IFIFO : device.type === "b" ? S_IFBLK : S_IFCHR;
}

function makeNode(context: PlanContext, node: Node, origin: Origin): void {
  const { build, slots } = context;
  const { device } = node;
  const names = components(node.path);
  const name = names.at(-1) ?? ".";
  const made = slot(slots, `made ${node.path}`);
  const exists = label();
  const done = label();
  const parent = openParent(context, names, origin);
  const owner = [device.uid ?? 0, device.gid ?? 0] as const;
  const ownedByRoot = owner[0] === 0 && owner[1] === 0;
  const mode = typeBits(device) | ((device.fileMode ?? 0o666) & 0o7777);
  const number = device.type === "p" ? 0 : makeDevice(device.major ?? 0, device.minor ?? 0);
  add(build, {
    call: "mknodat",
    args: [parent, name, mode, number],
    into: made,
    tolerate: ["EEXIST"],
    onTolerated: exists,
    onZero: ownedByRoot ? done : undefined,
    ...origin,
  });
  if (!ownedByRoot) {
    add(build, {
      call: "fchownat",
      args: [parent, name, ...owner, AT_SYMLINK_NOFOLLOW],
      ...origin,
      what: `give the device "${node.path}" to ${owner.join(":")}`,
      onZero: done,
    });
  }
  place(build, exists);
  expectDevice(context, node, made, { from: parent, name, flags: AT_SYMLINK_NOFOLLOW }, origin);
  place(build, done);
  closeParent(context, parent);
}

function openParent(context: PlanContext, names: readonly string[], origin: Origin): Slot {
  const { dev, build, slots, rootfs } = context;
  if (dev.mount !== undefined && isDirectlyInDev(names)) return dev.mount;
  return createParents(build, slots, rootfs, names, origin);
}

function isDirectlyInDev(names: readonly string[]): boolean {
  return names.length === 2 && names[0] === "dev";
}

function closeParent({ build, dev, rootfs }: PlanContext, parent: Slot): void {
  if (parent !== rootfs && parent !== dev.mount) closeFd(build, parent);
}

/** Has the kernel say what is there already; `checkDevices` compares it with what should be. */
function expectDevice(
  context: PlanContext,
  node: Node,
  found: Slot,
  at: { from: Slot; name: string; flags: number },
  origin: Origin,
): void {
  const { buffer, mode, rdev } = statBuffer(context, node.path);
  add(context.build, { call: "newfstatat", args: [at.from, at.name, buffer, at.flags], ...origin });
  context.checks.push({
    path: node.path,
    pointer: node.pointer,
    found,
    mode,
    rdev,
    type: typeBits(node.device),
    major: node.device.major ?? 0,
    minor: node.device.minor ?? 0,
  });
}

/** Slots that a struct stat fits in, so that its fields can be arguments of later steps and come with the reply. */
export function statBuffer(context: PlanContext, name: string): { buffer: Data; mode: Slot; rdev: Slot } {
  const layout = statLayout(context.facts.arch);
  const first = context.slots.next;
  const word = (index: number): Slot => numberedSlot(`stat of ${name}, word ${index}`, first + index);
  context.slots.next += layout.words;
  const mode = word(layout.mode);
  const rdev = word(layout.rdev);
  return { buffer: addressOf(word(0), [mode, rdev]), mode, rdev };
}

/** Binds the host's node of the same path on an empty file. What it is gets checked too: the host may have moved it. */
function bindNode(context: PlanContext, node: Node, origin: Origin): void {
  const { build, slots } = context;
  const binding = { ...origin, what: `bind the host's "${node.path}"` };
  const onHost = opensOnHost(context);
  const tree = slot(slots, `the host's ${node.path}`);
  const opener = onHost ? context.prepare : build;
  const source = { from: AT_FDCWD, path: node.path, recursive: false, inherited: onHost } as const;
  cloneTree(opener, tree, source, binding);
  if (onHost) changeAttributes(opener, tree, { propagation: basePropagation(context) }, binding);
  expectDevice(context, node, tree, { from: tree, name: "", flags: AT_EMPTY_PATH }, binding);
  const parent = isDirectlyInDev(components(node.path)) ? context.dev.mount : undefined;
  const place = openDestination(build, slots, { root: context.rootfs, path: node.path, kind: "file", parent }, binding);
  attachMount(build, tree, place, binding);
  closeFd(build, place);
  closeFd(build, tree);
}

function planSymlinks(context: PlanContext): void {
  const { build } = context;
  const names = ["dev", "ptmx"];
  const origin = { what: 'make the symlinks in "/dev"', pointer: "" };
  const parent = openParent(context, names, origin);
  for (const [name, target] of SYMLINKS) planSymlink(build, parent, name, target);
  planCore(build, parent);
  // An image's own ptmx would open the host's terminals where /dev is not a new tmpfs.
  add(build, {
    call: "unlinkat",
    args: [parent, "ptmx", 0],
    what: 'replace "/dev/ptmx"',
    tolerate: ["ENOENT"],
  });
  add(build, { call: "symlinkat", args: ["pts/ptmx", parent, "ptmx"], what: 'make the symlink "/dev/ptmx"' });
  closeParent(context, parent);
}

function planSymlink(program: Program, directory: Slot, name: string, target: string): void {
  const what = `make the symlink "/dev/${name}"`;
  add(program, { call: "symlinkat", args: [target, directory, name], what, tolerate: ["EEXIST"] });
}

/** Only where the kernel has /proc/kcore: otherwise the link would lead nowhere. */
function planCore(program: Program, directory: Slot): void {
  const none = label();
  const what = 'look for "/proc/kcore"';
  add(program, {
    call: "faccessat2",
    args: [AT_FDCWD, "/proc/kcore", 0, 0],
    what,
    tolerate: ["ENOENT", "EACCES"],
    onTolerated: none,
  });
  planSymlink(program, directory, "core", "/proc/kcore");
  place(program, none);
}

/**
 * Compares what `build` found with what the config wants; to be called when its slots are known. Throws for the first
 * node that is something else (config-linux.md: "the runtime MUST generate an error").
 */
export function checkDevices(checks: readonly DeviceCheck[]): void {
  for (const check of checks) {
    if (!wasFound(check)) continue;
    const { type, major, minor } = foundDevice(check);
    if (type === check.type && (type === S_IFIFO || (major === check.major && minor === check.minor))) continue;
    throw differentDevice(check, { type, major, minor });
  }
}

interface FoundDevice {
  readonly type: number;
  readonly major: number;
  readonly minor: number;
}

const EEXIST = 17;

/** A descriptor was opened, or mknod(2) said EEXIST; 0 means that the node was made. */
function wasFound(check: DeviceCheck): boolean {
  const value = check.found.value;
  return value !== undefined && (value > 0 || value === -EEXIST);
}

/** The device number as stat(2) gives it: 12 bits of major between 8 low and 12 high bits of minor. */
function foundDevice(check: DeviceCheck): FoundDevice {
  const number = check.rdev.value ?? 0;
  return {
    type: ((check.mode.value ?? 0) >>> 0) & S_IFMT,
    major: (number >>> 8) & 0xfff,
    minor: (number & 0xff) | ((number >>> 12) & 0xfff00),
  };
}

function differentDevice(check: DeviceCheck, found: FoundDevice): TsrunError {
  const where = check.pointer === "" ? "" : ` (${propertyOf(check.pointer)})`;
  const there = describe(found);
  const wanted = describe(check);
  return new TsrunError(`cannot make the device "${check.path}": there is ${there} already, not ${wanted}${where}`, {
    code: "EEXIST",
    pointer: check.pointer,
  });
}

function describe({ type, major, minor }: FoundDevice): string {
  if (type === S_IFIFO) return "a FIFO";
  if (type === S_IFCHR) return `the character device ${major}:${minor}`;
  if (type === S_IFBLK) return `the block device ${major}:${minor}`;
  return "something that is no device";
}
