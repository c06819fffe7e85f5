import { errnoName, errnoNumber, errnoText } from "../abi/errno.ts";
import { SIGCHLD, SIGWINCH } from "../abi/signal.ts";
import { TsrunError } from "../errors.ts";
import { nanoseconds, timespec } from "../kernel/clock.ts";
import { close } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { reap, reapEnded } from "../kernel/processes.ts";
import type { PassThrough } from "./console.ts";
import { caughtSignals, holdSignals } from "./hold-signals.ts";
import { resizeTerminal, restoreTerminal, setNonBlocking, setRawMode } from "./pty.ts";

const EINTR = -errnoNumber("EINTR");
const EAGAIN = -errnoNumber("EAGAIN");
const POLLIN = 1;
const POLLOUT = 4;

/** A signalfd(2) of the signals that holdSignals holds; before anything is started, so that none is lost. */
export function catchSignals(): number {
  const SFD_CLOEXEC = 0o2000000;
  // What poll has seen, a thread that does not block it may have had before read.
  const SFD_NONBLOCK = 0o4000;
  holdSignals();
  return must(sys("signalfd4", -1, caughtSignals(), 8, SFD_CLOEXEC | SFD_NONBLOCK), "catch signals");
}

/** Those that do not end a process by default: SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH. */
const HARMLESS_SIGNALS = [17, 18, 20, 21, 22, 23, 28];

/** Sleeps on the descriptor of catchSignals. Returns true, early, when a signal came that would have ended tsrun. */
export function signalWithin(signals: number, milliseconds: number): boolean {
  const end = nanoseconds() + milliseconds * 1e6;
  for (;;) {
    const left = timespec(end - nanoseconds());
    const ready = sys("ppoll", Int32Array.of(signals, POLLIN), 1, left, 0, 8);
    if (ready === 0) return false;
    const signal = ready > 0 ? readSignal(signals) : undefined;
    if (signal !== undefined && !HARMLESS_SIGNALS.includes(signal)) return true;
  }
}

/** Pass-through without keys of its own: what is typed goes in, what is printed comes out, until the process ends. */
export interface Foreground {
  /** A child of this process. */
  readonly pid: number;
  readonly signals: number;
  readonly terminal: Terminals | undefined;
  /** One more descriptor to wait for; `receive` reads from it, and says when there is nothing more to wait for. */
  readonly watched?: { readonly fd: number; readonly receive: (pid: number) => boolean } | undefined;
}

/** The container's terminal, and the one that it is passed through to. */
export interface Terminals {
  /** The other end of the container's. */
  readonly master: number;
  /** The caller's: one of 0, 1 and 2. */
  readonly host: number;
}

/** The terminal that the agent has sent, with the size of the caller's before its program can ask. */
export function takeTerminal(pass: PassThrough): Terminals {
  const master = pass.receive();
  resizeTerminal(pass.host, master);
  return { master, host: pass.host };
}

/** Waits for the process. Returns its wait status (wait4(2)). */
export function waitInForeground(foreground: Foreground): number {
  const { pid, terminal } = foreground;
  const pidfd = must(sys("pidfd_open", pid, 0), "watch the container's process");
  const saved = terminal === undefined ? undefined : setRawMode(terminal.host);
  try {
    const status = pump(foreground, pidfd) ?? reap(pid);
    if (status === undefined) throw new TsrunError(`cannot wait for process ${pid}: it is no child of tsrun`);
    return status;
  } finally {
    if (saved !== undefined) restoreTerminal(terminal!.host, saved);
    close(pidfd);
  }
}

function must(result: number, action: string): number {
  if (result >= 0) return result;
  throw new TsrunError(`cannot ${action}: ${errnoText(-result)}`, { code: errnoName(-result) });
}

/** Bytes on their way: read when none is left, written when the other end takes them, so that neither way blocks the other. */
interface Flow {
  readonly from: number;
  readonly to: number;
  readonly buffer: Uint8Array;
  pending: Uint8Array;
  ended: boolean;
}

/** As much as a pipe takes without blocking when poll(2) calls it writable (PIPE_BUF). */
const CHUNK = 4096;

function flow(from: number, to: number): Flow {
  return { from, to, buffer: new Uint8Array(CHUNK), pending: new Uint8Array(0), ended: false };
}

/**
 * struct pollfd by struct pollfd: the process, signals, reports, output, input. Returns the status when it was reaped on
 * the way.
 */
function pump({ pid, signals, terminal, watched }: Foreground, pidfd: number): number | undefined {
  let report = watched?.fd ?? -1;
  const flows = terminal === undefined ? [] : [flow(terminal.master, 1), flow(0, terminal.master)];
  if (terminal !== undefined) setNonBlocking(terminal.master);
  let status: number | undefined;
  for (;;) {
    const poll = Int32Array.of(pidfd, POLLIN, signals, POLLIN, report, POLLIN, ...flows.flatMap(waitsFor));
    const ready = sys("ppoll", poll, poll.length / 2, 0, 0, 8);
    if (ready === EINTR) continue;
    const events = (index: number) => poll[index * 2 + 1]! >>> 16;
    if (events(1) !== 0) status = forward(pid, pidfd, signals, terminal) ?? status;
    if (events(2) !== 0 && watched?.receive(pid) === true) report = -1;
    for (const [i, each] of flows.entries()) if (events(3 + i) !== 0) advance(each);
    if (events(0) === 0 && status === undefined) continue;
    if (flows.length > 0) drain(flows[0]!);
    return status;
  }
}

/** A struct pollfd; one with a negative descriptor is passed over. */
function waitsFor({ from, to, pending, ended }: Flow): [number, number] {
  if (ended) return [-1, 0];
  return pending.length === 0 ? [from, POLLIN] : [to, POLLOUT];
}

/** One read or one write. EIO is how a terminal says that nobody has it open any more. */
function advance(flow: Flow): void {
  const reads = flow.pending.length === 0;
  const count = reads
    ? sys("read", flow.from, flow.buffer, CHUNK)
    : sys("write", flow.to, flow.pending, flow.pending.length);
  if (count === EINTR || count === EAGAIN) return;
  if (count <= 0) flow.ended = true;
  else flow.pending = reads ? flow.buffer.subarray(0, count) : flow.pending.subarray(count);
}

/** What the process wrote before it ended; what its children write later does not matter. */
function drain(flow: Flow): void {
  while (!flow.ended) {
    const poll = Int32Array.of(flow.from, POLLIN);
    const noTime = BigUint64Array.of(0n, 0n);
    if (flow.pending.length === 0 && sys("ppoll", poll, 1, noTime, 0, 8) <= 0) return;
    advance(flow);
  }
}

/** struct signalfd_siginfo: 128 bytes, the signal's number first. */
function readSignal(signals: number): number | undefined {
  const info = new Uint8Array(128);
  if (sys("read", signals, info, info.length) !== info.length) return undefined;
  return new DataView(info.buffer).getUint32(0, true);
}

/** Passes one signal on. Returns the status of the process when it was reaped. */
function forward(pid: number, pidfd: number, signals: number, terminal: Terminals | undefined): number | undefined {
  const signal = readSignal(signals);
  if (signal === undefined) return undefined;
  // Orphans of the container are children of a subreaper; nobody else asks how they ended.
  if (signal === SIGCHLD) return reapEnded(pid);
  // It may have ended a moment ago: the next poll tells.
  if (signal !== SIGWINCH) sys("pidfd_send_signal", pidfd, signal, 0, 0);
  else if (terminal !== undefined) resizeTerminal(terminal.host, terminal.master);
  return undefined;
}
