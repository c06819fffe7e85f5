import { sys } from "../kernel/kernel.ts";

/**
 * Signals that say something of tsrun itself: faults of its code (SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV,
 * SIGSYS), its own writes (SIGPIPE, SIGXFSZ), and those that JavaScriptCore and libc use between threads. All others
 * that reach tsrun are meant for the process in the container.
 */
const OWN_SIGNALS = [4, 5, 6, 7, 8, 11, 13, 25, 27, 30, 31, 32, 33];

const OTHERS = OWN_SIGNALS.reduce((mask, signal) => mask & ~(1n << BigInt(signal - 1)), (1n << 64n) - 1n);

/** The others, one bit each. */
export function caughtSignals(): BigUint64Array {
  return BigUint64Array.of(OTHERS);
}

/**
 * Makes the signals that may have to be forwarded wait. The kernel gives a signal to any thread that does not block it,
 * and a thread inherits the mask of its maker; the program's entry (scripts/program/entry-stub.ts) has blocked them by now, before
 * the engine made its first thread, so that this only undoes releaseSignals.
 */
export function holdSignals(): void {
  const SIG_BLOCK = 0;
  sys("rt_sigprocmask", SIG_BLOCK, caughtSignals(), 0, 8);
}

/** Undoes holdSignals, for a command that forwards nothing: they end tsrun again. */
export function releaseSignals(): void {
  const SIG_UNBLOCK = 1;
  sys("rt_sigprocmask", SIG_UNBLOCK, caughtSignals(), 0, 8);
}
