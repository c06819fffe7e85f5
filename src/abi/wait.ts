/** wait(2): how a process ended, from the status that wait4 fills in. */
export function exitCode(status: number): number | undefined {
  return (status & 0x7f) === 0 ? (status >> 8) & 0xff : undefined;
}

/** The signal that ended the process; 0 when it exited. */
export function terminatingSignal(status: number): number {
  return status & 0x7f;
}

/** What a shell makes of it: the exit status, or 128 plus the signal. */
export function shellStatus(status: number): number {
  return exitCode(status) ?? 128 + terminatingSignal(status);
}
