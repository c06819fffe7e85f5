import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants as osConstants } from "node:os";
import { slow } from "./time.ts";

export interface Result {
  readonly argv: readonly string[];
  /** Exit status; 128 + number when a signal ended it, -1 when the time limit did. */
  readonly status: number;
  /** A signal ended the command itself; what it runs may hand on such a status too. */
  readonly signalled: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** Text for standard input; nothing (/dev/null) where absent. */
  readonly stdin?: string;
  /** Milliseconds, on a machine of usual speed. */
  readonly limit?: number;
}

export const PLAIN_ENV: Record<string, string> = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  ...(process.env.COLD === "1" ? { BUN_COLD: "1" } : {}),
};

/**
 * Runs a program to its end. Output goes to files, not pipes: a container that `create` leaves behind holds its
 * standard output, and a pipe would only end when the container does.
 */
export function command(argv: readonly string[], options: CommandOptions = {}): Result {
  const files = outputFiles(options.stdin);
  try {
    const done = Bun.spawnSync({
      cmd: [...argv],
      cwd: options.cwd ?? "/",
      env: options.env ?? PLAIN_ENV,
      stdin: files.stdin,
      stdout: files.stdout,
      stderr: files.stderr,
      timeout: slow(options.limit ?? 10_000),
      killSignal: "SIGKILL",
    });
    return { argv, status: statusOf(done), signalled: isSignalled(done), ...files.read() };
  } finally {
    files.close();
  }
}

export interface Running {
  readonly pid: number;
  kill(signal: NodeJS.Signals): void;
  /** Waits for the end; kills it after `limit` milliseconds. */
  finish(limit?: number): Promise<Result>;
}

/** Starts a program that the test goes on beside. */
export function commandBeside(argv: readonly string[], options: CommandOptions = {}): Running {
  const files = outputFiles(options.stdin);
  const child = Bun.spawn({
    cmd: [...argv],
    cwd: options.cwd ?? "/",
    env: options.env ?? PLAIN_ENV,
    stdin: files.stdin,
    stdout: files.stdout,
    stderr: files.stderr,
  });
  const finish = async (limit = 10_000): Promise<Result> => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, slow(limit));
    await child.exited;
    clearTimeout(timer);
    const output = files.read();
    files.close();
    return { argv, status: late ? -1 : statusOf(child), signalled: isSignalled(child), ...output };
  };
  return { pid: child.pid, kill: (signal) => child.kill(signal), finish };
}

/** What a result looks like in a failed test. */
export function describeResult(result: Result): string {
  return `${result.argv.join(" ")}\nexit status ${result.status}\nstdout: ${result.stdout}\nstderr: ${result.stderr}`;
}

interface Ended {
  readonly exitCode: number | null | undefined;
  /** A number where the signal has no name: the real-time ones. */
  readonly signalCode?: string | number | null | undefined;
  readonly exitedDueToTimeout?: boolean | undefined;
}

function isSignalled({ exitCode }: Ended): boolean {
  return typeof exitCode !== "number";
}

function statusOf(ended: Ended): number {
  if (ended.exitedDueToTimeout) return -1;
  if (typeof ended.exitCode === "number") return ended.exitCode;
  if (typeof ended.signalCode === "number") return 128 + ended.signalCode;
  const signals = new Map(Object.entries(osConstants.signals));
  return 128 + (signals.get(ended.signalCode ?? "") ?? 0);
}

/** Files without a name: nothing is left of them, even where nobody waits for the command. */
function outputFiles(input: string | undefined) {
  const dir = mkdtempSync("/tmp/tsrun-output-");
  writeFileSync(`${dir}/in`, input ?? "");
  const stdin = input === undefined ? openSync("/dev/null", "r") : openSync(`${dir}/in`, "r");
  const stdout = openSync(`${dir}/out`, "w");
  const stderr = openSync(`${dir}/err`, "w");
  rmSync(dir, { recursive: true });
  // Opened anew: what is written and what is read have an offset each.
  const text = (fd: number) => readFileSync(`/proc/self/fd/${fd}`, "utf8");
  let open = true;
  return {
    stdin,
    stdout,
    stderr,
    read: () => ({ stdout: text(stdout), stderr: text(stderr) }),
    close: () => {
      if (!open) return;
      open = false;
      for (const fd of [stdin, stdout, stderr]) closeSync(fd);
    },
  };
}
