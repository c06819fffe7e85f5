import { AT_EMPTY_PATH, AT_FDCWD, F_DUPFD_CLOEXEC, F_GETFD, O_CLOEXEC, O_PATH } from "../abi/fcntl.ts";
import { MOUNT_ATTR_RDONLY } from "../abi/mount.ts";
import { S_IFCHR } from "../abi/stat.ts";
import { TsrunError } from "../errors.ts";
import { hasMountNamespace, type PlanContext } from "./context.ts";
import { statBuffer } from "./devices.ts";
import { mountLabelOf } from "./mount-label.ts";
import { attachMount, changeAttributes, cloneTree, closeFd, makeFileSystem, type Origin } from "./mount-steps.ts";
import { cleanPath, openInRoot } from "./paths.ts";
import { add, addAll, type Label, label, place, type Slot, slot } from "./step.ts";

/** Up to so many paths it is not worth closing what was opened for them: before execve(2) everything is closed. */
const FEW = 64;

/** A path that does not exist needs no hiding. */
const ABSENT = ["ENOENT", "ENOTDIR"] as const;

/**
 * Opens what is to be hidden or made read-only, or goes to `absent`. What is in /proc and /sys is looked for in the mounts
 * themselves: whoever writes to the root file system could otherwise put an empty directory in their place meanwhile, and
 * them back afterwards, with nothing hidden (in the manner of CVE-2019-19921).
 */
function openRestricted(context: PlanContext, into: Slot, path: string, origin: Origin, absent: Label): void {
  const clean = cleanPath(path);
  const [, top = ""] = clean.split("/");
  const mount = context.kernelMounts.get(`/${top}`);
  const rest = clean.slice(top.length + 1);
  const [root, name] = mount === undefined || rest === "" ? [context.rootfs, clean] : [mount, rest];
  openInRoot(context.enter, into, root, name, origin, { tolerate: ABSENT, onTolerated: absent });
}

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
  const closes = paths.length > FEW;
  for (const [path, index] of paths) {
    planMaskedPath(context, { path, pointer: `/linux/maskedPaths/${index}`, closes }, nothing, empty);
  }
  closeFd(context.enter, nothing);
  closeFd(context.enter, empty.mount);
  closeFd(context.enter, empty.attached, { tolerate: ["EBADF"] });
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
  addAll(build, [
    { call: "openat", args: [AT_FDCWD, "/dev/null", O_PATH | O_CLOEXEC, 0], into: found, ...origin },
    { call: "newfstatat", args: [found, "", buffer, AT_EMPTY_PATH], ...origin },
  ]);
  const is = { type: S_IFCHR, major: 1, minor: 3 };
  context.checks.push({ path: "/dev/null", pointer: origin.pointer, found, mode, rdev, ...is });
  return found;
}

interface EmptyDirectory {
  readonly mount: Slot;
  /** The same once it is attached, until then no descriptor: before Linux 6.15 only attached mounts can be copied. */
  readonly attached: Slot;
}

/** One for all directories: every copy shows the same empty file system. */
function makeEmptyDirectory(context: PlanContext): EmptyDirectory {
  const { enter, slots } = context;
  const origin = { what: "make an empty directory to hide others", pointer: "/linux/maskedPaths" };
  const data = ["mode=755", "nr_inodes=1"];
  const system = { type: "tmpfs", source: "tmpfs", data, attributes: MOUNT_ATTR_RDONLY, label: mountLabelOf(context) };
  const mount = makeFileSystem(enter, slots, system, origin);
  const attached = slot(slots, "empty directory, attached");
  add(enter, { call: "fcntl", args: [-1, F_GETFD, 0], into: attached, tolerate: ["EBADF"], ...origin });
  return { mount, attached };
}

interface PathEntry {
  readonly path: string;
  readonly pointer: string;
  readonly closes: boolean;
}

function planMaskedPath(context: PlanContext, entry: PathEntry, nothing: Slot, empty: EmptyDirectory): void {
  const { enter, slots } = context;
  const { path, pointer, closes } = entry;
  const origin: Origin = { what: `mask "${path}"`, pointer };
  const target = slot(slots, `masked ${path}`);
  const mask = slot(slots, `mask of ${path}`);
  const isDirectory = label();
  const close = label();
  const next = label();
  openRestricted(context, target, path, origin, next);
  cloneTree(enter, mask, { from: nothing, path: "", recursive: false }, origin);
  // A file on a directory is EINVAL.
  attachMount(enter, mask, target, origin, { tolerate: ["EINVAL"], onTolerated: isDirectory, onZero: close });
  place(enter, isDirectory);
  planMaskedDirectory(context, path, target, empty, origin);
  place(enter, close);
  if (closes) closeFd(enter, mask);
  if (closes) closeFd(enter, target);
  place(enter, next);
}

/** The first directory gets the empty mount itself, each later one a copy of it. */
function planMaskedDirectory(
  context: PlanContext,
  path: string,
  target: Slot,
  { mount, attached }: EmptyDirectory,
  origin: Origin,
): void {
  const { enter, slots } = context;
  const copy = slot(slots, `mask of the directory ${path}`);
  const first = label();
  const done = label();
  const none = { tolerate: ["EBADF"], onTolerated: first } as const;
  cloneTree(enter, copy, { from: attached, path: "", recursive: false }, origin, none);
  attachMount(enter, copy, target, origin);
  closeFd(enter, copy, { onZero: done });
  place(enter, first);
  attachMount(enter, mount, target, origin);
  add(enter, { call: "fcntl", args: [mount, F_DUPFD_CLOEXEC, 0], into: attached, ...origin });
  place(enter, done);
}

/** linux.readonlyPaths, in `enter`: each is bound on itself, read-only before it becomes visible. */
export function planReadonlyPaths(context: PlanContext): void {
  const paths = distinct(context.config.linux?.readonlyPaths ?? []);
  if (paths.length > 0 && !hasMountNamespace(context)) throw needsMountNamespace("/linux/readonlyPaths");
  const closes = paths.length > FEW;
  for (const [path, index] of paths) {
    planReadonlyPath(context, { path, pointer: `/linux/readonlyPaths/${index}`, closes });
  }
}

function planReadonlyPath(context: PlanContext, { path, pointer, closes }: PathEntry): void {
  const { enter, slots } = context;
  const origin = { what: `make "${path}" read-only`, pointer };
  const target = slot(slots, `read-only ${path}`);
  const copy = slot(slots, `copy of ${path}`);
  const next = label();
  openRestricted(context, target, path, origin, next);
  cloneTree(enter, copy, { from: target, path: "", recursive: true }, origin);
  changeAttributes(enter, copy, { set: MOUNT_ATTR_RDONLY }, origin);
  attachMount(enter, copy, target, origin);
  if (closes) closeFd(enter, copy);
  if (closes) closeFd(enter, target);
  place(enter, next);
}
