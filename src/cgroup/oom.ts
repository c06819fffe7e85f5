import { errnoName, errnoText } from "../abi/errno.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDONLY } from "../abi/fcntl.ts";
import { TsrunError } from "../errors.ts";
import { close, readText, writeText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { textOf } from "../text.ts";

/** Where the kernel counts the processes that it has killed for want of memory. */
interface OomCounter {
  readonly version: 1 | 2;
  /** Absolute directory of the cgroup. */
  readonly path: string;
  readonly file: string;
}

/** v1: memory.oom_control (a count since Linux 4.13); v2: memory.events, with all cgroups below. */
function counterOf(cgroupPaths: Readonly<Record<string, string>>): OomCounter | undefined {
  const paths = new Map(Object.entries(cgroupPaths));
  const v1 = paths.get("memory");
  if (v1 !== undefined) return { version: 1, path: v1, file: "memory.oom_control" };
  const v2 = paths.get("");
  return v2 === undefined ? undefined : { version: 2, path: v2, file: "memory.events" };
}

/** How many processes of the container the kernel has killed for want of memory; undefined where nobody counts. */
export function readOomKills(cgroupPaths: Readonly<Record<string, string>>): number | undefined {
  const counter = counterOf(cgroupPaths);
  return counter === undefined ? undefined : readCounter(counter);
}

/** Whether anything in the container has ever come to its limit of memory, and may have been refused some. */
export function hasReachedLimit(cgroupPaths: Readonly<Record<string, string>>): boolean {
  const counter = counterOf(cgroupPaths);
  if (counter === undefined) return false;
  if (counter.version === 1) return Number(readText(`${counter.path}/memory.failcnt`)) > 0;
  // A limit that is set below what is in use counts as the second only.
  return ["max", "oom"].some((name) => Number(readCounter(counter, name)) > 0);
}

function readCounter({ path, file }: OomCounter, name = "oom_kill"): number | undefined {
  const text = readText(`${path}/${file}`);
  if (typeof text === "number") return undefined;
  const found = new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
}

/**
 * Whether the kernel says in its log, from now on, that it has killed in these cgroups. systemd removes the cgroup of a
 * scope in the moment in which its last process ends, and the counter with it; the log remains. Undefined where the log
 * cannot be read (syslog(2): CAP_SYSLOG). The descriptor ends with the process.
 */
export function watchKernelLog(cgroupPaths: Readonly<Record<string, string>>): (() => boolean) | undefined {
  const O_NONBLOCK = 0o4000;
  const SEEK_END = 2;
  const path = counterOf(cgroupPaths)?.path;
  const log = sys("openat", AT_FDCWD, "/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
  if (path === undefined || log < 0) return undefined;
  sys("lseek", log, 0, SEEK_END);
  return () => isKilledIn(path, recordsOf(log));
}

/** One record a read(2), the newest last; EPIPE says that some were overwritten before they were read. */
function* recordsOf(log: number): Generator<string> {
  const EPIPE = 32;
  const buffer = new Uint8Array(8192);
  for (;;) {
    const length = sys("read", log, buffer, buffer.length);
    if (length === -EPIPE) continue;
    if (length <= 0) return;
    yield textOf(buffer.subarray(0, length));
  }
}

/**
 * Kernel: mm/oom_kill.c, dump_oom_victim: `oom-kill:constraint=…,task_memcg=/a/b,task=…`, the path from the root of the
 * hierarchy, that of the cgroup or one below. `directory` is where that is mounted, and the path.
 */
export function isKilledIn(directory: string, records: Iterable<string>): boolean {
  const name = directory.slice(directory.lastIndexOf("/"));
  for (const record of records) {
    const memcg = /;oom-kill:.*,task_memcg=(\/[^,]*),task=/.exec(record)?.[1];
    const at = memcg === undefined ? -1 : `${memcg}/`.indexOf(`${name}/`);
    if (at >= 0 && directory.endsWith(memcg!.slice(0, at + name.length))) return true;
  }
  return false;
}

/** Tells when a container is out of memory. */
export interface OomWatch {
  /** Readable when something may have happened; negative where the container has no memory controller. */
  readonly fd: number;
  /** Takes what made `fd` readable. True when the container was out of memory, once for what happened in one go. */
  readonly take: () => boolean;
}

/**
 * Both descriptors that this opens end with the process. v1 says that the limit was hit, whether or not a process had to
 * die; v2 says so whenever a process was killed.
 */
export function watchOom(cgroupPaths: Readonly<Record<string, string>>): OomWatch {
  const counter = counterOf(cgroupPaths);
  const exists = counter !== undefined && sys("faccessat2", AT_FDCWD, `${counter.path}/${counter.file}`, 0, 0) === 0;
  if (counter === undefined || !exists) return { fd: -1, take: () => false };
  return counter.version === 1 ? watchV1(counter) : watchV2(counter);
}

/** Kernel: admin-guide/cgroup-v1/memory.rst, section 9.4. The eventfd also counts when the cgroup is removed. */
function watchV1({ path, file }: OomCounter): OomWatch {
  const EFD_CLOEXEC_NONBLOCK = 0o2004000;
  const fd = must(sys("eventfd2", 0, EFD_CLOEXEC_NONBLOCK), path);
  const control = must(sys("openat", AT_FDCWD, `${path}/${file}`, O_RDONLY | O_CLOEXEC, 0), path);
  must(writeText(`${path}/cgroup.event_control`, `${fd} ${control}`), path);
  close(control);
  return {
    fd,
    take: () => {
      const happened = sys("read", fd, new BigUint64Array(1), 8) === 8;
      return happened && sys("faccessat2", AT_FDCWD, `${path}/cgroup.event_control`, 0, 0) === 0;
    },
  };
}

/** Kernel: admin-guide/cgroup-v2.rst, memory.events: a change makes a file modified event. */
function watchV2(counter: OomCounter): OomWatch {
  const IN_CLOEXEC_NONBLOCK = 0o2004000;
  const IN_MODIFY = 2;
  const fd = must(sys("inotify_init1", IN_CLOEXEC_NONBLOCK), counter.path);
  must(sys("inotify_add_watch", fd, `${counter.path}/${counter.file}`, IN_MODIFY), counter.path);
  let seen = readCounter(counter) ?? 0;
  const events = new Uint8Array(4096);
  return {
    fd,
    take: () => {
      while (sys("read", fd, events, events.length) > 0);
      const now = readCounter(counter) ?? seen;
      const happened = now > seen;
      seen = now;
      return happened;
    },
  };
}

function must(result: number, path: string): number {
  if (result >= 0) return result;
  throw new TsrunError(`cannot watch for want of memory in cgroup "${path}": ${errnoText(-result)}`, {
    code: errnoName(-result),
  });
}
