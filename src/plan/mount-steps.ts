import type { ErrnoName } from "../abi/errno.ts";
import { AT_EMPTY_PATH, type AT_FDCWD, AT_RECURSIVE } from "../abi/fcntl.ts";
import {
  FSCONFIG_CMD_CREATE,
  FSCONFIG_CMD_RECONFIGURE,
  FSCONFIG_SET_FLAG,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MOUNT_ATTR_SIZE_VER0,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
} from "../abi/mount.ts";
import { propertyOf } from "../errors.ts";
import { add, addAll, type Label, type Program, type Slot, type SlotTable, type Step, slot, struct } from "./step.ts";

/** For whom steps are made: the words of their errors. */
export interface Origin {
  /** Follows "cannot": `mount "proc" on "/proc"`. */
  readonly what: string;
  /** JSON pointer of the property. */
  readonly pointer: string;
}

/** What a step may have besides its call. */
export type Extras = Pick<Step, "tolerate" | "onTolerated" | "onZero" | "onPositive" | "says" | "hint" | "fsContext">;

/** Where to go with a descriptor; 0 is one when the caller closed its standard input. */
export function onSuccess(target: Label): Extras {
  return { onZero: target, onPositive: target };
}

/**
 * Nothing where the program leaves it to the end: a third of all steps would be of this kind. A program that jumps from
 * here, or tells by the result whether there was a descriptor, needs the step.
 */
export function closeFd(program: Program, fd: Slot, extras?: Extras): void {
  if (program.closesLater && extras === undefined) return;
  add(program, { call: "close", args: [fd], what: `close ${fd.name}`, ...extras });
}

export interface TreeSource {
  /** AT_FDCWD and a path, or a descriptor and "" for what it refers to. */
  readonly from: Slot | typeof AT_FDCWD;
  readonly path: string;
  readonly recursive: boolean;
  /** AT_SYMLINK_NOFOLLOW or 0. */
  readonly flags?: number;
  /** Kept open over execve(2): for descriptors that the agent inherits from tsrun. */
  readonly inherited?: boolean;
}

/** A detached copy of a mount, or of a part of one (open_tree(2)), as an O_PATH descriptor. */
export function cloneTree(program: Program, into: Slot, source: TreeSource, origin: Origin, extras: Extras = {}): void {
  const flags =
    OPEN_TREE_CLONE |
    (source.inherited === true ? 0 : OPEN_TREE_CLOEXEC) |
    (source.path === "" ? AT_EMPTY_PATH : 0) |
    (source.recursive ? AT_RECURSIVE : 0) |
    (source.flags ?? 0);
  add(program, { call: "open_tree", args: [source.from, source.path, flags], into, ...origin, ...extras });
}

/** Attaches the detached mount `from` on the file or directory `to`. */
export function attachMount(program: Program, from: Slot, to: Slot, origin: Origin, extras: Extras = {}): void {
  const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  add(program, { call: "move_mount", args: [from, "", to, "", flags], ...origin, ...extras });
}

/** What mount_setattr(2) changes: MOUNT_ATTR_… to set and to clear, one of MS_SHARED, MS_SLAVE, …; 0 leaves as it is. */
export interface AttributeChange {
  readonly set?: number;
  readonly clear?: number;
  readonly propagation?: number;
  readonly userNamespace?: Slot;
  readonly recursive?: boolean;
}

export function changeAttributes(
  program: Program,
  mount: Slot,
  change: AttributeChange,
  origin: Origin,
  extras: Extras = {},
): void {
  const attributes = struct(
    "mount_attr",
    change.set ?? 0,
    change.clear ?? 0,
    change.propagation ?? 0,
    change.userNamespace ?? 0,
  );
  const flags = AT_EMPTY_PATH | (change.recursive === true ? AT_RECURSIVE : 0);
  const args = [mount, "", flags, attributes, MOUNT_ATTR_SIZE_VER0];
  add(program, { call: "mount_setattr", args, ...origin, ...extras });
}

/** A file system to make with fsopen(2). */
export interface FileSystem {
  readonly type: string;
  readonly source: string;
  /** `key`, or `key=value`. */
  readonly data: readonly string[];
  /** MOUNT_ATTR_… of the mount. */
  readonly attributes: number;
  /** linux.mountLabel, where this file system is to have it. */
  readonly label?: string | undefined;
}

/** fsconfig(2) refuses longer keys and values. */
export const FSCONFIG_LIMIT = 255;

/** Makes a file system; the result is a detached mount. The kernel's explanation is read when it refuses an option. */
export function makeFileSystem(program: Program, table: SlotTable, system: FileSystem, origin: Origin): Slot {
  const context = slot(table, `context of ${system.type}`);
  const mount = slot(table, `mount of ${system.type}`);
  const property = origin.pointer === "" ? "" : ` (${propertyOf(origin.pointer)})`;
  const unknown = {
    says: {
      ENODEV: `cannot ${origin.what}: no such device: the kernel has no file system ${JSON.stringify(system.type)}${property}`,
    },
    hint: "/proc/filesystems lists the file systems that this kernel has",
  };
  add(program, { call: "fsopen", args: [system.type, FSOPEN_CLOEXEC], into: context, ...unknown, ...origin });
  const source = system.source === "" ? [] : [`source=${system.source}`];
  configure(program, context, [...source, ...system.data], origin);
  if (system.label !== undefined) labelSystem(program, context, system.label, origin);
  const told = { fsContext: context, ...origin };
  addAll(program, [
    { call: "fsconfig", args: [context, FSCONFIG_CMD_CREATE, 0, 0, 0], ...told },
    { call: "fsmount", args: [context, FSMOUNT_CLOEXEC, system.attributes], into: mount, ...told },
  ]);
  closeFd(program, context);
  return mount;
}

/** SELinux takes its option as one string, whatever is in it. */
function labelSystem(program: Program, context: Slot, mountLabel: string, origin: Origin): void {
  const args = [context, FSCONFIG_SET_STRING, "context", mountLabel, 0];
  add(program, { call: "fsconfig", args, fsContext: context, ...labelled(origin, mountLabel) });
}

/** What a file system cannot be labelled with, the policy does not know. */
export function labelled(origin: Origin, mountLabel: string): Origin & Pick<Step, "hint"> {
  return {
    what: `${origin.what} with the SELinux label ${JSON.stringify(mountLabel)}`,
    pointer: "/linux/mountLabel",
    hint: "the policy has to know the label: user:role:type:range, such as system_u:object_r:container_file_t:s0:c1,c2",
  };
}

/** One fsconfig(2) an option. */
export function configure(program: Program, context: Slot, data: readonly string[], origin: Origin): void {
  for (const option of data) {
    const at = option.indexOf("=");
    const [command, key, value] =
      at < 0 ? [FSCONFIG_SET_FLAG, option, 0] : [FSCONFIG_SET_STRING, option.slice(0, at), option.slice(at + 1)];
    add(program, { call: "fsconfig", args: [context, command, key, value, 0], fsContext: context, ...origin });
  }
}

export function reconfigure(program: Program, context: Slot, origin: Origin): void {
  const args = [context, FSCONFIG_CMD_RECONFIGURE, 0, 0, 0];
  add(program, { call: "fsconfig", args, fsContext: context, ...origin });
}

/** Goes to `target` whatever happened before. The call does nothing: the highest descriptor there is is never open. */
export function jump(program: Program, target: Label): void {
  const everything: ErrnoName[] = ["EINVAL"];
  const args = [0xffffffff, 0xffffffff, 0];
  add(program, { call: "close_range", args, what: "go on", tolerate: everything, onZero: target, onTolerated: target });
}

/** Goes to `negative` when `value` is a negative errno, on when it is 0: its bits are no flags of close_range(2). */
export function branchOnError(program: Program, value: Slot, negative: Label): void {
  const args = [0xffffffff, 0xffffffff, value];
  add(program, { call: "close_range", args, what: "go on", tolerate: ["EINVAL"], onTolerated: negative });
}
