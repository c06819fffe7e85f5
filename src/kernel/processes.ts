import { AT_FLAGS } from "../abi/auxv.ts";
import { errnoNumber } from "../abi/errno.ts";
import { auxiliaryValue, sys } from "./kernel.ts";

const EINTR = -errnoNumber("EINTR");
const SIGKILL = 9;
const __WALL = 0x40000000;

/** Waits for a child to end. Returns its wait status (wait4(2)), or undefined when it is not a child. */
export function reap(pid: number): number | undefined {
  const status = new Int32Array(1);
  for (;;) {
    const result = sys("wait4", pid, status, __WALL, 0);
    if (result === pid) return status[0]!;
    if (result !== EINTR) return undefined;
  }
}

export function killAndReap(pid: number): void {
  sys("kill", pid, SIGKILL);
  reap(pid);
}

/** What waitid(2) tells of a child, see siginfo_t; `status` is the signal that stopped or killed it, or its exit status. */
export interface ChildChange {
  /** CLD_EXITED and its like. */
  readonly code: number;
  readonly status: number;
}

export const WSTOPPED = 2;
export const WEXITED = 4;
export const CLD_EXITED = 1;

/** A child that has stopped (WSTOPPED) or ended (WEXITED), left to be waited for; undefined where there is none. */
export function lookAtChild(kind: typeof WSTOPPED | typeof WEXITED): ChildChange | undefined {
  const [P_ALL, WNOHANG, WNOWAIT] = [0, 1, 0x01000000];
  // Words: si_signo, which is 0 when there is none, si_errno, si_code, padding, si_pid, si_uid, si_status.
  const child = new Int32Array(32);
  sys("waitid", P_ALL, 0, child, WNOHANG | kind | WNOWAIT | __WALL, 0);
  return child[0] === 0 ? undefined : { code: child[2]!, status: child[6]! };
}

/** Reaps every child that has ended. Returns the wait status of `pid` when it is among them. */
export function reapEnded(pid: number): number | undefined {
  const WNOHANG = 1;
  const status = new Int32Array(1);
  let own: number | undefined;
  for (;;) {
    const child = sys("wait4", -1, status, __WALL | WNOHANG, 0);
    if (child === pid) own = status[0]!;
    if (child <= 0 && child !== EINTR) return own;
  }
}

/**
 * Does something with the soft limit of descriptors that tsrun's caller has: Bun raises it to the hard one, and a program
 * that tsrun starts on the host should not notice (select(2) breaks above 1,024).
 */
export function withCallersLimit<T>(action: () => T): T {
  const RLIMIT_NOFILE = 7;
  const original = BigInt(auxiliaryValue(AT_FLAGS));
  const raised = new BigUint64Array(2);
  if (original === 0n || sys("prlimit64", 0, RLIMIT_NOFILE, 0, raised) < 0) return action();
  sys("prlimit64", 0, RLIMIT_NOFILE, BigUint64Array.of(original, raised[1]!), 0);
  try {
    return action();
  } finally {
    sys("prlimit64", 0, RLIMIT_NOFILE, raised, 0);
  }
}
