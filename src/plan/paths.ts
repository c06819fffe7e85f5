import { O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_PATH } from "../abi/fcntl.ts";
import {
  OPEN_HOW_SIZE,
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
} from "../abi/openat2.ts";
import { S_IFREG } from "../abi/stat.ts";
import { closeFd, type Extras, type Origin, onSuccess } from "./mount-steps.ts";
import { add, type Label, label, type Program, place, type Slot, type SlotTable, slot, struct } from "./step.ts";

/**
 * Paths below the root file system. Another container may be swapping symlinks there while we work, so a path is never
 * handed to a call that mounts, makes or changes anything: it is resolved once, inside the root, to a descriptor.
 */

const IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
/** For a component made a moment ago: a symlink in its place is an attack. */
const PLAIN = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

/** runc's mode for directories and files that have to be made for a mount; the umask is 0 meanwhile. */
const NEW_DIRECTORY_MODE = 0o755;
const NEW_FILE_MODE = 0o755;

/** `/a/./b//../c/` → `["a", "c"]`: as in a chroot, no number of ".." leads out. */
export function components(path: string): string[] {
  if (isClean(path)) return path.slice(1).split("/");
  const kept: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") kept.pop();
    else if (part !== "" && part !== ".") kept.push(part);
  }
  return kept;
}

/** `a//b/` → `/a/b`. */
export function cleanPath(path: string): string {
  if (isClean(path)) return path;
  return `/${components(path).join("/")}`;
}

/** Most paths are as cleanPath would make them, and this is sooner found out than done; those with hidden files do not count. */
function isClean(path: string): boolean {
  return path.startsWith("/") && !path.includes("//") && !path.includes("/.") && !path.endsWith("/");
}

/** As many symlinks as the kernel follows in one path. */
const MAX_LINKS = 40;

/**
 * What `path` comes to inside a root, whether it exists or not; `readLink` says what a symlink of the root holds, and
 * undefined for everything else. Only for naming what is to be made: whoever makes it must not follow symlinks.
 * Undefined when there are too many of them.
 */
export function resolveInRoot(path: string, readLink: (path: string) => string | undefined): string | undefined {
  let rest = path.split("/");
  let done: string[] = [];
  for (let links = 0; rest.length > 0; ) {
    const part = rest.shift()!;
    if (part === "" || part === ".") continue;
    if (part === "..") {
      done.pop();
      continue;
    }
    const target = readLink(`/${[...done, part].join("/")}`);
    if (target === undefined) {
      done.push(part);
      continue;
    }
    if (++links > MAX_LINKS) return undefined;
    if (target.startsWith("/")) done = [];
    rest = [...target.split("/"), ...rest];
  }
  return `/${done.join("/")}`;
}

export interface Opening {
  readonly flags: number;
  readonly mode?: number;
  readonly resolve: number;
}

/** openat2(2) with O_CLOEXEC; begun again when a rename raced it. */
export function openAt(
  program: Program,
  into: Slot,
  directory: Slot,
  path: string,
  how: Opening,
  origin: Origin,
  extras: Extras = {},
): void {
  const open = struct("open_how", how.flags | O_CLOEXEC, how.mode ?? 0, how.resolve);
  const args = [directory, path, open, OPEN_HOW_SIZE];
  add(program, { call: "openat2", args, into, retry: true, ...origin, ...extras });
}

/** Opens `path` inside the root as an O_PATH descriptor; symlinks are followed as the container would follow them. */
export function openInRoot(
  program: Program,
  into: Slot,
  root: Slot,
  path: string,
  origin: Origin,
  extras: Extras = {},
  flags = 0,
): void {
  const name = components(path).join("/") || ".";
  openAt(program, into, root, name, { flags: flags | O_PATH, resolve: IN_ROOT }, origin, extras);
}

/** What a missing destination becomes. A label: directory, unless the program jumps there, then file. */
export type Kind = "directory" | "file" | { readonly branch: (program: Program, file: Label) => void };

export interface Destination {
  readonly root: Slot;
  readonly path: string;
  readonly kind: Kind;
  /** No component of it may be a symlink: procfs and sysfs (CVE-2019-19921). */
  readonly plain?: boolean;
  /** The path that symlinks make of it, as tsrun saw it: where it is made when it is missing. */
  readonly resolved?: string | undefined;
  /** The parent, when it is ours alone: then nothing is looked for, and `root` and what leads to it play no part. */
  readonly parent?: Slot | undefined;
  /** The last component is not followed when it is a symlink (dest-nofollow). */
  readonly noFollow?: boolean;
}

/**
 * Opens what will be mounted on, O_PATH, and makes what is missing of it: one component at a time, each in the
 * descriptor of its parent. A directory is opened as such when `kind` says directory, so that a file in its place fails
 * here.
 */
export function openDestination(
  program: Program,
  table: SlotTable,
  wanted: Destination,
  origin: Origin,
  words: Pick<Extras, "says"> = {},
): Slot {
  const found = slot(table, `destination ${wanted.path}`);
  const names = components(wanted.path);
  if (wanted.parent !== undefined) {
    createDestination(program, table, wanted, names, found, origin);
    return found;
  }
  const missing = label();
  const done = label();
  const flags = O_PATH | (wanted.kind === "directory" ? O_DIRECTORY : 0) | (wanted.noFollow === true ? O_NOFOLLOW : 0);
  const how = { flags, resolve: wanted.plain === true ? PLAIN : IN_ROOT };
  const says = wanted.plain === true ? { says: plainSays(wanted.path, origin) } : words;
  const extras: Extras = { tolerate: ["ENOENT"], onTolerated: missing, ...onSuccess(done), ...says };
  openAt(program, found, wanted.root, names.join("/") || ".", how, origin, extras);
  place(program, missing);
  const made = wanted.noFollow === true ? names : components(wanted.resolved ?? wanted.path);
  createDestination(program, table, wanted, made, found, origin);
  place(program, done);
  return found;
}

function plainSays(path: string, origin: Origin): Record<string, string> {
  const message = `cannot ${origin.what}: "${path}" must be an ordinary directory, and no symlink may lead to it`;
  return { ELOOP: message, ENOTDIR: message, EXDEV: message };
}

function createDestination(
  program: Program,
  table: SlotTable,
  wanted: Destination,
  names: readonly string[],
  found: Slot,
  origin: Origin,
): void {
  const parent = wanted.parent ?? createParents(program, table, wanted.root, names, origin, wanted.plain === true);
  const last = names.at(-1) ?? ".";
  const file = label();
  const done = label();
  if (wanted.kind !== "file") {
    if (typeof wanted.kind === "object") wanted.kind.branch(program, file);
    makeDirectory(program, parent, last, found, origin, { ...onSuccess(done) });
  }
  if (wanted.kind !== "directory") {
    place(program, file);
    makeFile(program, wanted, parent, last, names.join("/"), found, origin);
  }
  place(program, done);
  if (parent !== wanted.root && parent !== wanted.parent) closeFd(program, parent);
}

/** The parent directory of the last of `names`, made where it is missing. */
export function createParents(
  program: Program,
  table: SlotTable,
  root: Slot,
  names: readonly string[],
  origin: Origin,
  plain = false,
): Slot {
  let parent = root;
  for (let i = 0; i < names.length - 1; i++) {
    const next = slot(table, `directory ${names.slice(0, i + 1).join("/")}`);
    const missing = label();
    const done = label();
    const path = names.slice(0, i + 1).join("/");
    const how = { flags: O_PATH | O_DIRECTORY, resolve: plain ? PLAIN : IN_ROOT };
    openAt(program, next, root, path, how, origin, { tolerate: ["ENOENT"], onTolerated: missing, ...onSuccess(done) });
    place(program, missing);
    makeDirectory(program, parent, names[i]!, next, origin);
    place(program, done);
    if (parent !== root) closeFd(program, parent);
    parent = next;
  }
  return parent;
}

/** EEXIST: someone was faster, or a symlink that leads nowhere is in its place; opening it tells. */
function makeDirectory(
  program: Program,
  parent: Slot,
  name: string,
  into: Slot,
  origin: Origin,
  extras: Extras = {},
): void {
  const making = { ...origin, what: `make the directory "${name}" to ${origin.what}` };
  add(program, { call: "mkdirat", args: [parent, name, NEW_DIRECTORY_MODE], tolerate: ["EEXIST"], ...making });
  const how = { flags: O_PATH | O_DIRECTORY | O_NOFOLLOW, resolve: PLAIN };
  openAt(program, into, parent, name, how, making, { ...dangling(name, origin), ...extras });
}

/** Only where tsrun could not see the symlink before: in a volume, or in a /dev of the image's. */
function danglingFile(name: string, origin: Origin): Extras {
  return {
    says: { ENOENT: `cannot ${origin.what}: "${name}" is a symlink that leads nowhere` },
    hint: "make the file that the symlink points to",
  };
}

function dangling(name: string, origin: Origin): Extras {
  const message = `cannot ${origin.what}: "${name}" on the way to it is a symlink that leads nowhere`;
  return {
    says: { ELOOP: message, ENOTDIR: message },
    hint: "make the directory that the symlink points to in the root file system",
  };
}

/**
 * A regular file made by mknodat(2): nothing is opened that someone may have put there meanwhile, a device for example, which
 * tsrun may open now and they may not. Where a symlink that leads nowhere has the name (resolv.conf in many images), `names`
 * are already those that it leads to: see Destination.resolved.
 */
function makeFile(
  program: Program,
  wanted: Destination,
  parent: Slot,
  name: string,
  path: string,
  into: Slot,
  origin: Origin,
): void {
  const making = { ...origin, what: `make the file "${name}" to ${origin.what}` };
  const exists = label();
  const done = label();
  add(program, {
    call: "mknodat",
    args: [parent, name, S_IFREG | NEW_FILE_MODE, 0],
    tolerate: ["EEXIST"],
    onTolerated: exists,
    ...making,
  });
  openAt(program, into, parent, name, { flags: O_PATH | O_NOFOLLOW, resolve: PLAIN }, making, { ...onSuccess(done) });
  place(program, exists);
  openInRoot(program, into, wanted.root, path, making, danglingFile(name, origin));
  place(program, done);
}
