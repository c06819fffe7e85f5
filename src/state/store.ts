/**
 * The state directory: `<root>/<id>/` with
 *
 *     state.json       a ContainerState, once create has finished
 *     state.json.new   the same while create is at work, or of one that was killed; always replaced as a whole
 *     config.json      the configuration as it was at create, with later updates of linux.resources: later changes of
 *                      the bundle's have no effect
 *     seccomp.bpf      the compiled linux.seccomp, for start and exec
 *     exec.sock        where a created container waits for start
 *
 * A directory is handled through its descriptor, which also carries the lock (lock.ts).
 */
import { errnoName, errnoNumber, errnoText } from "../abi/errno.ts";
import { AT_FDCWD, AT_REMOVEDIR, O_CLOEXEC, O_CREAT, O_NOFOLLOW, O_TRUNC, O_WRONLY } from "../abi/fcntl.ts";
import { TsrunError } from "../errors.ts";
import { close, directoriesIn, openDirectory, readBytes, readText, removeTree, writeAll } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { variable } from "../kernel/warm-start.ts";
import { utf8 } from "../text.ts";
import { lockAtOnce } from "./lock.ts";
import { CONFIG, DRAFT, doesNotExist, FILTER, NOTHING_ELSE, START_SOCKET, STATE } from "./names.ts";
import { parseState } from "./parse-state.ts";
import type { ContainerState } from "./state.ts";

const ENOENT = -errnoNumber("ENOENT");

export function checkId(id: string): void {
  if (id === "") throw new TsrunError("container id cannot be empty", { code: "EINVAL" });
  if (id === "." || id === ".." || id.length > 1024 || !isId(id)) {
    throw new TsrunError("invalid container ID format", {
      code: "EINVAL",
      hint: "an id is made of up to 1024 letters, digits, and _ + . -, and is not . or ..",
    });
  }
}

/**
 * Makes the container's directory, and the root above it as need be. Returns its descriptor, with the lock held until
 * that is closed: who finds a draft and a free lock knows that the create was killed.
 */
export function createContainerDirectory(root: string, id: string): number {
  checkId(id);
  makeRoot(root);
  const parent = openDirectory(root);
  if (parent < 0) throw fault("open the state directory", root, parent);
  const made = sys("mkdirat", parent, id, 0o700);
  if (made < 0) {
    close(parent);
    if (made !== -errnoNumber("EEXIST")) throw fault("make the state directory", `${root}/${id}`, made);
    throw alreadyExists(root, id);
  }
  const directory = openDirectory(id, parent, O_NOFOLLOW);
  close(parent);
  if (directory < 0) throw fault("open the state directory", `${root}/${id}`, directory);
  if (!lockAtOnce(directory)) throw alreadyExists(root, id);
  return directory;
}

function alreadyExists(root: string, id: string): TsrunError {
  return new TsrunError("container with given ID already exists", {
    code: "EEXIST",
    hint: existingHint(root, id),
  });
}

function existingHint(root: string, id: string): string {
  const finished = sys("faccessat2", AT_FDCWD, `${root}/${id}/${STATE}`, 0, 0) === 0;
  return finished
    ? "choose another id, or delete that container first"
    : `its create has not finished; if that was killed, remove what it left with tsrun delete --force ${id}`;
}

/**
 * mkdir -p. The sticky bit tells systemd's clean-up of $XDG_RUNTIME_DIR not to remove what is old (XDG Base Directory
 * Specification).
 */
function makeRoot(root: string): void {
  const own = root === `${variable("XDG_RUNTIME_DIR")}/tsrun`;
  const mode = own ? 0o1700 : 0o700;
  const made = sys("mkdirat", AT_FDCWD, root, mode);
  if (made === 0 || made === -errnoNumber("EEXIST")) return;
  const parent = root.replace(/\/+[^/]*\/*$/, "");
  if (made !== ENOENT || parent === "") throw rootFault(root, made);
  makeRoot(parent);
  const again = sys("mkdirat", AT_FDCWD, root, mode);
  if (again < 0 && again !== -errnoNumber("EEXIST")) throw rootFault(root, again);
}

/** The usual mistake of a caller without root: a shell that is no login has no XDG_RUNTIME_DIR. */
function rootFault(root: string, result: number): TsrunError {
  const { message, details } = fault("make the state directory", root, result);
  const isDenied = details.code === "EACCES" && sys("geteuid") !== 0;
  const hint =
    "set XDG_RUNTIME_DIR to a directory of your own (a login makes it /run/user/UID), or choose one by --root";
  return new TsrunError(message, isDenied ? { ...details, hint } : details);
}

/** Descriptor of an existing container's directory; undefined when there is none. */
export function findContainerDirectory(root: string, id: string): number | undefined {
  checkId(id);
  const directory = openDirectory(`${root}/${id}`, AT_FDCWD, O_NOFOLLOW);
  if (directory === ENOENT || directory === -errnoNumber("ENOTDIR")) return undefined;
  if (directory < 0) throw fault("open the state directory", `${root}/${id}`, directory);
  return directory;
}

/** The same; throws `container does not exist`. */
export function openContainerDirectory(root: string, id: string): number {
  const directory = findContainerDirectory(root, id);
  if (directory === undefined) throw doesNotExist();
  return directory;
}

/** Writes `state.json.new`; the container counts as `creating` until publishState. */
export function writeDraft(directory: number, state: ContainerState): void {
  writeWhole(directory, DRAFT, JSON.stringify(state));
}

/** Makes the draft the state: from now on the status follows from the process. */
export function publishState(directory: number): void {
  const renamed = sys("renameat2", directory, DRAFT, directory, STATE, 0);
  if (renamed < 0) throw fault("rename", DRAFT, renamed);
}

/** Replaces the state as a whole: a reader sees the old one or the new one. */
export function writeState(directory: number, state: ContainerState): void {
  writeDraft(directory, state);
  publishState(directory);
}

export function saveConfig(directory: number, text: string): void {
  writeWhole(directory, CONFIG, text);
}

/** Replaces the saved configuration as a whole: a reader sees the old one or the new one. */
export function replaceConfig(directory: number, text: string): void {
  writeWhole(directory, `${CONFIG}.new`, text);
  const renamed = sys("renameat2", directory, `${CONFIG}.new`, directory, CONFIG, 0);
  if (renamed < 0) throw fault("rename", `${CONFIG}.new`, renamed);
}

export function saveFilter(directory: number, program: Uint8Array): void {
  writeBytes(directory, FILTER, program);
}

export function readFilter(directory: number): Uint8Array {
  const program = readBytes(FILTER, directory, NOTHING_ELSE);
  if (typeof program === "number") throw fault("read the container's saved", FILTER, program);
  return program;
}

/** The text of config.json as it was at create, but for what update has changed. */
export function readSavedConfig(directory: number): string {
  const text = readText(CONFIG, directory, NOTHING_ELSE);
  if (typeof text === "number") throw fault("read the container's saved", CONFIG, text);
  return text;
}

function writeWhole(directory: number, name: string, text: string): void {
  writeBytes(directory, name, utf8(text));
}

function writeBytes(directory: number, name: string, bytes: Uint8Array): void {
  const flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | NOTHING_ELSE;
  const fd = sys("openat", directory, name, flags, 0o600);
  if (fd < 0) throw fault("create", name, fd);
  const written = writeAll(fd, bytes);
  close(fd);
  if (written < 0) throw fault("write", name, written);
}

/** The state; of an unfinished create the draft, its phase always `creating`. */
export function readState(directory: number, root: string, id: string): ContainerState {
  const text = readText(STATE, directory, NOTHING_ELSE);
  if (typeof text === "string") return checkState(text, root, id, STATE);
  if (text !== ENOENT) throw fault("read", `${root}/${id}/${STATE}`, text);
  const draft = readText(DRAFT, directory, NOTHING_ELSE);
  if (typeof draft === "number") throw doesNotExist(unfinishedHint(id));
  return { ...checkState(draft, root, id, DRAFT), phase: "creating" };
}

function unfinishedHint(id: string): string {
  return `a create of it has begun but not come far; if that was killed, remove what it left with tsrun delete --force ${id}`;
}

function checkState(text: string, root: string, id: string, name: string): ContainerState {
  const state = parseState(text, id);
  if (typeof state !== "string") return state;
  throw new TsrunError(`cannot read the state of container "${id}": ${root}/${id}/${name}: ${state}`, {
    code: "EBADSTATE",
    hint: `remove what is left of the container with tsrun delete --force ${id}`,
  });
}

/** The ids below a root, sorted; none when there is no such root. */
export function listContainers(root: string): string[] {
  const names = directoriesIn(root);
  if (typeof names !== "number") return names.filter(isId).sort();
  if (names === ENOENT) return [];
  throw fault("read the state directory", root, names);
}

function isId(name: string): boolean {
  for (let i = 0; i < name.length; i++) if (!ID_CHARACTERS.includes(name[i]!)) return false;
  return name !== "";
}

/** A string, not a regular expression: the first of those costs every command 0.1 ms. */
const ID_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-";

/** Removes the container's directory with all that is in it. */
export function removeContainerDirectory(root: string, id: string): void {
  checkId(id);
  const parent = openDirectory(root);
  if (parent === ENOENT) return;
  if (parent < 0) throw fault("open the state directory", root, parent);
  const removed = removeKnown(id, parent) ? 0 : removeTree(id, parent);
  close(parent);
  if (removed < 0) throw fault("remove", `${root}/${id}`, removed);
}

/** What most containers have and no more; false when there is more, or nothing. */
function removeKnown(id: string, parent: number): boolean {
  const directory = openDirectory(id, parent, O_NOFOLLOW);
  if (directory < 0) return false;
  for (const name of [STATE, CONFIG, START_SOCKET, FILTER]) sys("unlinkat", directory, name, 0);
  close(directory);
  return sys("unlinkat", parent, id, AT_REMOVEDIR) === 0;
}

function fault(action: string, thing: string, result: number): TsrunError {
  return new TsrunError(`cannot ${action} "${thing}": ${errnoText(-result)}`, { code: errnoName(-result) });
}
