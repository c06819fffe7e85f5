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
