import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  unlinkSync,
} from "node:fs";
import { errorMessage, TsrunError } from "../errors.ts";
import { sys } from "../kernel/kernel.ts";
import type { RootPart } from "../plan/overlay-root.ts";
import { type Change, findChanges } from "./try-changes.ts";

/** The directory of --keep. While the container runs, changes are in `upper`, and `work` is the kernel's. */
export interface Keep {
  /** Absolute, without symlinks. */
  readonly directory: string;
  /** When there was no container: nothing is left of the attempt. */
  readonly discard: () => void;
  /** Brings the changes to the directory itself, and says what they are. `made`: see ChangeSearch. */
  readonly finish: (parts: readonly RootPart[], made: readonly string[]) => Change[];
}

/** Makes the directory where it is missing; throws when something is in it. */
export function openKeep(path: string): Keep {
  const isNew = attempt(path, () => mkdirSync(path, { recursive: true })) !== undefined;
  const directory = attempt(path, () => realpathSync(path));
  if (attempt(path, () => readdirSync(directory)).length > 0) {
    throw new TsrunError(`cannot keep changes in "${path}": directory not empty (--keep)`, {
      code: "ENOTEMPTY",
      hint: "name a directory that is empty or does not exist",
    });
  }
  return {
    directory,
    discard: () => {
      ignoring(() => removeWork(`${directory}/work`));
      ignoring(() => rmSync(`${directory}/upper`, { recursive: true, force: true }));
      if (isNew) ignoring(() => rmdirSync(directory));
    },
    finish: (parts, made) => attempt(path, () => finish(directory, parts, made)),
  };
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new TsrunError(`cannot keep changes in "${path}": ${errorMessage(error)} (--keep)`);
  }
}

function ignoring(action: () => void): void {
  try {
    action();
  } catch {
    // It is somebody's, or has something in it.
  }
}

function finish(directory: string, parts: readonly RootPart[], made: readonly string[]): Change[] {
  removeWork(`${directory}/work`);
  const upper = `${directory}/upper`;
  const changes = findChanges({ upper, parts, made });
  prune(upper, parts, made, new Set(changes.map(([, path]) => path)));
  // Out of the way first: one of the changes may be called upper, too.
  const apart = `${directory}/.upper-${sys("getpid")}`;
  renameSync(upper, apart);
  for (const name of readdirSync(apart)) renameSync(`${apart}/${name}`, `${directory}/${name}`);
  rmdirSync(apart);
  return changes;
}

/** The kernel leaves directories there that not even their owner may read. */
function removeWork(work: string): void {
  for (const path of directoriesIn(work).flatMap(directoriesIn)) ignoring(() => chmodSync(path, 0o700));
  rmSync(work, { recursive: true, force: true });
}

function directoriesIn(path: string): string[] {
  if (!existsSync(path)) return [];
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => `${path}/${name}`);
}

/** What was only there to mount on, or is as the host has it. */
function prune(upper: string, parts: readonly RootPart[], made: readonly string[], changed: ReadonlySet<string>): void {
  const paths = [...parts.map(({ path }) => path), ...made.flatMap(withParents)].filter((path) => path !== "/");
  for (const path of [...new Set(paths)].sort().reverse()) {
    if (changed.has(path)) continue;
    ignoring(() => (lstatSync(upper + path).isDirectory() ? rmdirSync(upper + path) : unlinkSync(upper + path)));
  }
}

function withParents(path: string): string[] {
  const all: string[] = [];
  for (let at = path.length; at > 0; at = path.lastIndexOf("/", at - 1)) all.push(path.slice(0, at));
  return all;
}
