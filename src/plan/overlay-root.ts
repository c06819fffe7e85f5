import { AT_FDCWD, F_DUPFD_CLOEXEC, O_CLOEXEC, O_DIRECTORY, O_PATH } from "../abi/fcntl.ts";
import { MNT_DETACH, MOUNT_ATTR_NODEV, MOUNT_ATTR_RDONLY } from "../abi/mount.ts";
import { S_IFREG } from "../abi/stat.ts";
import type { PlanContext } from "./context.ts";
import { attachMount, changeAttributes, cloneTree, closeFd, makeFileSystem, type Origin } from "./mount-steps.ts";
import { openInRoot } from "./paths.ts";
import { add, addAll, label, place, type Slot, slot } from "./step.ts";

/** A root file system made of the host's own: its files as the lower layers of overlays, and an upper layer. */
export interface OverlayRoot {
  /** Absolute path of an empty directory of the host that takes the changes; without it a tmpfs does. */
  readonly keep: string | undefined;
  /** The container's mounts belong to a user namespace: overlays use user.overlay.* attributes there (Linux 5.11). */
  readonly inUserNamespace: boolean;
  /** The first is "/"; parents before children. */
  readonly parts: readonly RootPart[];
}

/** Mode and owner of the host's directory: the directory in the upper layer is what the container sees of both. */
export interface DirectoryFacts {
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

export type RootPart =
  | (DirectoryFacts & { readonly kind: "overlay" /** MOUNT_ATTR_… */; readonly attributes: number })
  | (DirectoryFacts & { readonly kind: "directory" })
  | { readonly kind: "symlink"; readonly path: string; readonly target: string }
  /** The host's own, read-only with all that is mounted in it. `makes`: what there is to be mounted on. */
  | { readonly kind: "bind"; readonly path: string; readonly makes: "directory" | "file" | "nothing" };

type OverlayPart = RootPart & { readonly kind: "overlay" };

/**
 * Makes and attaches the root in `build`; sets `context.rootfs`. All of it is mounted in the init's mount namespace and
 * goes with it. The changes of every overlay are below one directory, `upper`, by their path: the upper layer of /home is
 * upper/home. Inner overlays are made before outer ones, because the kernel warns of an upper layer in another.
 *
 * Names of layers are relative to the working directory: they are short (fsconfig(2) takes 255 bytes) and mean the same
 * whether the kernel looks them up at once or, before Linux 6.5, when the overlay is made.
 */
export function planOverlayRoot(context: PlanContext, root: OverlayRoot): void {
  enterStorage(context, root);
  for (const part of root.parts) planUpper(context, root, part);
  const overlays = root.parts.filter((part) => part.kind === "overlay");
  const mounts = new Map<RootPart, Slot>();
  for (const [index, part] of overlays.entries().toArray().reverse()) {
    mounts.set(part, planOverlay(context, root, part, index));
  }
  planTop(context, root, mounts.get(root.parts[0]!));
  for (const part of root.parts.slice(1)) {
    const mount = mounts.get(part);
    if (mount !== undefined) attachAt(context, mount, part.path, originOf(part.path));
    else if (part.kind === "bind") planHostBind(context, part.path);
  }
  add(context.build, { call: "chdir", args: ["/"], what: 'enter "/"' });
  if (context.config.root?.readonly === true) planReadOnly(context, overlays);
}

function originOf(path: string): Origin {
  return { what: `lay a throw-away layer over the host's "${path}"`, pointer: "" };
}

/** The directory for upper layers and what overlayfs needs beside them, as the working directory. */
function enterStorage(context: PlanContext, { keep }: OverlayRoot): void {
  const { build, slots } = context;
  const storage = keep === undefined ? makeStorage(context) : slot(slots, "storage");
  const origin = { what: keep === undefined ? "make the throw-away layer" : `keep changes in "${keep}"`, pointer: "" };
  if (keep !== undefined) {
    add(build, {
      call: "openat",
      args: [AT_FDCWD, keep, O_PATH | O_DIRECTORY | O_CLOEXEC, 0],
      into: storage,
      ...origin,
    });
  }
  addAll(build, [
    { call: "fchdir", args: [storage], ...origin },
    { call: "mkdirat", args: [AT_FDCWD, "work", 0o700], ...origin },
  ]);
  closeFd(build, storage);
}

/** Layers must be attached (before Linux 6.15); on "/", where nobody looks: paths begin below what is mounted there. */
function makeStorage(context: PlanContext): Slot {
  const { build, slots } = context;
  const origin = { what: "make the throw-away layer", pointer: "" };
  const system = { type: "tmpfs", source: "tsrun", data: ["mode=755"], attributes: 0 };
  const storage = makeFileSystem(build, slots, system, origin);
  attachOnRoot(context, storage, origin);
  return storage;
}

function attachOnRoot({ build, slots }: PlanContext, mount: Slot, origin: Origin): void {
  const target = slot(slots, "the host's root");
  add(build, {
    call: "openat",
    args: [AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0],
    into: target,
    ...origin,
  });
  attachMount(build, mount, target, origin);
  closeFd(build, target);
}

function upperOf(path: string): string {
  return path === "/" ? "upper" : `upper${path}`;
}

/** What the upper layer begins with: directories to put upper layers in or to mount on. */
function planUpper({ build }: PlanContext, root: OverlayRoot, part: RootPart): void {
  const name = upperOf(part.path);
  const origin = originOf(part.path);
  if (part.kind === "symlink") add(build, { call: "symlinkat", args: [part.target, AT_FDCWD, name], ...origin });
  else if (part.kind !== "bind") {
    add(build, { call: "mkdirat", args: [AT_FDCWD, name, part.mode], ...origin });
    // In a user namespace nobody else can own anything.
    if (!root.inUserNamespace) {
      add(build, { call: "fchownat", args: [AT_FDCWD, name, part.uid, part.gid, 0], ...origin });
    }
    // mkdir(2) leaves the bits above 01777 alone, and chown(2) may clear them.
    add(build, { call: "fchmodat", args: [AT_FDCWD, name, part.mode], ...origin });
  } else if (part.makes === "directory") add(build, { call: "mkdirat", args: [AT_FDCWD, name, 0o755], ...origin });
  else if (part.makes === "file") {
    add(build, { call: "mknodat", args: [AT_FDCWD, name, S_IFREG | 0o644, 0], ...origin });
  }
}

/**
 * Without redirects and the like, which distributions may have as their default, the upper layer holds whole files under
 * their own names. With userxattr they are off, and naming them is an error.
 */
function planOverlay(context: PlanContext, root: OverlayRoot, part: OverlayPart, index: number): Slot {
  const { build, slots } = context;
  const origin = originOf(part.path);
  const work = `work/${index}`;
  add(build, { call: "mkdirat", args: [AT_FDCWD, work, 0o700], ...origin });
  const plain = root.inUserNamespace ? ["userxattr"] : ["redirect_dir=off", "metacopy=off", "index=off"];
  const layers = [`lowerdir=${part.path}`, `upperdir=${upperOf(part.path)}`, `workdir=${work}`];
  const system = { type: "overlay", source: "tsrun", data: [...layers, ...plain], attributes: part.attributes };
  return makeFileSystem(build, slots, system, origin);
}

/** `overlay` is that of "/"; without it, the root is the upper directory itself, with everything mounted in it. */
function planTop(context: PlanContext, { keep }: OverlayRoot, overlay: Slot | undefined): void {
  const { build, rootfs } = context;
  const origin = originOf("/");
  if (overlay === undefined) {
    cloneTree(build, rootfs, { from: AT_FDCWD, path: "upper", recursive: false }, origin);
    changeAttributes(build, rootfs, { set: MOUNT_ATTR_NODEV }, origin);
  } else {
    add(build, { call: "fcntl", args: [overlay, F_DUPFD_CLOEXEC, 0], into: rootfs, ...origin });
    closeFd(build, overlay);
  }
  // The overlays have it by now. Left there, it would be what planPivot unmounts in place of the host's root below it.
  if (keep === undefined) add(build, { call: "umount2", args: [".", MNT_DETACH], ...origin });
  attachOnRoot(context, rootfs, origin);
}

function attachAt(context: PlanContext, mount: Slot, path: string, origin: Origin): void {
  const { build, slots } = context;
  const target = slot(slots, `place of ${path}`);
  openInRoot(build, target, context.rootfs, path, origin);
  attachMount(build, mount, target, origin);
  closeFd(build, target);
  closeFd(build, mount);
}

/** What may be denied although it is mounted: a file system in user space is its user's only (mount.fuse(8)). */
function planHostBind(context: PlanContext, path: string): void {
  const { build, slots } = context;
  const tree = slot(slots, `the host's ${path}`);
  const next = label();
  const origin = { what: `show the host's "${path}" read-only`, pointer: "" };
  const gone = ["EACCES", "EPERM", "ENOENT", "ENOTCONN", "EIO", "EINVAL"] as const;
  const source = { from: AT_FDCWD, path, recursive: true } as const;
  cloneTree(build, tree, source, origin, { tolerate: gone, onTolerated: next });
  changeAttributes(build, tree, { set: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, recursive: true }, origin);
  attachAt(context, tree, path, origin);
  place(build, next);
}

/** In `enter`, when everything is mounted. "/" itself is made read-only with every other root. */
function planReadOnly(context: PlanContext, overlays: readonly RootPart[]): void {
  const { enter, slots, rootfs } = context;
  for (const { path } of overlays) {
    if (path === "/") continue;
    const mount = slot(slots, `read-only ${path}`);
    const origin = { what: `make "${path}" read-only`, pointer: "/root/readonly" };
    openInRoot(enter, mount, rootfs, path, origin);
    changeAttributes(enter, mount, { set: MOUNT_ATTR_RDONLY }, origin);
    closeFd(enter, mount);
  }
}
