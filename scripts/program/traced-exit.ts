/** Programs that are stopped when they end, with all of their memory still there (ptrace(2)). */
import { dlopen, FFIType, ptr } from "bun:ffi";
import { readFileSync } from "node:fs";

const PTRACE_CONT = 7;
const PTRACE_DETACH = 17;
const PTRACE_GETEVENTMSG = 0x4201;
const PTRACE_GETSIGINFO = 0x4202;
const PTRACE_SEIZE = 0x4206;
const PTRACE_O_TRACEEXIT = 0x40;
const PTRACE_EVENT_EXIT = 6;
const SIGTRAP = 5;

/** Until a command has come to its end. */
const PATIENCE_MS = 20_000;

/**
 * Runs a command, its output into `log`, calls `look` with its process id when it is about to end with status 0, and lets it end.
 * Returns undefined where it fails.
 *
 * @throws Error where no process may trace another, or where it does not end.
 */
export function atExit<T>(command: readonly string[], log: string, look: (pid: number) => T): T | undefined {
  const output = Bun.file(log);
  // Waits to be traced before it becomes the command.
  const line = ["/bin/sh", "-c", 'read -r _ && exec "$0" "$@" </dev/null', ...command];
  const child = Bun.spawn(line, { stdio: ["pipe", output, output], env: {} });
  try {
    if (trace(PTRACE_SEIZE, child.pid, PTRACE_O_TRACEEXIT) !== 0) throw new Error(`cannot trace process ${child.pid}`);
    child.stdin.write("\n");
    child.stdin.flush();
    waitForExit(child.pid);
    // As wait(2) will say it.
    const status = new BigUint64Array(1);
    trace(PTRACE_GETEVENTMSG, child.pid, ptr(status));
    const result = status[0] === 0n ? look(child.pid) : undefined;
    trace(PTRACE_DETACH, child.pid, 0);
    return result;
  } finally {
    child.kill("SIGKILL");
  }
}

const { i64 } = FFIType;
const libc = dlopen("libc.so.6", { ptrace: { args: [i64, i64, i64, i64], returns: i64 } }).symbols;

function trace(request: number, pid: number, data: number): number {
  return Number(libc.ptrace(request, pid, 0, data));
}

/** What is traced stops at every signal, too: it goes on with it. */
function waitForExit(pid: number): void {
  const siginfo = new Int32Array(32);
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; Bun.sleepSync(1)) {
    if (stateOf(pid) !== "t") continue;
    trace(PTRACE_GETSIGINFO, pid, ptr(siginfo));
    const [signal, , code] = siginfo;
    if (code === ((PTRACE_EVENT_EXIT << 8) | SIGTRAP)) return;
    trace(PTRACE_CONT, pid, signal!);
  }
  throw new Error(`process ${pid} does not come to its end`);
}

/** See proc_pid_stat(5). */
function stateOf(pid: number): string | undefined {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  return text[text.lastIndexOf(")") + 2];
}
