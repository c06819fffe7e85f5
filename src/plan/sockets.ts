/** The sockets that a container has to do with besides its terminal: an engine's, and the one on which start finds it. */
import { O_CLOEXEC } from "../abi/fcntl.ts";
import type { PlanContext } from "./context.ts";
import { addAll, bytes, type Program, type Slot, type SlotTable, slot } from "./step.ts";
import { planSendDescriptor, unixAddress } from "./terminal.ts";

const SOCK_STREAM = 1;
const SOCK_SEQPACKET = 5;
const AF_UNIX = 1;

/** Connects to a socket of an engine, in tsrun; the agent inherits the descriptor. */
export function planConnect(plan: PlanContext, path: string, what: string): Slot {
  const console = slot(plan.slots, what);
  const address = unixAddress(path);
  const doing = `connect to the ${what} ${JSON.stringify(path)}`;
  addAll(plan.prepare, [
    { call: "socket", args: [AF_UNIX, SOCK_STREAM, 0], into: console, what: doing },
    { call: "connect", args: [console, bytes(address), address.length], what: doing },
  ]);
  return console;
}

/** Where a created container waits, and start finds it: by way of a descriptor, for paths are longer than sun_path. */
export function planListen(plan: PlanContext, path: string): void {
  const listening = slot(plan.slots, "listening socket");
  const address = unixAddress(path);
  const what = `listen on ${JSON.stringify(path.slice(path.lastIndexOf("/") + 1))} in the state directory`;
  addAll(plan.prepare, [
    { call: "socket", args: [AF_UNIX, SOCK_SEQPACKET, 0], into: listening, what },
    { call: "bind", args: [listening, bytes(address), address.length], what },
    { call: "listen", args: [listening, 1], what },
  ]);
  plan.listening = listening;
}

/** --pidfd-socket: tsrun sends a pidfd of the process (go-runc receives it). */
export function planSendPidfd(
  plan: { readonly slots: SlotTable; readonly attach: Program },
  pid: Slot,
  path: string,
): void {
  const connection = slot(plan.slots, "pidfd socket");
  const pidfd = slot(plan.slots, "pidfd");
  const address = unixAddress(path);
  const what = `connect to the pidfd socket ${JSON.stringify(path)}`;
  addAll(plan.attach, [
    { call: "socket", args: [AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0], into: connection, what },
    { call: "connect", args: [connection, bytes(address), address.length], what },
    { call: "pidfd_open", args: [pid, 0], into: pidfd, what: "open a pidfd of the process" },
  ]);
  planSendDescriptor(plan.attach, plan.slots, connection, pidfd, "pidfd", "");
  addAll(plan.attach, [
    { call: "close", args: [pidfd], what: "close the pidfd" },
    { call: "close", args: [connection], what: "close the pidfd socket" },
  ]);
}
