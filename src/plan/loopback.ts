import type { PlanContext } from "./context.ts";
import { add, bytes, slot } from "./step.ts";

/**
 * A new network namespace has a loopback interface that is down; programs expect 127.0.0.1 to work. netdevice(7): a
 * struct ifreq with the name and the flags. A kernel without IPv4 has nothing to bring up.
 */
export function planLoopback({ config, build, slots }: PlanContext): void {
  const network = config.linux?.namespaces?.find(({ type }) => type === "network");
  if (network === undefined || (network.path ?? "") !== "") return;
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
