import { errnoName, errnoText } from "../abi/errno.ts";
import { AT_FDCWD, O_CLOEXEC } from "../abi/fcntl.ts";
import { chooseCgroupManager } from "../cgroup/choose.ts";
import type { Globals } from "../cli/options.ts";
import { TsrunError } from "../errors.ts";
import { readFacts } from "../host/read-facts.ts";
import { readText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { cleanPath } from "../plan/paths.ts";
import { parseConfig } from "../spec/load.ts";
import type { Config } from "../spec/types.ts";
import { stateRoot } from "../state/root.ts";
import type { CreateRequest } from "./create.ts";
import { listenFds } from "./listen-fds.ts";

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

/** Reads the bundle and this machine. Throws before anything is made. */
export function createRequest(
  id: string,
  options: CreateOptions,
  globals: Globals,
  warn: (message: string) => void,
): Omit<CreateRequest, "waitsForStart"> {
  const bundle = absolutePath(options.bundle);
  const { config, text } = readConfig(bundle, options.config, warn);
  const passed = listenFds(config);
  const preserveFds = options.preserveFds + passed.count;
  checkPreserved(preserveFds);
  return {
    root: stateRoot(globals.root),
    id,
    bundle,
    config,
    configText: text,
    facts: readFacts(),
    cgroupManager: chooseCgroupManager(globals),
    mayGoWithoutCgroup: globals.rootless === "true" || (globals.rootless === "auto" && sys("geteuid") !== 0),
    noPivot: options.noPivot,
    noNewKeyring: options.noNewKeyring,
    preserveFds,
    console: options.consoleSocket,
    pidfdSocket: options.pidfdSocket,
    extraEnv: passed.env,
    stdio: stdioToOwn(),
    warn,
  };
}

/** From the working directory, without "." and ".." components: it ends up in state.json and in hooks' hands. */
export function absolutePath(path: string): string {
  return cleanPath(path.startsWith("/") ? path : `${process.cwd()}/${path}`);
}

/** config.json of the bundle, or the file of --config, checked. */
export function readConfig(
  bundle: string,
  file: string | undefined,
  warn: (message: string) => void,
): { config: Config; text: string } {
  const path = file === undefined ? `${bundle}/config.json` : absolutePath(file);
  const text = readText(path);
  if (typeof text === "number") throw unreadable(path, bundle, file, -text);
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

/** What is promised to the container must be there: a missing descriptor would be somebody else's in a moment. */
export function checkPreserved(count: number): void {
  const F_GETFD = 1;
  for (let fd = 3; fd < 3 + count; fd++) {
    if (sys("fcntl", fd, F_GETFD) >= 0) continue;
    throw new TsrunError(`cannot preserve descriptor ${fd}: it is not open (--preserve-fds)`, { code: "EBADF" });
  }
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

/** The process id in decimal without a newline, as containerd reads it; appears as a whole or not at all. */
export function writePidFile(path: string, pid: number): void {
  const O_WRONLY_CREAT_TRUNC = 1 | 0o100 | 0o1000;
  const temporary = `${path}.${sys("getpid")}`;
  const fd = sys("openat", AT_FDCWD, temporary, O_WRONLY_CREAT_TRUNC | O_CLOEXEC, 0o644);
  const text = String(pid);
  const written = fd < 0 ? fd : sys("write", fd, text, text.length);
  if (fd >= 0) sys("close", fd);
  const result = written < 0 ? written : sys("renameat2", AT_FDCWD, temporary, AT_FDCWD, path, 0);
  if (result < 0) {
    const message = `cannot write the process id to "${path}": ${errnoText(-result)} (--pid-file)`;
    throw new TsrunError(message, { code: errnoName(-result) });
  }
}
