import { lstatSync, readdirSync, readlinkSync } from "node:fs";
import { MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID } from "../abi/mount.ts";
import { type MountLine, parseMountinfo } from "../host/parse-mountinfo.ts";
import { readText } from "../kernel/files.ts";
import type { DirectoryFacts, RootPart } from "../plan/overlay-root.ts";

/** What every container gets anew: nothing of the host's is shown below these. */
export const FRESH = ["/proc", "/sys", "/dev", "/run", "/tmp"];

/** What the parts of a root are made from; a record, so that tests can put a made-up machine here. */
export interface HostTree {
  readonly mounts: readonly MountLine[];
  /** Of the path itself, not of what it points to; undefined when there is none, or it may not be seen. */
  readonly look: (path: string) => Look | undefined;
  /** Names in a directory; empty when it may not be read. */
  readonly list: (path: string) => readonly string[];
}

export type Look =
  | (Omit<DirectoryFacts, "path"> & { readonly type: "directory" })
  | { readonly type: "symlink"; readonly target: string }
  | { readonly type: "file" };

export function readHostTree(): HostTree {
  const text = readText("/proc/self/mountinfo");
  return { mounts: typeof text === "number" ? [] : parseMountinfo(text), look, list };
}

function look(path: string): Look | undefined {
  try {
    const { mode, uid, gid } = lstatSync(path);
    const type = mode & 0o170000;
    if (type === 0o120000) return { type: "symlink", target: readlinkSync(path) };
    return type === 0o040000 ? { type: "directory", mode: mode & 0o7777, uid, gid } : { type: "file" };
  } catch {
    return undefined;
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/**
 * One overlay over "/", and one over each of the host's other file systems where that is mounted: an overlay shows only
 * one file system of those that its lower directory has below it. What cannot be a lower layer is shown read-only.
 */
export function wholeParts(tree: HostTree): RootPart[] {
  const parts = new Map<string, RootPart>();
  const top = directoryAt(tree, "/");
  parts.set("/", { kind: "overlay", path: "/", ...top, attributes: MOUNT_ATTR_NODEV });
  const seen = [...lastOnEach(tree.mounts).values()].sort((a, b) => (a.point < b.point ? -1 : 1));
  for (const mount of seen) {
    const { point } = mount;
    if (point === "/" || isFresh(point) || isIn(point, parts, "bind")) continue;
    const part = partOfMount(tree, mount, "nothing");
    if (part === undefined) continue;
    if (part.kind === "overlay") addParents(tree, parts, point);
    parts.set(point, part);
  }
  return [...parts.values()];
}

/**
 * In a user namespace, what is mounted somewhere below a directory is locked there, and the kernel refuses the directory
 * as a lower layer. So directories with mounts below them, "/" first of all, are made anew from what is in them.
 *
 * Nor can a directory be copied to the upper layer when its owner is nobody in the user namespace, as must be before
 * anything in it can change. Those on the way to `open` are there from the beginning, as the caller's own.
 */
export function splitParts(tree: HostTree, open: readonly string[]): RootPart[] {
  const mounts = lastOnEach(tree.mounts);
  const points = [...mounts.keys()];
  const parts: RootPart[] = [];
  const visit = (path: string): void => {
    const seen = tree.look(path);
    const mount = path === "/" ? undefined : mounts.get(path);
    if (seen === undefined) return;
    if (seen.type === "symlink") parts.push({ kind: "symlink", path, target: seen.target });
    else if (seen.type === "file") parts.push({ kind: "bind", path, makes: "file" });
    else if (isFresh(path)) parts.push({ kind: "directory", ...directoryOf(path, seen) });
    else if (mount !== undefined && !canBeLayer(mount, path)) parts.push(hostBind(mount, path, seen));
    else if (points.some((point) => point !== path && isBelow(point, path))) visitAll(path, seen);
    else parts.push({ kind: "overlay", ...directoryOf(path, seen), attributes: attributesOf(mount) });
  };
  const visitAll = (path: string, seen: Look & { type: "directory" }): void => {
    const names = tree.list(path);
    if (names.length > MANY) parts.push({ kind: "bind", path, makes: "directory" });
    else {
      parts.push({ kind: "directory", ...directoryOf(path, seen) });
      for (const name of names) visit(path === "/" ? `/${name}` : `${path}/${name}`);
    }
  };
  visit("/");
  const all = new Map(parts.map((part) => [part.path, part]));
  for (const path of open) addOpen(tree, all, path);
  return [...all.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The directories down to `path`, as far as they are on overlays. */
function addOpen(tree: HostTree, parts: Map<string, RootPart>, path: string): void {
  let onOverlay = false;
  for (let at = nextSlash(path, 1); at > 0; at = at === path.length ? 0 : nextSlash(path, at + 1)) {
    const prefix = path.slice(0, at);
    const part = parts.get(prefix);
    if (part !== undefined) onOverlay = part.kind === "overlay" || (onOverlay && part.kind === "directory");
    const seen = tree.look(prefix);
    if (seen?.type !== "directory") return;
    if (part === undefined && onOverlay) parts.set(prefix, { kind: "directory", ...directoryOf(prefix, seen) });
  }
}

function nextSlash(path: string, from: number): number {
  const at = path.indexOf("/", from);
  return at < 0 ? path.length : at;
}

/** Directories that a caller without root is most likely to want to write to: their own, and where `make install` does. */
export function openDirectories(tree: HostTree, own: readonly (string | undefined)[]): string[] {
  const local = below(tree, "/usr/local").flatMap((path) => [path, ...below(tree, path)]);
  const paths = [...own, "/usr/local", ...local.slice(0, MANY)];
  return paths.filter((path) => path?.startsWith("/") && path !== "/") as string[];
}

function below(tree: HostTree, directory: string): string[] {
  const paths = tree.list(directory).map((name) => `${directory}/${name}`);
  return paths.filter((path) => tree.look(path)?.type === "directory");
}

/** A directory of more entries is not worth as many mounts. */
const MANY = 500;

function lastOnEach(mounts: readonly MountLine[]): Map<string, MountLine> {
  return new Map(mounts.map((mount) => [mount.point, mount]));
}

export function isFresh(path: string): boolean {
  return FRESH.some((fresh) => path === fresh || isBelow(path, fresh));
}

function isBelow(path: string, directory: string): boolean {
  return path.startsWith(directory === "/" ? "/" : `${directory}/`);
}

function isIn(path: string, parts: ReadonlyMap<string, RootPart>, kind: RootPart["kind"]): boolean {
  return [...parts.values()].some((part) => part.kind === kind && isBelow(path, part.path));
}

function partOfMount(tree: HostTree, mount: MountLine, makes: "nothing"): RootPart | undefined {
  const path = mount.point;
  const seen = tree.look(path);
  if (seen === undefined || isPseudo(mount)) return undefined;
  if (seen.type !== "directory" || !canBeLayer(mount, path)) return { kind: "bind", path, makes };
  return { kind: "overlay", ...directoryOf(path, seen), attributes: attributesOf(mount) };
}

/** Of a file system that is nobody's data the directory is shown, empty. */
function hostBind(mount: MountLine, path: string, seen: Look & { type: "directory" }): RootPart {
  return isPseudo(mount)
    ? { kind: "directory", ...directoryOf(path, seen) }
    : { kind: "bind", path, makes: "directory" };
}

/** The directories above an inner overlay: its upper layer lies in theirs. */
function addParents(tree: HostTree, parts: Map<string, RootPart>, path: string): void {
  for (let at = path.indexOf("/", 1); at > 0; at = path.indexOf("/", at + 1)) {
    const parent = path.slice(0, at);
    if (!parts.has(parent)) parts.set(parent, { kind: "directory", path: parent, ...directoryAt(tree, parent) });
  }
}

function directoryOf(path: string, { mode, uid, gid }: Look & { type: "directory" }): DirectoryFacts {
  return { path, mode, uid, gid };
}

function directoryAt(tree: HostTree, path: string): Omit<DirectoryFacts, "path"> {
  const seen = tree.look(path);
  return seen?.type === "directory" ? directoryOf(path, seen) : { mode: 0o755, uid: 0, gid: 0 };
}

/** Never more than the host allows on it; device files never: nothing else keeps a container's root from using them. */
function attributesOf(mount: MountLine | undefined): number {
  let attributes = MOUNT_ATTR_NODEV;
  if (mount?.options.includes("nosuid")) attributes |= MOUNT_ATTR_NOSUID;
  if (mount?.options.includes("noexec")) attributes |= MOUNT_ATTR_NOEXEC;
  return attributes;
}

/** Other containers' root file systems (overlay) among them: they are theirs. */
function isPseudo({ type }: MountLine): boolean {
  return /^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|efivarfs|fusectl|hugetlbfs|mqueue|nsfs|overlay|proc|pstore|rpc_pipefs|securityfs|selinuxfs|sysfs|tracefs)$/.test(
    type,
  );
}

/** overlayfs reads some characters of a name as its own; fsconfig(2) takes 255 bytes. */
function canBeLayer({ type }: MountLine, path: string): boolean {
  return /^(bcachefs|btrfs|ext[234]|f2fs|tmpfs|xfs|zfs)$/.test(type) && !/[,:\\]/.test(path) && path.length < 80;
}
