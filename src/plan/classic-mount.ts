import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH } from "../abi/fcntl.ts";
import {
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
  MS_DIRSYNC,
  MS_I_VERSION,
  MS_LAZYTIME,
  MS_MANDLOCK,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_NOSYMFOLLOW,
  MS_RDONLY,
  MS_SILENT,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
} from "../abi/mount.ts";
import type { PlanContext } from "./context.ts";
import { type MountEntry, refused } from "./mount-entry.ts";
import { mountContext } from "./mount-label.ts";
import { type MountOptions, wholeAttributes } from "./mount-options.ts";
import { changeAttributes, closeFd } from "./mount-steps.ts";

import { openInRoot } from "./paths.ts";
import { addAll, type Slot, slot } from "./step.ts";

/** mount(2) takes one page of options. */
const DATA_LIMIT = 4095;

/**
 * A file system that fsconfig(2) cannot configure, made by mount(2) on ".", which is the directory that `target` was
 * resolved to: no path is walked again. Closes `target`.
 */
export function planClassicMount(context: PlanContext, entry: MountEntry, target: Slot): void {
  const { build, slots } = context;
  const { options, origin, mount } = entry;
  const label = mountContext(context, entry);
  const data = [...options.data, ...(label === undefined ? [] : [`context="${label}"`])].join(",");
  if (Buffer.byteLength(data) > DATA_LIMIT) throw refused(entry, `its options are longer than ${DATA_LIMIT} bytes`);
  const back = slot(slots, "working directory");
  const flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  addAll(build, [
    { call: "openat", args: [AT_FDCWD, ".", flags, 0], into: back, ...origin },
    { call: "fchdir", args: [target], ...origin },
    { call: "mount", args: [mount.source ?? "none", ".", mount.type ?? "", mountFlags(options), data], ...origin },
    { call: "fchdir", args: [back], ...origin },
  ]);
  closeFd(build, back);
  closeFd(build, target);
  if (options.propagation.length === 0) return;
  const mounted = slot(slots, `mounted ${entry.destination}`);
  openInRoot(build, mounted, context.rootfs, entry.destination, origin);
  for (const { type, recursive } of options.propagation) {
    changeAttributes(build, mounted, { propagation: type, recursive }, origin);
  }
  closeFd(build, mounted);
}

/** MOUNT_ATTR_… and names of superblock flags as MS_…. */
function mountFlags(options: MountOptions): number {
  const attributes = wholeAttributes(options);
  let flags = 0;
  for (const [attribute, flag] of ATTRIBUTES) if ((attributes & attribute) !== 0) flags |= flag;
  for (const name of [...options.superblock, ...options.classic]) flags = withSuperblockFlag(flags, name);
  return flags;
}

const ATTRIBUTES = [
  [MOUNT_ATTR_RDONLY, MS_RDONLY],
  [MOUNT_ATTR_NOSUID, MS_NOSUID],
  [MOUNT_ATTR_NODEV, MS_NODEV],
  [MOUNT_ATTR_NOEXEC, MS_NOEXEC],
  [MOUNT_ATTR_NOATIME, MS_NOATIME],
  [MOUNT_ATTR_STRICTATIME, MS_STRICTATIME],
  [MOUNT_ATTR_NODIRATIME, MS_NODIRATIME],
  [MOUNT_ATTR_NOSYMFOLLOW, MS_NOSYMFOLLOW],
] as const;

function withSuperblockFlag(flags: number, name: string): number {
  switch (name) {
    case "sync":
      return flags | MS_SYNCHRONOUS;
    case "async":
      return flags & ~MS_SYNCHRONOUS;
    case "dirsync":
      return flags | MS_DIRSYNC;
    case "mand":
      return flags | MS_MANDLOCK;
    case "nomand":
      return flags & ~MS_MANDLOCK;
    case "lazytime":
      return flags | MS_LAZYTIME;
    case "nolazytime":
      return flags & ~MS_LAZYTIME;
    case "iversion":
      return flags | MS_I_VERSION;
    default:
      return flags | MS_SILENT;
  }
}
