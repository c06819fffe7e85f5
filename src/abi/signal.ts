/** Linux asm/signal.h, the same on x86-64 and aarch64; real-time signals as glibc counts them (signal(7)). */
export const SIGHUP = 1;
export const SIGINT = 2;
export const SIGKILL = 9;
export const SIGPIPE = 13;
export const SIGTERM = 15;
export const SIGCHLD = 17;
export const SIGCONT = 18;
export const SIGSTOP = 19;
export const SIGWINCH = 28;
/** glibc keeps 32 and 33 for itself. */
export const SIGRTMIN = 34;
export const SIGRTMAX = 64;

/** The number of `SIGTERM`; undefined for a name that the kernel does not have. */
export function signalNumber(name: string): number | undefined {
  switch (name) {
    case "SIGIOT":
      return 6;
    case "SIGCLD":
      return 17;
    case "SIGPOLL":
      return 29;
    default: {
      const at = signalNames().indexOf(name);
      return at < 0 ? undefined : at + 1;
    }
  }
}

/** `11` → `SIGSEGV`; a number that has no name is shown as `signal 40`. */
export function signalName(number: number): string {
  return signalNames()[number - 1] ?? `signal ${number}`;
}

/** In order from signal 1 on. */
function signalNames(): string[] {
  const names =
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG " +
    "XCPU XFSZ VTALRM PROF WINCH IO PWR SYS";
  return names.split(" ").map((name) => `SIG${name}`);
}
