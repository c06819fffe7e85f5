import { errnoName, errnoText } from "../abi/errno.ts";
import {
  AT_FDCWD,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
} from "../abi/fcntl.ts";
import { propertyOf, TsrunError } from "../errors.ts";
import { close, readEntries } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import type { CopyUp, PlanContext } from "../plan/context.ts";

/**
 * tmpcopyup: what the directory under a new tmpfs held appears in the tmpfs. tsrun copies, on descriptors that it takes
 * from the init (pidfd_getfd(2)): every name is opened in the descriptor of its directory and no symlink is followed, so
 * nobody who writes there meanwhile can lead it elsewhere.
 */
export function performCopies(plan: PlanContext): void {
  if (plan.copies.length === 0) return;
  const pidfd = sys("pidfd_open", plan.initPid.value!, 0);
  for (const copy of plan.copies) {
    const from = takeDirectory(pidfd, copy.from.value!, copy);
    const to = takeDirectory(pidfd, copy.to.value!, copy);
    copyEntries(from, to, copy);
    copyTopAttributes(from, to, copy);
    close(from);
    close(to);
  }
  close(pidfd);
}

/** The init's descriptor is O_PATH: "." in it is the directory to read. */
function takeDirectory(pidfd: number, fd: number, copy: CopyUp): number {
  const path = must(sys("pidfd_getfd", pidfd, fd, 0), copy, "take a descriptor of the container's init");
  const directory = must(sys("openat", path, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0), copy, "open the directory");
  close(path);
  return directory;
}

function copyEntries(from: number, to: number, copy: CopyUp): void {
  const entries = readEntries(from);
  if (typeof entries === "number") throw fault(entries, copy, "read the directory");
  for (const { name } of entries) copyEntry(from, to, name, copy);
}

const EEXIST = 17;
const ESTALE = 116;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

function copyEntry(from: number, to: number, name: string, copy: CopyUp): void {
  const stat = statOf(from, name, copy);
  const type = stat.mode & S_IFMT;
  if (type === S_IFDIR) copyDirectory(from, to, name, copy);
  else if (type === S_IFREG) copyFile(from, to, name, copy);
  else if (type === S_IFLNK) {
    copyLink(from, to, name, copy);
    copyAttributes(stat, to, name, copy);
  } else {
    must(sys("mknodat", to, name, stat.mode, stat.rdev), copy, `make ${JSON.stringify(name)}`);
    copyAttributes(stat, to, name, copy);
  }
}

function copyDirectory(from: number, to: number, name: string, copy: CopyUp): void {
  // It may exist already: as a mount point that was made for a later mount.
  const made = sys("mkdirat", to, name, 0o700);
  if (made !== -EEXIST) must(made, copy, `make ${JSON.stringify(name)}`);
  const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  const source = must(sys("openat", from, name, flags, 0), copy, `open ${JSON.stringify(name)}`);
  const target = must(sys("openat", to, name, flags, 0), copy, `open ${JSON.stringify(name)}`);
  copyEntries(source, target, copy);
  copyAttributes(statOf(source, "", copy), to, name, copy);
  close(source);
  close(target);
}

/** Owner and mode are those of the file whose content it is, not of what has its name by then. */
function copyFile(from: number, to: number, name: string, copy: CopyUp): void {
  const CHUNK = 1 << 20;
  const source = openFile(from, name, copy);
  const flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
  const target = must(sys("openat", to, name, flags, 0o600), copy, `make ${JSON.stringify(name)}`);
  // sendfile(2), not copy_file_range(2): between file systems the latter needs Linux 5.19.
  while (must(sys("sendfile", target, source, 0, CHUNK), copy, `copy ${JSON.stringify(name)}`) > 0);
  copyAttributes(statOf(source, "", copy), to, name, copy);
  close(source);
  close(target);
}

/**
 * Who writes to the directory may have put a FIFO in the file's place, at which an open would wait for ever, or a device,
 * which tsrun may open where the writer may not: nothing is opened before it is known to be a file.
 */
function openFile(from: number, name: string, copy: CopyUp): number {
  const opening = `open ${JSON.stringify(name)}`;
  const found = must(sys("openat", from, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0), copy, opening);
  if ((statOf(found, "", copy).mode & S_IFMT) !== S_IFREG) throw fault(-ESTALE, copy, opening);
  const file = must(sys("openat", AT_FDCWD, `/proc/self/fd/${found}`, O_RDONLY | O_CLOEXEC, 0), copy, opening);
  close(found);
  return file;
}

function copyLink(from: number, to: number, name: string, copy: CopyUp): void {
  const target = new Uint8Array(4097);
  const length = must(sys("readlinkat", from, name, target, 4096), copy, `read ${JSON.stringify(name)}`);
  const bytes = target.subarray(0, length + 1);
  bytes[length] = 0;
  must(sys("symlinkat", bytes, to, name), copy, `make ${JSON.stringify(name)}`);
}

/** Owner, mode and times; a symlink has no mode of its own. */
function copyAttributes({ mode, uid, gid, times }: Stat, to: number, name: string, copy: CopyUp): void {
  const AT_SYMLINK_NOFOLLOW = 0x100;
  must(sys("fchownat", to, name, uid, gid, AT_SYMLINK_NOFOLLOW), copy, `set the owner of ${JSON.stringify(name)}`);
  const isLink = (mode & S_IFMT) === S_IFLNK;
  if (!isLink) must(sys("fchmodat", to, name, mode & 0o7777), copy, `set the mode of ${JSON.stringify(name)}`);
  must(sys("utimensat", to, name, times, AT_SYMLINK_NOFOLLOW), copy, "set the times");
}

/** Of the directory itself, as far as the options of the mount do not say otherwise. */
function copyTopAttributes(from: number, to: number, copy: CopyUp): void {
  const AT_EMPTY_PATH = 0x1000;
  const KEEP = -1;
  const { mode, uid, gid } = statOf(from, "", copy);
  const owner = [copy.asked.includes("uid") ? KEEP : uid, copy.asked.includes("gid") ? KEEP : gid] as const;
  must(sys("fchownat", to, "", ...owner, AT_EMPTY_PATH), copy, "set the owner");
  if (!copy.asked.includes("mode")) must(sys("fchmod", to, mode & 0o7777), copy, "set the mode");
}

interface Stat {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** As mknod(2) takes it. */
  readonly rdev: number;
  /** Two struct timespec: access, modification. */
  readonly times: BigUint64Array;
}

/** statx(2), whose struct is the same on every architecture. */
function statOf(directory: number, name: string, copy: CopyUp): Stat {
  const AT_EMPTY_PATH_NOFOLLOW = 0x1100;
  const STATX_BASIC_STATS = 0x7ff;
  const buffer = new Uint8Array(256);
  const view = new DataView(buffer.buffer);
  must(sys("statx", directory, name, AT_EMPTY_PATH_NOFOLLOW, STATX_BASIC_STATS, buffer), copy, "stat");
  const time = (at: number) => [view.getBigUint64(at, true), BigInt(view.getUint32(at + 8, true))];
  const major = view.getUint32(0x80, true);
  const minor = view.getUint32(0x84, true);
  return {
    mode: view.getUint16(0x1c, true),
    uid: view.getUint32(0x14, true),
    gid: view.getUint32(0x18, true),
    rdev: ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) << 12)) >>> 0,
    times: BigUint64Array.from([...time(0x40), ...time(0x70)]),
  };
}

function must(result: number, copy: CopyUp, what: string): number {
  if (result >= 0) return result;
  throw fault(result, copy, what);
}

function fault(result: number, { destination, pointer }: CopyUp, what: string): TsrunError {
  const message = `cannot copy "${destination}" to its tmpfs: ${what}: ${errnoText(-result)} (${propertyOf(pointer)})`;
  return new TsrunError(message, { code: errnoName(-result), step: "tmpcopyup", pointer });
}
