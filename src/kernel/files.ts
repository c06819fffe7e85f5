import { errnoName, errnoNumber, errnoText } from "../abi/errno.ts";
import { AT_FDCWD, AT_REMOVEDIR, O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, O_WRONLY } from "../abi/fcntl.ts";
import { TsrunError } from "../errors.ts";
import { textOf, utf8 } from "../text.ts";
import { timespec } from "./clock.ts";
import { sys } from "./kernel.ts";

/**
 * Small files as a whole. Every function takes the descriptor of a directory that `path` starts from, and returns the
 * negative errno where it fails, as `sys` does.
 */

/** Descriptor of an existing directory. */
export function openDirectory(path: string, from = AT_FDCWD, flags = 0): number {
  return sys("openat", from, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags, 0);
}

/** Where tsrun was started (getcwd(3)); what process.cwd() says may be the directory of a build, see warm-start.ts. */
export function currentDirectory(): string {
  const PATH_MAX = 4096;
  const buffer = new Uint8Array(PATH_MAX);
  const length = sys("getcwd", buffer, PATH_MAX);
  // The NUL at the end counts.
  if (length > 0) return textOf(buffer.subarray(0, length - 1));
  throw new TsrunError(`cannot find the working directory: ${errnoText(-length)}`, { code: errnoName(-length) });
}

export function close(fd: number): void {
  sys("close", fd);
}

/** The content; `first` is the size of the first read, for files that are known to be longer. */
export function readBytes(path: string, from = AT_FDCWD, flags = 0, first = 4096): Uint8Array | number {
  const fd = sys("openat", from, path, O_RDONLY | O_CLOEXEC | flags, 0);
  if (fd < 0) return fd;
  const content = readAll(fd, first);
  close(fd);
  return content;
}

/** What is left to read of an open file. */
export function readAll(fd: number, first = 4096): Uint8Array | number {
  let size = first;
  let buffer = new Uint8Array(size);
  let used = 0;
  for (;;) {
    const count = sys("read", fd, used === 0 ? buffer : buffer.subarray(used), size - used);
    if (count === -errnoNumber("EINTR")) continue;
    if (count < 0) return count;
    if (count === 0) return buffer.subarray(0, used);
    used += count;
    if (used < size) continue;
    size *= 4;
    const larger = new Uint8Array(size);
    larger.set(buffer);
    buffer = larger;
  }
}

/** The content as UTF-8; bytes that are not become U+FFFD. */
export function readText(path: string, from = AT_FDCWD, flags = 0): string | number {
  const content = readBytes(path, from, flags);
  return typeof content === "number" ? content : textOf(content);
}

/** Writes to a file that exists, in one write(2): what kernel file systems want. Returns 0 or the negative errno. */
export function writeText(path: string, text: string, from = AT_FDCWD): number {
  const fd = sys("openat", from, path, O_WRONLY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  const bytes = utf8(text);
  const count = sys("write", fd, bytes, bytes.length);
  close(fd);
  return Math.min(count, 0);
}

/** Writes all of `bytes`, however many writes it takes. Returns 0 or the negative errno. */
export function writeAll(fd: number, bytes: Uint8Array): number {
  let done = 0;
  while (done < bytes.length) {
    const count = sys("write", fd, bytes.subarray(done), bytes.length - done);
    if (count === -errnoNumber("EINTR")) continue;
    if (count < 0) return count;
    done += count;
  }
  return 0;
}

export interface DirectoryEntry {
  readonly name: string;
  /** d_type of getdents64(2): DT_DIR, DT_REG … */
  readonly type: number;
}

export const DT_DIR = 4;
export const DT_REG = 8;

/** openat2(2). */
const RESOLVE_NO_XDEV = 1;

/** The entries of an open directory but `.` and `..`, from where its offset stands (at first: all). */
export function readEntries(directory: number): DirectoryEntry[] | number {
  const entries: DirectoryEntry[] = [];
  const buffer = new Uint8Array(32768);
  for (;;) {
    const count = sys("getdents64", directory, buffer, buffer.length);
    if (count < 0) return count;
    if (count === 0) return entries;
    decodeEntries(buffer, count, entries);
  }
}

/** struct linux_dirent64: u64 inode, s64 offset, u16 length, u8 type, the name and its NUL. */
function decodeEntries(buffer: Uint8Array, count: number, into: DirectoryEntry[]): void {
  for (let at = 0; at < count; ) {
    const length = buffer[at + 16]! | (buffer[at + 17]! << 8);
    const end = buffer.indexOf(0, at + 19);
    const name = textOf(buffer.subarray(at + 19, end));
    if (name !== "." && name !== "..") into.push({ name, type: buffer[at + 18]! });
    at += length;
  }
}

/** The names of the directories in the directory `path`. */
export function directoriesIn(path: string, from = AT_FDCWD): string[] | number {
  const directory = openDirectory(path, from);
  if (directory < 0) return directory;
  const entries = readEntries(directory);
  close(directory);
  if (typeof entries === "number") return entries;
  return entries.filter((entry) => entry.type === DT_DIR).map((entry) => entry.name);
}

/**
 * Removes `name` with all below it, on descriptors, never through a symbolic link nor into another mount (EXDEV).
 * Entries that vanish meanwhile are fine. Returns 0 or the first negative errno.
 */
export function removeTree(name: string, from: number): number {
  const ENOENT = -errnoNumber("ENOENT");
  const how = new BigUint64Array([
    BigInt(O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW),
    0n,
    BigInt(RESOLVE_NO_XDEV),
  ]);
  const directory = sys("openat2", from, name, how, 24);
  if (directory === ENOENT) return 0;
  if (directory === -errnoNumber("EXDEV")) return directory;
  if (directory < 0) return ignoring(ENOENT, sys("unlinkat", from, name, 0));
  const entries = readEntries(directory);
  let failed = typeof entries === "number" ? entries : 0;
  if (typeof entries !== "number") {
    for (const entry of entries) {
      const gone =
        entry.type === DT_DIR
          ? removeTree(entry.name, directory)
          : ignoring(ENOENT, sys("unlinkat", directory, entry.name, 0));
      if (gone < 0 && failed === 0) failed = gone;
    }
  }
  close(directory);
  if (failed < 0) return failed;
  return ignoring(ENOENT, sys("unlinkat", from, name, AT_REMOVEDIR));
}

function ignoring(errno: number, result: number): number {
  return result === errno ? 0 : result;
}

/** Sleeps (ppoll(2) without descriptors; a signal ends it early). */
export function sleep(milliseconds: number): void {
  sys("ppoll", 0, 0, timespec(milliseconds * 1e6), 0, 0);
}
