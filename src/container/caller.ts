/** What the caller of tsrun hands over, and what it gets back: descriptors, and the file with the process id. */
import { errnoName, errnoText } from "../abi/errno.ts";
import { AT_FDCWD, O_CLOEXEC, O_CREAT, O_NOFOLLOW, O_TRUNC, O_WRONLY } from "../abi/fcntl.ts";
import { TsrunError } from "../errors.ts";
import { sys } from "../kernel/kernel.ts";
import { textOf } from "../text.ts";

/**
 * What is promised to the container must be there: a missing descriptor would be somebody else's in a moment. Bun has
 * made all from 4 on close-on-exec; 3 is the caller's own affair when it is not promised.
 */
export function preserveDescriptors(count: number): void {
  const F_SETFD = 2;
  const FD_CLOEXEC = 1;
  if (count === 0) sys("fcntl", 3, F_SETFD, FD_CLOEXEC);
  for (let fd = 3; fd < 3 + count; fd++) {
    if (!isOfBun(fd) && sys("fcntl", fd, F_SETFD, 0) === 0) continue;
    throw new TsrunError(`cannot preserve descriptor ${fd}: it is not open (--preserve-fds)`, { code: "EBADF" });
  }
}

/** The first descriptor that Bun opens for itself takes the lowest free number: a gap in what the caller gave. */
function isOfBun(fd: number): boolean {
  const buffer = new Uint8Array(64);
  const length = sys("readlinkat", AT_FDCWD, `/proc/self/fd/${fd}`, buffer, buffer.length);
  return length > 0 && textOf(buffer.subarray(0, length)) === "anon_inode:[eventpoll]";
}

/**
 * Which of 0, 1 and 2 the process may be given: pipes, sockets and files of the caller, but no device, which belongs to
 * the host (/dev/null).
 */
export function stdioToOwn(): number[] {
  const AT_EMPTY_PATH = 0x1000;
  const STATX_TYPE = 1;
  const S_IFMT = 0o170000;
  const S_IFCHR = 0o020000;
  const buffer = new Uint8Array(256);
  const view = new DataView(buffer.buffer);
  return [0, 1, 2].filter((fd) => {
    if (sys("statx", fd, "", AT_EMPTY_PATH, STATX_TYPE, buffer) < 0) return false;
    return (view.getUint16(0x1c, true) & S_IFMT) !== S_IFCHR;
  });
}

/** Calls `rest` when the pid file is written, and removes that again when `rest` fails: it names a process that runs. */
export function withPidFile(path: string | undefined, pid: number, rest: () => void): void {
  if (path === undefined) {
    rest();
    return;
  }
  writePidFile(path, pid);
  try {
    rest();
  } catch (error) {
    sys("unlinkat", AT_FDCWD, path, 0);
    throw error;
  }
}

/** The process id in decimal without a newline, as containerd reads it; appears as a whole or not at all. */
function writePidFile(path: string, pid: number): void {
  const temporary = `${path}.${sys("getpid")}`;
  const fd = sys("openat", AT_FDCWD, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o644);
  const text = String(pid);
  const written = fd < 0 ? fd : sys("write", fd, text, text.length);
  if (fd >= 0) sys("close", fd);
  const result = written < 0 ? written : sys("renameat2", AT_FDCWD, temporary, AT_FDCWD, path, 0);
  if (result < 0) {
    if (fd >= 0) sys("unlinkat", AT_FDCWD, temporary, 0);
    const message = `cannot write the process id to "${path}": ${errnoText(-result)} (--pid-file)`;
    throw new TsrunError(message, { code: errnoName(-result) });
  }
}
