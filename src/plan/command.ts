import type { ErrnoName } from "../abi/errno.ts";
import { AT_FDCWD } from "../abi/fcntl.ts";
import { CLOSE_RANGE_CLOEXEC, UINT_MAX } from "../abi/prctl.ts";
import type { Process } from "../spec/types.ts";
import { labelRefusals } from "./labels.ts";
import { add, addAll, CAUSE, label, numberedSlot, type Program, place, strings } from "./step.ts";

const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** The variables with duplicates removed, the last of a name wins, in the order of the first (runc's rule). */
export function mergeEnvironment(env: readonly string[]): string[] {
  const values = new Map<string, string>();
  for (const variable of env) {
    const equals = variable.indexOf("=");
    values.set(variable.slice(0, equals), variable.slice(equals + 1));
  }
  return [...values].map(([name, value]) => `${name}=${value}`);
}

/** The value of a variable; undefined when it is not set. */
export function environmentValue(env: readonly string[], name: string): string | undefined {
  return env.findLast((variable) => variable.startsWith(`${name}=`))?.slice(name.length + 1);
}

/** The environment of a process; `home` is what HOME becomes when it is not set, or empty (runc's rule). */
export function processEnvironment(process: Process, extra: readonly string[], home: () => string): string[] {
  const env = mergeEnvironment([...(process.env ?? []), ...extra]);
  return hasHome(env) ? env : mergeEnvironment([...env, `HOME=${home()}`]);
}

/** True when nobody needs to look for HOME. */
export function hasHome(env: readonly string[]): boolean {
  return (environmentValue(env, "HOME") ?? "") !== "";
}

/** Where the program may lie: itself when it names a path, else in each directory of the process's own PATH. */
export function candidates(process: Process): string[] {
  const program = process.args[0]!;
  if (program.includes("/")) return [program];
  const path = environmentValue(process.env ?? [], "PATH") ?? DEFAULT_PATH;
  return path.split(":").map((directory) => (directory === "" ? `./${program}` : `${directory}/${program}`));
}

/**
 * Looks the program up as the user who will run it, so that create fails where start would: an executable file that is
 * no directory. The texts are those that engines turn into exit status 126 and 127.
 */
export function planLookup(program: Program, process: Process, pointer: string): void {
  const name = JSON.stringify(process.args[0]);
  const isPath = process.args[0]!.includes("/");
  const found = label();
  const where = `${pointer}/args/0`;
  for (const path of candidates(process)) {
    const next = label();
    const what = `find ${name}`;
    addAll(program, [
      {
        call: "faccessat2",
        args: [AT_FDCWD, path, X_OK, AT_EACCESS],
        tolerate: isPath ? [] : ["ENOENT", "ENOTDIR", "EACCES", "ELOOP", "ENAMETOOLONG"],
        onTolerated: next,
        what,
        pointer: where,
        says: {
          ENOENT: `exec: ${name}: stat ${path}: no such file or directory`,
          ENOTDIR: `exec: ${name}: stat ${path}: not a directory`,
          "*": `exec: ${name}: ${CAUSE}`,
        },
      },
      // Searching a directory counts as executing it: only a directory has an entry ".".
      {
        call: "faccessat2",
        args: [AT_FDCWD, `${path}/.`, F_OK, AT_EACCESS],
        tolerate: ["ENOTDIR"],
        onTolerated: found,
        onZero: next,
        what,
        pointer: where,
      },
    ]);
    place(program, next);
  }
  add(program, {
    call: "close",
    args: [-1],
    what: `find ${name}`,
    pointer: where,
    // Docker before version 24 and podman give exit code 126 for "permission denied", and know no directories.
    says: {
      "*": isPath
        ? `exec: ${name}: is a directory: permission denied`
        : `exec: ${name}: executable file not found in $PATH`,
    },
  });
  place(program, found);
}

const X_OK = 1;
const F_OK = 0;
const AT_EACCESS = 0x200;

/**
 * Every descriptor that the process must not have is closed by execve itself, at the same moment at which the agent ceases
 * to exist.
 */
export function planCloseOnExec(program: Program, preserveFds: number): void {
  add(program, {
    call: "close_range",
    args: [3 + preserveFds, UINT_MAX, CLOSE_RANGE_CLOEXEC],
    what: "close what the process must not have",
  });
}

/** The end. `isMute`: the process cannot tell why this fails, for a seccomp filter keeps it from writing. */
export function planExecve(
  program: Program,
  process: Process,
  env: readonly string[],
  pointer: string,
  isMute = false,
): void {
  const name = process.args[0]!;
  const argv = strings(process.args);
  const envp = strings(env);
  const paths = candidates(process);
  for (const [i, path] of paths.entries()) {
    const isLast = i === paths.length - 1;
    const failed = name.includes("/") ? `exec ${path}` : `exec: ${JSON.stringify(name)}`;
    add(program, {
      call: "execve",
      args: [path, argv, envp],
      tolerate: isMute ? EXECVE_ERRORS : isLast ? [] : ["ENOENT", "ENOTDIR", "EACCES"],
      what: `execute ${JSON.stringify(path)}`,
      pointer: `${pointer}/args`,
      says: { ...labelRefusals(process, failed), "*": `${failed}: ${CAUSE}` },
    });
  }
  if (isMute) planMuteEnd(program);
}

/** What execve(2) lists, and what filters usually say. */
const EXECVE_ERRORS: readonly ErrnoName[] =
  "E2BIG EACCES EAGAIN EINVAL EIO EISDIR ELIBBAD ELOOP EMFILE ENAMETOOLONG ENFILE ENOENT ENOEXEC ENOMEM ENOSYS ENOTDIR EPERM ETXTBSY".split(
    " ",
  ) as ErrnoName[];

/** As a shell does it. Where even that is denied, the result has nowhere to go to, and SIGSEGV is the end. */
function planMuteEnd(program: Program): void {
  const COMMAND_NOT_EXECUTED = 126;
  const nowhere = numberedSlot("nowhere", 2 ** 24);
  add(program, { call: "exit_group", args: [COMMAND_NOT_EXECUTED], into: nowhere, what: "end without a word" });
}
