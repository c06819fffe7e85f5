import { IFF_RUNNING, IFF_UP, IFNAMSIZ, SIOCSIFFLAGS } from "../abi/ioctl.ts";
import { AF_INET, IPPROTO_UDP, SOCK_DGRAM } from "../abi/socket.ts";
import { utf8 } from "../text.ts";
import type { PlanContext } from "./context.ts";
import { addAll, bytes, slot } from "./step.ts";

/**
 * A new network namespace has a loopback interface that is down; programs expect 127.0.0.1 to work. netdevice(7): a
 * struct ifreq with the name and the flags. A kernel without IPv4 has nothing to bring up.
 */
export function planLoopback({ config, build, slots }: PlanContext): void {
  const network = config.linux?.namespaces?.find(({ type }) => type === "network");
  if (network === undefined || (network.path ?? "") !== "") return;
  const request = new Uint8Array(40);
  request.set(utf8("lo"));
  request[IFNAMSIZ] = IFF_UP | IFF_RUNNING;
  const socket = slot(slots, "socket to set up lo");
  const what = "bring up the loopback interface";
  addAll(build, [
    { call: "socket", args: [AF_INET, SOCK_DGRAM, IPPROTO_UDP], into: socket, what, tolerate: ["EAFNOSUPPORT"] },
    { call: "ioctl", args: [socket, SIOCSIFFLAGS, bytes(request)], what, tolerate: ["EBADF"] },
    { call: "close", args: [socket], what, tolerate: ["EBADF"] },
  ]);
}
