import { AT_EMPTY_PATH, AT_FDCWD, O_CLOEXEC, O_PATH } from "../abi/fcntl.ts";
import { MOUNT_ATTR_RDONLY } from "../abi/mount.ts";
import { S_IFCHR } from "../abi/stat.ts";
import { TsrunError } from "../errors.ts";
import { hasMountNamespace, type PlanContext } from "./context.ts";
import { statBuffer } from "./devices.ts";
import { attachMount, changeAttributes, cloneTree, closeFd, makeFileSystem, type Origin } from "./mount-steps.ts";
import { cleanPath, openInRoot } from "./paths.ts";
import { add, label, place, type Slot, slot } from "./step.ts";

/** A path that does not exist needs no hiding. */
const ABSENT = ["ENOENT", "ENOTDIR"] as const;

/**
 * linux.maskedPaths, in `enter`: over a file the host's /dev/null, over a directory an empty read-only tmpfs. The null
 * device is the host's, opened in `build` while its path still means the host's, and checked to be one: the container's
 * own may have been swapped for something else (CVE-2025-31133).
 */
export function planMaskedPaths(context: PlanContext): void {
  const paths = distinct(context.config.linux?.maskedPaths ?? []);
  if (paths.length === 0) return;
  if (!hasMountNamespace(context)) throw needsMountNamespace("/linux/maskedPaths");
  const nothing = openNull(context);
  const empty = makeEmptyDirectory(context);
  for (const [path, pointer] of paths) planMaskedPath(context, path, `/linux/maskedPaths/${pointer}`, nothing, empty);
  closeFd(context.enter, nothing);
  closeFd(context.enter, empty);
}

/** Clean path to its index; what is named twice is done once. */
function distinct(paths: readonly string[]): [string, number][] {
  const first = new Map<string, number>();
  for (const [index, path] of paths.entries()) {
    const clean = cleanPath(path);
    if (path !== "" && !first.has(clean)) first.set(clean, index);
  }
  return [...first];
}

function needsMountNamespace(pointer: string): TsrunError {
  const property = pointer.slice(1).replace("/", ".");
  return new TsrunError(`unable to restrict sys entries without a private MNT namespace (${property})`, {
    code: "EINVALIDCONFIG",
    pointer,
    hint: "add a mount namespace to linux.namespaces",
  });
}

function openNull(context: PlanContext): Slot {
  const { build, slots } = context;
  const found = slot(slots, "the host's /dev/null");
  const origin = { what: 'open the host\'s "/dev/null"', pointer: "/linux/maskedPaths" };
  const { buffer, mode, rdev } = statBuffer(context, "/dev/null");
  add(
    build,
    { call: "openat", args: [AT_FDCWD, "/dev/null", O_PATH | O_CLOEXEC, 0], into: found, ...origin },
    { call: "newfstatat", args: [found, "", buffer, AT_EMPTY_PATH], ...origin },
  );
  const is = { type: S_IFCHR, major: 1, minor: 3 };
  context.checks.push({ path: "/dev/null", pointer: origin.pointer, found, mode, rdev, ...is });
  return found;
}

/** One for all directories: every clone shows the same empty file system. */
function makeEmptyDirectory(context: PlanContext): Slot {
  const origin = { what: "make an empty directory to hide others", pointer: "/linux/maskedPaths" };
  const system = { type: "tmpfs", source: "tmpfs", data: ["mode=755", "nr_inodes=1"], attributes: MOUNT_ATTR_RDONLY };
  return makeFileSystem(context.enter, context.slots, system, origin);
}

/** A file on a directory is EINVAL: then it is a directory, and gets the empty one. */
function planMaskedPath(context: PlanContext, path: string, pointer: string, nothing: Slot, empty: Slot): void {
  const { enter, slots } = context;
  const origin: Origin = { what: `mask "${path}"`, pointer };
  const target = slot(slots, `masked ${path}`);
  const mask = slot(slots, `mask of ${path}`);
  const directory = slot(slots, `mask of the directory ${path}`);
  const isDirectory = label();
  const close = label();
  const next = label();
  openInRoot(enter, target, context.rootfs, path, origin, { tolerate: ABSENT, onTolerated: next });
  cloneTree(enter, mask, { from: nothing, path: "", recursive: false }, origin);
  attachMount(enter, mask, target, origin, { tolerate: ["EINVAL"], onTolerated: isDirectory, onZero: close });
  place(enter, isDirectory);
  cloneTree(enter, directory, { from: empty, path: "", recursive: false }, origin);
  attachMount(enter, directory, target, origin);
  closeFd(enter, directory);
  place(enter, close);
  closeFd(enter, mask);
  closeFd(enter, target);
  place(enter, next);
}

/** linux.readonlyPaths, in `enter`: each is bound on itself, read-only before it becomes visible. */
export function planReadonlyPaths(context: PlanContext): void {
  const paths = distinct(context.config.linux?.readonlyPaths ?? []);
  if (paths.length > 0 && !hasMountNamespace(context)) throw needsMountNamespace("/linux/readonlyPaths");
  for (const [path, index] of paths) planReadonlyPath(context, path, `/linux/readonlyPaths/${index}`);
}

function planReadonlyPath(context: PlanContext, path: string, pointer: string): void {
  const { enter, slots } = context;
  const origin = { what: `make "${path}" read-only`, pointer };
  const target = slot(slots, `read-only ${path}`);
  const copy = slot(slots, `copy of ${path}`);
  const next = label();
  openInRoot(enter, target, context.rootfs, path, origin, { tolerate: ABSENT, onTolerated: next });
  cloneTree(enter, copy, { from: target, path: "", recursive: true }, origin);
  changeAttributes(enter, copy, { set: MOUNT_ATTR_RDONLY }, origin);
  attachMount(enter, copy, target, origin);
  closeFd(enter, copy);
  closeFd(enter, target);
  place(enter, next);
}
