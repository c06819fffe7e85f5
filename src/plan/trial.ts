import { SIGKILL } from "../abi/signal.ts";
import type { PlanContext } from "./context.ts";
import type { OverlayRoot } from "./overlay-root.ts";
import { add, bytes, slot } from "./step.ts";

/** What `tsrun try` wants of a container that no config.json can say. */
export interface Trial {
  readonly root: OverlayRoot;
  /** The network namespace is new, and programs expect 127.0.0.1 to work. */
  readonly loopback: boolean;
  readonly limits: Limits;
}

export interface Limits {
  /** Bytes. */
  readonly memory?: number | undefined;
  /** Processors' worth of time. */
  readonly cpus?: number | undefined;
  readonly pids?: number | undefined;
}

/** After everything else that is planned for the container. */
/** netdevice(7): a struct ifreq with the name and the flags. A kernel without IPv4 has nothing to bring up. */
export function planLoopback({ build, slots }: PlanContext): void {
  const AF_INET = 2;
  const SOCK_DGRAM = 2;
  const SIOCSIFFLAGS = 0x8914;
  const IFF_UP_RUNNING = 0x41;
  const IFNAMSIZ = 16;
  const request = new Uint8Array(40);
  request.set(new TextEncoder().encode("lo"));
  request[IFNAMSIZ] = IFF_UP_RUNNING;
  const socket = slot(slots, "socket to set up lo");
  const what = "bring up the loopback interface";
  add(
    build,
    { call: "socket", args: [AF_INET, SOCK_DGRAM, 0], into: socket, what, tolerate: ["EAFNOSUPPORT"] },
    { call: "ioctl", args: [socket, SIOCSIFFLAGS, bytes(request)], what, tolerate: ["EBADF"] },
    { call: "close", args: [socket], what, tolerate: ["EBADF"] },
  );
}

/** The container ends with the tsrun that waits for it. Late: a change of user takes it back (prctl(2)). */
export function planDeath({ identity }: PlanContext): void {
  const PR_SET_PDEATHSIG = 1;
  add(identity, { call: "prctl", args: [PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0], what: "end when tsrun ends" });
}
