import { errnoName, errnoText } from "../abi/errno.ts";
import { CLOSE_RANGE_CLOEXEC, UINT_MAX } from "../abi/prctl.ts";
import { exitCode, terminatingSignal } from "../abi/wait.ts";
import { TsrunError } from "../errors.ts";
import { memory, tail } from "../kernel/child.ts";
import { spawn, sys } from "../kernel/kernel.ts";
import { withCallersLimit } from "../kernel/processes.ts";
import type { Hook, HookKind } from "../spec/types.ts";
import { utf8 } from "../text.ts";

/** How a hook ended, wherever it ran. */
export interface HookEnd {
  /** 0, or the negative errno of execve(2). */
  readonly execve: number;
  readonly timedOut: boolean;
  /** As of wait4(2). */
  readonly status: number;
  /** The end of what it wrote to stdout and stderr, in the order in which it did. */
  readonly output: () => string;
}

/** As much of a hook's output as belongs into an error message. */
export const OUTPUT_TAIL = 4096;

/**
 * Runs the hooks of one kind on the host, in order, each with the state on its standard input. Throws the error of the
 * first that fails. Input and output are memfds: a hook that does not read, or leaves a child behind that holds its
 * output open, cannot make tsrun wait or die of SIGPIPE.
 */
export function runHooks(kind: HookKind, hooks: readonly Hook[] | undefined, state: string): void {
  for (const [i, hook] of (hooks ?? []).entries()) checkHook(kind, i, hook, runHook(hook, state));
}

/** Throws when the hook did not exit with status 0. */
export function checkHook(kind: HookKind, index: number, hook: Hook, end: HookEnd): void {
  const cause = hookFault(hook, end);
  if (cause === undefined) return;
  const output = end.output().trim();
  const said = output === "" ? "" : `, output: ${output}`;
  throw new TsrunError(
    `error running ${kind} hook #${index} ${JSON.stringify(hook.path)}: ${cause}${said} (hooks.${kind}[${index}])`,
    {
      code: "EHOOK",
      step: `hook ${kind}`,
      pointer: `/hooks/${kind}/${index}`,
    },
  );
}

function hookFault(hook: Hook, end: HookEnd): string | undefined {
  if (end.execve < 0) return errnoText(-end.execve);
  if (end.timedOut) return `hook ran past specified timeout of ${hook.timeout} s`;
  const code = exitCode(end.status);
  if (code === 0) return undefined;
  return code === undefined ? `killed by signal ${terminatingSignal(end.status)}` : `exit status ${code}`;
}

export function runHook(hook: Hook, state: string): HookEnd {
  const bytes = utf8(state);
  const input = must(memory("state"), hook);
  const output = must(memory("output"), hook);
  must(sys("write", input, bytes, bytes.length), hook);
  sys("lseek", input, 0, 0);
  const fds: [number, number][] = [
    [input, 0],
    [output, 1],
    [output, 2],
  ];
  // What tsrun's caller has left open: start and delete have not looked at it. All of tsrun's own is close-on-exec.
  sys("close_range", 3, UINT_MAX, CLOSE_RANGE_CLOEXEC);
  const pid = withCallersLimit(() => spawn(hook.path, hook.args ?? [hook.path], hook.env ?? [], fds));
  sys("close", input);
  const end = pid < 0 ? { execve: pid, timedOut: false, status: 0 } : { execve: 0, ...waitFor(pid, hook) };
  const text = tail(output, OUTPUT_TAIL);
  sys("close", output);
  return { ...end, output: () => text };
}

/** Waits for a child, at most `timeout` seconds; then it is killed. */
function waitFor(pid: number, hook: Hook): { timedOut: boolean; status: number } {
  const SIGKILL = 9;
  const EINTR = -4;
  const pidfd = must(sys("pidfd_open", pid, 0), hook);
  const poll = Int32Array.of(pidfd, 1);
  const time = hook.timeout === undefined ? 0 : BigUint64Array.of(BigInt(hook.timeout), 0n);
  let ready = EINTR;
  while (ready === EINTR) ready = sys("ppoll", poll, 1, time, 0, 8);
  if (ready === 0) sys("kill", pid, SIGKILL);
  const status = new Int32Array(1);
  while (sys("wait4", pid, status, 0, 0) === EINTR);
  sys("close", pidfd);
  return { timedOut: ready === 0, status: status[0]! };
}

/** Memory and descriptors may run out. */
function must(result: number, hook: Hook): number {
  if (result >= 0) return result;
  throw new TsrunError(`cannot run the hook ${JSON.stringify(hook.path)}: ${errnoText(-result)}`, {
    code: errnoName(-result),
  });
}
