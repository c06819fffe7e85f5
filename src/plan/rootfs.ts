import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_PATH } from "../abi/fcntl.ts";
import { MNT_DETACH, MOUNT_ATTR_RDONLY, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE } from "../abi/mount.ts";
import { TsrunError } from "../errors.ts";
import { hasMountNamespace, hasUserNamespace, type PlanContext } from "./context.ts";
import { isIdmapped, propagationType } from "./mount-options.ts";
import { attachMount, changeAttributes, cloneTree, closeFd, type Origin } from "./mount-steps.ts";
import { planOverlayRoot } from "./overlay-root.ts";
import { add, addAll, CAUSE, label, type Program, place, type Slot, slot } from "./step.ts";

/**
 * Who opens what lies outside the container.
 *
 * The init's mount namespace is a copy of the host's, so in most containers it opens rootfs and sources itself, by their
 * host paths, before pivot_root(2): nothing has to be inherited, and the copies take part in the host's mount events
 * exactly as far as the init's tree does. tsrun opens them in `prepare`, and the agent inherits the descriptors, when
 * - the init has a user namespace of its own: as a mapped user it may not be allowed to walk to them, and what it copies
 *   itself carries locked flags;
 * - the root is to be shared: the copies must stay peers of the host's mounts, while the init's own tree must not be one;
 * - a mount is idmapped: tsrun does that in `attach`, while the copy is still detached.
 * Without CAP_SYS_ADMIN over its mount namespace tsrun cannot copy mounts: then the init does it in every case.
 */
export function opensOnHost(context: PlanContext): boolean {
  if (!context.facts.canMount) return false;
  const { mounts } = context.config;
  return hasUserNamespace(context) || basePropagation(context) === MS_SHARED || (mounts ?? []).some(isIdmapped);
}

/**
 * How mounts of the host take part in mount events once they are in the container, as runc has it: slave unless
 * linux.rootfsPropagation says otherwise. Unbindable comes at the very end, otherwise the rootfs could not be bound.
 */
export function basePropagation(context: PlanContext): number {
  const wanted = context.config.linux?.rootfsPropagation;
  const type = wanted === undefined ? MS_SLAVE : propagationType(wanted)?.type;
  if (type === undefined) {
    throw new TsrunError(`rootfsPropagation=${wanted} is not supported (linux.rootfsPropagation)`, {
      code: "EINVALIDCONFIG",
      pointer: "/linux/rootfsPropagation",
    });
  }
  return type === MS_UNBINDABLE ? MS_PRIVATE : type;
}

/** Opens the root file system and makes it a mount of the container's mount namespace; sets `context.rootfs`. */
export function planRootfs(context: PlanContext): void {
  const path = withoutTrailingSlash(context.rootfsPath);
  const origin = { what: `open the root file system "${path}"`, pointer: "/root/path" };
  checkRootfs(context, path, origin);
  if (!hasMountNamespace(context)) {
    openDirectory(context.build, context.rootfs, path, origin);
    return;
  }
  makeTreePrivate(context);
  if (context.trial !== undefined) {
    planOverlayRoot(context, context.trial.root);
    return;
  }
  const target = slot(context.slots, "place of the root file system");
  if (opensOnHost(context)) {
    cloneRoot(context.prepare, context, path, origin, true);
    openTarget(context, target, path, origin);
  } else {
    openDirectory(context.build, target, path, origin);
    cloneRoot(context.build, context, target, origin, false);
  }
  attachMount(context.build, context.rootfs, target, { ...origin, what: `mount the root file system on "${path}"` });
  closeFd(context.build, target);
}

/** With a slash at the end, the last component would be followed although it is a symlink. */
function withoutTrailingSlash(path: string): string {
  let end = path.length;
  while (end > 1 && path[end - 1] === "/") end--;
  return path.slice(0, end);
}

/** Twice, so that a missing directory and a symlink get the words that engines know from runc. */
function checkRootfs(context: PlanContext, path: string, origin: Origin): void {
  const found = slot(context.slots, "rootfs on the host");
  const plain = slot(context.slots, "rootfs on the host, not a symlink");
  const flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  const symlink = "invalid rootfs: not an absolute path, or a symlink (root.path)";
  const missing = `invalid rootfs: stat ${path}: ${CAUSE} (root.path)`;
  addAll(context.prepare, [
    { call: "openat", args: [AT_FDCWD, path, flags, 0], into: found, ...origin, says: { "*": missing } },
    {
      call: "openat",
      args: [AT_FDCWD, path, flags | O_NOFOLLOW, 0],
      into: plain,
      ...origin,
      says: { ENOTDIR: symlink, ELOOP: symlink },
    },
  ]);
  closeFd(context.prepare, found);
  closeFd(context.prepare, plain);
}

function openDirectory(program: Program, into: Slot, path: string, origin: Origin): void {
  const flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  add(program, { call: "openat", args: [AT_FDCWD, path, flags, 0], into, ...origin });
}

/** From here on nothing that happens in the init's copy of the mount tree reaches the host. */
function makeTreePrivate(context: PlanContext): void {
  const type = basePropagation(context) === MS_PRIVATE ? MS_PRIVATE : MS_SLAVE;
  add(context.build, {
    call: "mount",
    args: [0, "/", 0, type | MS_REC, 0],
    what: `make the mounts of the container ${type === MS_PRIVATE ? "private" : "slaves of the host's"}`,
    pointer: context.config.linux?.rootfsPropagation === undefined ? "" : "/linux/rootfsPropagation",
  });
}

/** The root mount itself never has peers: what is mounted on it must not appear on the host. */
function cloneRoot(program: Program, context: PlanContext, from: Slot | string, origin: Origin, onHost: boolean): void {
  const source = typeof from === "string" ? ({ from: AT_FDCWD, path: from } as const) : { from, path: "" };
  cloneTree(program, context.rootfs, { ...source, recursive: true, inherited: onHost }, origin);
  const base = basePropagation(context);
  if (onHost && base !== MS_SHARED) {
    changeAttributes(program, context.rootfs, { propagation: base, recursive: true }, origin);
  } else if (onHost) changeAttributes(program, context.rootfs, { propagation: MS_PRIVATE }, origin);
}

/**
 * Where the copy is attached: hooks expect it at its own path. A mapped user who may not walk there attaches it on "/"
 * instead, which serves pivot_root(2) as well.
 */
function openTarget(context: PlanContext, target: Slot, path: string, origin: Origin): void {
  const done = label();
  const flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  addAll(context.build, [
    {
      call: "openat",
      args: [AT_FDCWD, path, flags, 0],
      into: target,
      tolerate: ["EACCES"],
      onPositive: done,
      onZero: done,
      ...origin,
    },
    { call: "openat", args: [AT_FDCWD, "/", flags, 0], into: target, ...origin },
  ]);
  place(context.build, done);
}

/**
 * Makes the root file system "/" and lets go of the host's, then what only holds of the finished root: read-only, shared,
 * unbindable. In `enter`, after everything that needs paths of the host.
 */
export function planPivot(context: PlanContext): void {
  if (!hasMountNamespace(context)) {
    planChroot(context, context.rootfs);
    return;
  }
  if (context.noPivot) planMoveRoot(context);
  else planPivotRoot(context);
  planRootAttributes(context);
}

function planPivotRoot(context: PlanContext): void {
  const { enter, rootfs } = context;
  const old = slot(context.slots, "the host's root");
  const pivot = {
    what: "make the root file system the container's root",
    pointer: "/root/path",
    hint: 'pivot_root(2) is not possible on an initramfs; if "/" of the host is one, use --no-pivot',
  };
  const leave = { what: "let go of the host's file systems" };
  const flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  addAll(enter, [
    { call: "openat", args: [AT_FDCWD, "/", flags, 0], into: old, ...leave },
    { call: "fchdir", args: [rootfs], ...pivot },
    { call: "pivot_root", args: [".", "."], ...pivot },
    { call: "fchdir", args: [old], ...leave },
    // Slave: the unmounting must not reach the host where the old root was shared with it after all.
    { call: "mount", args: [0, ".", 0, MS_SLAVE | MS_REC, 0], ...leave },
    { call: "umount2", args: [".", MNT_DETACH], ...leave },
    { call: "chdir", args: ["/"], what: 'enter "/"' },
  ]);
  closeFd(enter, old);
}

/** The host's procfs and sysfs are unmounted first: the old root stays below, and they would be complete ones. */
function planMoveRoot(context: PlanContext): void {
  const { enter, rootfs } = context;
  const root = slot(context.slots, "the host's root");
  const move = { what: "move the root file system over the host's root", pointer: "/root/path" };
  const flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  for (const path of ["/proc", "/sys"]) {
    add(enter, {
      call: "umount2",
      args: [path, MNT_DETACH],
      what: `unmount the host's "${path}"`,
      tolerate: ["EINVAL", "ENOENT"],
    });
  }
  add(enter, { call: "openat", args: [AT_FDCWD, "/", flags, 0], into: root, ...move });
  attachMount(enter, rootfs, root, move);
  closeFd(enter, root);
  planChroot(context, rootfs);
}

function planChroot(context: PlanContext, root: Slot): void {
  const origin = { what: "enter the root file system", pointer: "/root/path" };
  addAll(context.enter, [
    { call: "fchdir", args: [root], ...origin },
    { call: "chroot", args: ["."], ...origin },
    { call: "chdir", args: ["/"], ...origin },
  ]);
}

function planRootAttributes(context: PlanContext): void {
  const { enter, rootfs } = context;
  if (context.config.root?.readonly === true) {
    const origin = { what: 'make "/" read-only', pointer: "/root/readonly" };
    changeAttributes(enter, rootfs, { set: MOUNT_ATTR_RDONLY }, origin);
  }
  const wanted = context.config.linux?.rootfsPropagation;
  const propagation = wanted === undefined ? undefined : propagationType(wanted);
  if (propagation === undefined) return;
  if (propagation.type !== MS_SHARED && propagation.type !== MS_UNBINDABLE) return;
  const origin = { what: `make "/" ${wanted}`, pointer: "/linux/rootfsPropagation" };
  changeAttributes(enter, rootfs, { propagation: propagation.type, recursive: propagation.recursive }, origin);
}
