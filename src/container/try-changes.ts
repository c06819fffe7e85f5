import { lstatSync, readdirSync, readlinkSync, type Stats } from "node:fs";
import { sys } from "../kernel/kernel.ts";
import type { RootPart } from "../plan/overlay-root.ts";

/** A added, C changed, D deleted, and the path in the container. */
export type Change = readonly ["A" | "C" | "D", string];

export interface ChangeSearch {
  /** The directory that holds the changes, see planOverlayRoot. */
  readonly upper: string;
  readonly parts: readonly RootPart[];
  /** Paths in the container that tsrun itself made where they were missing: to mount on, to work in. */
  readonly made: readonly string[];
}

/**
 * What the upper layer says was done to the host's files (docs.kernel.org: filesystems/overlayfs.rst): a character
 * device 0:0 is a deletion, and an "opaque" directory hides all that the host's of that name has. Sorted by path.
 */
export function findChanges(search: ChangeSearch): Change[] {
  const changes: Change[] = [];
  const own = pathsAbove(search.made);
  for (const part of search.parts) {
    if (part.kind === "bind") own.add(part.path);
    if (part.kind === "symlink" && stat(search.upper + part.path) === undefined) changes.push(["D", part.path]);
  }
  walk(search.upper, "", own, changes);
  return changes.sort(([, a], [, b]) => (a < b ? -1 : 1));
}

/** Each path and all that are above it. */
function pathsAbove(paths: readonly string[]): Set<string> {
  const all = new Set<string>();
  for (const path of paths) {
    for (let at = path.length; at > 0; at = path.lastIndexOf("/", at - 1)) all.add(path.slice(0, at));
  }
  return all;
}

function walk(upper: string, path: string, own: ReadonlySet<string>, changes: Change[]): void {
  const isOpaque = path !== "" && hasOpaqueMark(upper + path);
  const names = list(upper + path);
  for (const name of names) compare(upper, `${path}/${name}`, own, changes);
  if (!isOpaque) return;
  for (const name of list(path)) if (!names.includes(name)) changes.push(["D", `${path}/${name}`]);
}

function compare(upper: string, path: string, own: ReadonlySet<string>, changes: Change[]): void {
  const after = stat(upper + path);
  const before = stat(path);
  if (after === undefined) return;
  if (isWhiteout(after)) {
    if (before !== undefined) changes.push(["D", path]);
    return;
  }
  const isMade = own.has(path) && (before === undefined || !after.isDirectory());
  if (!isMade && isChange(upper + path, after, path, before)) changes.push([before === undefined ? "A" : "C", path]);
  if (after.isDirectory()) walk(upper, path, own, changes);
}

function isWhiteout(after: Stats): boolean {
  return after.isCharacterDevice() && after.rdev === 0;
}

/** A directory is copied up when anything in it changes: it has changed itself when its mode or its content as a whole has. */
function isChange(upperPath: string, after: Stats, path: string, before: Stats | undefined): boolean {
  if (before === undefined) return true;
  if (after.isSymbolicLink() && before.isSymbolicLink()) return target(upperPath) !== target(path);
  if (!after.isDirectory() || !before.isDirectory()) return true;
  return after.mode !== before.mode || hasOpaqueMark(upperPath);
}

function hasOpaqueMark(path: string): boolean {
  const value = new Uint8Array(4);
  return ["trusted", "user"].some(
    (kind) => sys("getxattr", path, `${kind}.overlay.opaque`, value, value.length) === 1 && value[0] === 0x79,
  );
}

function stat(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path === "" ? "/" : path);
  } catch {
    return [];
  }
}

function target(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** One line a change; a name that a terminal would take for more is quoted as in JSON. */
export function printChanges(changes: readonly Change[]): string {
  const lines = changes.map(([kind, path]) => `${kind} ${isPlain(path) ? path : JSON.stringify(path)}\n`);
  return lines.join("");
}

function isPlain(path: string): boolean {
  return [...path].every((character) => character >= " " && character !== "\x7f");
}
