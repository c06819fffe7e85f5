import { errnoNumber } from "../abi/errno.ts";
import { sys } from "./kernel.ts";

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
