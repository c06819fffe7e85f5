import { errnoName, errnoText } from "../abi/errno.ts";
import { AT_FDCWD, O_CLOEXEC, O_CREAT, O_NOFOLLOW, O_TRUNC, O_WRONLY } from "../abi/fcntl.ts";
import { chooseCgroupManager, systemdInstance } from "../cgroup/choose.ts";
import type { Globals } from "../cli/options.ts";
import { TsrunError } from "../errors.ts";
import type { HostFacts } from "../host/facts.ts";
import { readFacts } from "../host/read-facts.ts";
import { readText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { stage } from "../kernel/trace.ts";
import { cleanPath } from "../plan/paths.ts";
import { parseConfig } from "../spec/load.ts";
import type { Config } from "../spec/types.ts";
import { stateRoot } from "../state/root.ts";
import { textOf } from "../text.ts";
import { checkAgainstHost, checkWithoutRoot } from "./check-host.ts";
import type { CreateRequest } from "./create.ts";
import { listenFds } from "./listen-fds.ts";
import { NOTIFY_VARIABLE, notifyMount } from "./notify.ts";

/** The options that create and run have in common. */
export interface CreateOptions {
  readonly bundle: string;
  readonly config?: string | undefined;
  readonly consoleSocket?: string | undefined;
  readonly pidfdSocket?: string | undefined;
  readonly noPivot: boolean;
  readonly noNewKeyring: boolean;
  readonly preserveFds: number;
}

/** Reads the bundle and this machine. Throws before anything is made. `trial`: nothing will be made, see chooseCgroupManager. */
export function createRequest(
  id: string,
  options: CreateOptions,
  globals: Globals,
  warn: (message: string) => void,
  trial = false,
): Omit<CreateRequest, "waitsForStart"> {
  const bundle = absolutePath(options.bundle);
  const { config, text } = readConfig(bundle, options.config, warn);
  stage("look at the machine");
  checkAgainstHost(config);
  const passed = listenFds(config);
  const root = stateRoot(globals.root);
  const notifies = (process.env.NOTIFY_SOCKET ?? "") !== "";
  const preserveFds = options.preserveFds + passed.count;
  const facts = readFacts();
  if (!trial) checkWithoutRoot(config, facts);
  const instance = systemdInstance(globals.rootless, facts.euid, facts.inUserNamespace);
  preserveDescriptors(preserveFds);
  return {
    root,
    id,
    bundle,
    config: notifies ? { ...config, mounts: [...(config.mounts ?? []), notifyMount(`${root}/${id}`)] } : config,
    configText: text,
    facts,
    cgroupManager: chooseCgroupManager(globals, instance, trial),
    mayGoWithoutCgroup: mayGoWithoutCgroup(globals.rootless, facts),
    noPivot: options.noPivot,
    noNewKeyring: options.noNewKeyring,
    preserveFds,
    console: options.consoleSocket,
    pidfdSocket: options.pidfdSocket,
    extraEnv: notifies ? [...passed.env, NOTIFY_VARIABLE] : passed.env,
    notifies,
    stdio: stdioToOwn(),
    warn,
  };
}

/** Root of a user namespace is an ordinary user of the machine, whose cgroups are not to be had as a rule. */
export function mayGoWithoutCgroup(rootless: string, { euid, inUserNamespace }: HostFacts): boolean {
  return rootless === "true" || (rootless === "auto" && (euid !== 0 || inUserNamespace));
}

/** From the working directory, without "." and ".." components: it ends up in state.json and in hooks' hands. */
export function absolutePath(path: string): string {
  return cleanPath(path.startsWith("/") ? path : `${workingDirectory()}/${path}`);
}

/** getcwd(2) counts the NUL at the end. */
function workingDirectory(): string {
  const PATH_MAX = 4096;
  const buffer = new Uint8Array(PATH_MAX);
  const length = sys("getcwd", buffer, PATH_MAX);
  if (length > 0) return textOf(buffer.subarray(0, length - 1));
  throw new TsrunError(`cannot find the working directory: ${errnoText(-length)}`, { code: errnoName(-length) });
}

/** config.json of the bundle, or the file of --config, checked. */
export function readConfig(
  bundle: string,
  file: string | undefined,
  warn: (message: string) => void,
): { config: Config; text: string } {
  const path = file === undefined ? `${bundle}/config.json` : absolutePath(file);
  stage("read config.json");
  const text = readText(path);
  if (typeof text === "number") throw unreadable(path, bundle, file, -text);
  stage("parse and check config.json");
  const { config, warnings } = parseConfig(text, file ?? "config.json");
  for (const warning of warnings) warn(warning);
  return { config, text };
}

function unreadable(path: string, bundle: string, file: string | undefined, errno: number): TsrunError {
  const code = errnoName(errno);
  if (code === "ENOENT" && file === undefined && sys("faccessat2", AT_FDCWD, bundle, 0, 0) === 0) {
    return new TsrunError(`JSON specification file config.json not found in "${bundle}"`, {
      code,
      hint: "tsrun spec writes one to start from",
    });
  }
  return new TsrunError(`cannot read "${path}": ${errnoText(errno)}`, { code, step: "openat" });
}

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
