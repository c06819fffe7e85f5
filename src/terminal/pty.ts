import { errnoNumber } from "../abi/errno.ts";
import { O_NONBLOCK } from "../abi/fcntl.ts";
import { TIOCGWINSZ, TIOCSWINSZ } from "../abi/ioctl.ts";
import { sys } from "../kernel/kernel.ts";

/** Linux asm-generic/ioctls.h, termbits.h */
const TCGETS = 0x5401;
const TCSETS = 0x5402;
const TERMIOS_SIZE = 60;

/** Every byte passes as it is (cfmakeraw, termios(3)). Returns what it was, undefined when it is no terminal. */
export function setRawMode(fd: number): Uint8Array | undefined {
  const saved = new Uint8Array(TERMIOS_SIZE);
  if (sys("ioctl", fd, TCGETS, saved) < 0) return undefined;
  const raw = saved.slice();
  const flags = new DataView(raw.buffer);
  const change = (at: number, clear: number, set = 0) => {
    flags.setUint32(at, ((flags.getUint32(at, true) & ~clear) | set) >>> 0, true);
  };
  const IGNBRK_BRKINT_PARMRK_ISTRIP_INLCR_IGNCR_ICRNL_IXON = 0o2753;
  const OPOST = 1;
  const CSIZE_PARENB = 0o460;
  const CS8 = 0o60;
  const ECHO_ECHONL_ICANON_ISIG_IEXTEN = 0o100113;
  change(0, IGNBRK_BRKINT_PARMRK_ISTRIP_INLCR_IGNCR_ICRNL_IXON);
  change(4, OPOST);
  change(8, CSIZE_PARENB, CS8);
  change(12, ECHO_ECHONL_ICANON_ISIG_IEXTEN);
  sys("ioctl", fd, TCSETS, raw);
  return saved;
}

/** Whether tcgetattr(3) works, as isatty(3) asks. */
export function isTerminal(fd: number): boolean {
  return sys("ioctl", fd, TCGETS, new Uint8Array(TERMIOS_SIZE)) === 0;
}

export function restoreTerminal(fd: number, saved: Uint8Array): void {
  sys("ioctl", fd, TCSETS, saved);
}

/** Gives a terminal the size of another; nothing happens when that is no terminal. */
export function resizeTerminal(from: number, to: number): void {
  const size = new Uint8Array(8);
  if (sys("ioctl", from, TIOCGWINSZ, size) === 0) sys("ioctl", to, TIOCSWINSZ, size);
}

/** Of the open file: everybody who has it is affected. */
export function setNonBlocking(fd: number): void {
  const F_GETFL = 3;
  const F_SETFL = 4;
  sys("fcntl", fd, F_SETFL, sys("fcntl", fd, F_GETFL) | O_NONBLOCK);
}

/** Receives one descriptor (SCM_RIGHTS, unix(7)); negative errno on failure, EBADMSG for a message without one. */
export function receiveDescriptor(socket: number, addressOf: (array: Uint8Array | BigUint64Array) => number): number {
  const MSG_CMSG_CLOEXEC = 0x40000000;
  const name = new Uint8Array(64);
  const control = new Uint8Array(24);
  const vector = BigUint64Array.of(BigInt(addressOf(name)), BigInt(name.length));
  const header = BigUint64Array.of(0n, 0n, BigInt(addressOf(vector)), 1n, BigInt(addressOf(control)), 24n, 0n);
  let received: number;
  do received = sys("recvmsg", socket, header, MSG_CMSG_CLOEXEC);
  while (received === -errnoNumber("EINTR"));
  if (received < 0) return received;
  // The kernel has put the length of what it wrote into msg_controllen: nothing at end of file, or without a free number.
  const CMSG_LEN_4 = 20n;
  return header[5]! < CMSG_LEN_4 ? -errnoNumber("EBADMSG") : new DataView(control.buffer).getInt32(16, true);
}
