import { errnoNumber, errnoText } from "../abi/errno.ts";
import { addressOf, sys } from "../kernel/kernel.ts";
import { unixAddress } from "../plan/terminal.ts";
import type { Mount } from "../spec/types.ts";
import { textOf, utf8 } from "../text.ts";

/**
 * sd_notify(3) for containers, as runc does it: `<state>/notify` is bound on /run/notify in the container, tsrun listens
 * on the socket in it, and tells the caller's $NOTIFY_SOCKET that the container is ready and which process is its main one.
 */
const DIRECTORY = "notify";
const SOCKET = "notify.sock";
const INSIDE = "/run/notify";

/** What the container's process is told. */
export const NOTIFY_VARIABLE = `NOTIFY_SOCKET=${INSIDE}/${SOCKET}`;

export function notifyMount(stateDirectory: string): Mount {
  const options = ["bind", "nosuid", "noexec", "nodev", "ro"];
  return { destination: INSIDE, type: "bind", source: `${stateDirectory}/${DIRECTORY}`, options };
}

/** Makes the directory that is bound; `directory` is the descriptor of the container's state directory. */
export function makeNotifyDirectory(directory: number): void {
  sys("mkdirat", directory, DIRECTORY, 0o755);
}

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;

/** A socket that the container reports to. */
export interface Notify {
  readonly fd: number;
  /** Reads one report. True once the container has said that it is ready, and the caller has been told. */
  readonly receive: (pid: number) => boolean;
}

/** Listens where the container has been told to report; undefined when it has not, or when no one wants to know. */
export function listenForReady(
  directory: number,
  host: string | undefined,
  warn: (message: string) => void,
): Notify | undefined {
  if (host === undefined || host === "") return undefined;
  if (sys("faccessat2", directory, DIRECTORY, 0, 0) < 0) return undefined;
  const name = `${DIRECTORY}/${SOCKET}`;
  const address = unixAddress(`/proc/self/fd/${directory}/${name}`);
  const fd = sys("socket", AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
  sys("unlinkat", directory, name, 0);
  const bound = sys("bind", fd, address, address.length);
  // Whoever the process runs as may report.
  if (bound === 0) sys("fchmodat", directory, name, 0o777);
  else warn(`cannot listen for the container's reports: ${errnoText(-bound)} ($NOTIFY_SOCKET)`);
  return { fd, receive: (pid) => receive(fd, pid, host, warn) };
}

function receive(fd: number, pid: number, host: string, warn: (message: string) => void): boolean {
  const buffer = new Uint8Array(4096);
  const length = sys("recvfrom", fd, buffer, buffer.length, 0, 0, 0);
  const lines = textOf(buffer.subarray(0, Math.max(0, length))).split("\n");
  if (!lines.includes("READY=1")) return false;
  tellHost(host, pid, warn);
  return true;
}

/** Each in a message of its own, then a barrier: systemd must have read them before this process may end. */
function tellHost(host: string, pid: number, warn: (message: string) => void): void {
  const socket = sys("socket", AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
  const address = hostAddress(host);
  const connected = sys("connect", socket, address, address.length);
  if (connected < 0) warn(`cannot connect to ${JSON.stringify(host)}: ${errnoText(-connected)} ($NOTIFY_SOCKET)`);
  else {
    for (const text of ["READY=1\n", `MAINPID=${pid}\n`]) sys("write", socket, utf8(text), text.length);
    barrier(socket);
  }
  sys("close", socket);
}

/** A name that begins with "@" is in the abstract namespace (unix(7)), and exactly as long as it is. */
function hostAddress(host: string): Uint8Array {
  if (!host.startsWith("@")) return unixAddress(host);
  const address = unixAddress(`\0${host.slice(1)}`);
  return address.subarray(0, 2 + utf8(host).length);
}

/** sd_notify_barrier(3): the receiver closes the descriptor that comes with the message once it has got that far. */
function barrier(socket: number): void {
  const O_CLOEXEC = 0o2000000;
  const PATIENCE_SECONDS = 5n;
  const pipe = new Int32Array(2);
  if (sys("pipe2", pipe, O_CLOEXEC) < 0) return;
  const [reads, writes] = [pipe[0]!, pipe[1]!];
  const sent = sendDescriptor(socket, "BARRIER=1", writes);
  sys("close", writes);
  const POLLHUP_COMES_UNASKED = 0;
  const poll = Int32Array.of(reads, POLLHUP_COMES_UNASKED);
  const time = BigUint64Array.of(PATIENCE_SECONDS, 0n);
  while (sent >= 0 && sys("ppoll", poll, 1, time, 0, 8) === -errnoNumber("EINTR"));
  sys("close", reads);
}

/** SCM_RIGHTS, unix(7): a struct cmsghdr of 16 bytes and the number. Returns how many bytes of the text were sent. */
export function sendDescriptor(socket: number, text: string, fd: number): number {
  const SOL_SOCKET = 1n;
  const SCM_RIGHTS = 1n;
  const CMSG_LEN_4 = 20n;
  const name = utf8(text);
  const control = BigUint64Array.of(CMSG_LEN_4, SOL_SOCKET | (SCM_RIGHTS << 32n), BigInt(fd));
  const vector = BigUint64Array.of(BigInt(addressOf(name)), BigInt(name.length));
  const header = BigUint64Array.of(0n, 0n, BigInt(addressOf(vector)), 1n, BigInt(addressOf(control)), 24n, 0n);
  return sys("sendmsg", socket, header, 0);
}

/** Waits until the container is ready or has ended. */
export function waitForReady(notify: Notify, pid: number): void {
  const POLLIN = 1;
  const pidfd = sys("pidfd_open", pid, 0);
  for (;;) {
    const poll = Int32Array.of(notify.fd, POLLIN, pidfd, POLLIN);
    const ready = sys("ppoll", poll, 2, 0, 0, 8);
    if (ready === -errnoNumber("EINTR")) continue;
    const reported = poll[1]! >>> 16 !== 0;
    if (ready < 0 || (reported && notify.receive(pid)) || (!reported && poll[3]! >>> 16 !== 0)) break;
  }
  sys("close", pidfd);
  sys("close", notify.fd);
}
