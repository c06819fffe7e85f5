import { errnoNumber } from "../abi/errno.ts";
import { SIGCHLD, SIGWINCH } from "../abi/signal.ts";
import { close, writeAll } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { reap } from "../kernel/processes.ts";
import { resizeTerminal, restoreTerminal, setRawMode } from "./pty.ts";

const EINTR = -errnoNumber("EINTR");
const POLLIN = 1;
const POLLHUP = 16;
const POLLERR = 8;

/** Signals that reach tsrun are meant for the process in the container, but for those that tell tsrun something. */
const OWN_SIGNALS = [SIGCHLD, SIGWINCH, 11, 7, 8, 4, 5, 6, 27, 30];

/**
 * Blocks the signals that will be forwarded, before anything is started: from now on they wait in the returned
 * signalfd(2). Threads that are made later inherit the mask.
 */
export function catchSignals(): number {
  const SIG_BLOCK = 0;
  const SFD_CLOEXEC = 0o2000000;
  let mask = (1n << 64n) - 1n;
  for (const signal of OWN_SIGNALS) if (signal !== SIGWINCH) mask &= ~(1n << BigInt(signal - 1));
  const set = BigUint64Array.of(mask);
  sys("rt_sigprocmask", SIG_BLOCK, set, 0, 8);
  return sys("signalfd4", -1, set, 8, SFD_CLOEXEC);
}

/** `detachKeys`-less pass-through: what is typed goes in, what is printed comes out, until the process ends. */
export interface Foreground {
  readonly pid: number;
  readonly signals: number;
  /** The other end of the container's terminal, when it has one. */
  readonly master: number | undefined;
}

/** Waits for the process. Returns its wait status (wait4(2)). */
export function waitInForeground({ pid, signals, master }: Foreground): number {
  const pidfd = sys("pidfd_open", pid, 0);
  const saved = master === undefined ? undefined : setRawMode(0);
  if (master !== undefined) resizeTerminal(0, master);
  try {
    pump(pidfd, signals, master);
    if (master !== undefined) drain(master);
  } finally {
    if (saved !== undefined) restoreTerminal(0, saved);
    close(pidfd);
  }
  return reap(pid) ?? 0;
}

/** struct pollfd by struct pollfd: the process, signals, the terminal, standard input. */
function pump(pidfd: number, signals: number, master: number | undefined): void {
  let input = master === undefined ? -1 : 0;
  let terminal = master ?? -1;
  for (;;) {
    const poll = Int32Array.of(pidfd, POLLIN, signals, POLLIN, terminal, POLLIN, input, POLLIN);
    const ready = sys("ppoll", poll, 4, 0, 0, 8);
    if (ready === EINTR) continue;
    const events = (index: number) => poll[index * 2 + 1]! >>> 16;
    if (events(1) !== 0) forward(pidfd, signals, master);
    if (events(2) !== 0 && !copy(terminal, 1)) terminal = -1;
    if (events(3) !== 0 && !copy(0, master!)) input = -1;
    if (events(0) !== 0) return;
  }
}

const buffer = new Uint8Array(32768);

/** False at the end of the stream: EIO is how a terminal says that nobody has it open any more. */
function copy(from: number, to: number): boolean {
  const count = sys("read", from, buffer, buffer.length);
  if (count === EINTR) return true;
  if (count <= 0) return false;
  return writeAll(to, buffer.subarray(0, count)) === 0;
}

/** What the process wrote before it ended. */
function drain(master: number): void {
  for (;;) {
    const poll = Int32Array.of(master, POLLIN);
    const time = BigUint64Array.of(0n, 0n);
    const ready = sys("ppoll", poll, 1, time, 0, 8);
    const events = poll[1]! >>> 16;
    if (ready <= 0 || ((events & (POLLHUP | POLLERR)) !== 0 && (events & POLLIN) === 0)) return;
    if (!copy(master, 1)) return;
  }
}

/** struct signalfd_siginfo: 128 bytes, the signal's number first. */
function forward(pidfd: number, signals: number, master: number | undefined): void {
  const info = new Uint8Array(128);
  if (sys("read", signals, info, info.length) !== info.length) return;
  const signal = new DataView(info.buffer).getUint32(0, true);
  if (signal !== SIGWINCH) sys("pidfd_send_signal", pidfd, signal, 0, 0);
  else if (master !== undefined) resizeTerminal(0, master);
}
