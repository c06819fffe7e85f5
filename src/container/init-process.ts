import { errnoName, errnoNumber, errnoText } from "../abi/errno.ts";
import { SIGKILL } from "../abi/signal.ts";
import { TsrunError } from "../errors.ts";
import { nanoseconds, timespec } from "../kernel/clock.ts";
import { close } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { isAlive, readProcess } from "../state/process.ts";
import type { ContainerState } from "../state/state.ts";

/**
 * A pidfd (pidfd_open(2)) of the container's first process; undefined when it is gone. The start time is looked at
 * afterwards: from then on the descriptor stands for that very process, even when its id is used again.
 */
export function openInit(state: ContainerState): number | undefined {
  if (state.init_process_pid <= 0) return undefined;
  const pidfd = sys("pidfd_open", state.init_process_pid, 0);
  // EINVAL, ENOENT since Linux 6.15: the id is a thread's of another process by now.
  if (pidfd === -errnoNumber("ESRCH") || pidfd === -errnoNumber("EINVAL") || pidfd === -errnoNumber("ENOENT")) {
    return undefined;
  }
  if (pidfd < 0) throw fault("open", state, pidfd);
  if (isAlive(state.init_process_pid, state.init_process_start)) return pidfd;
  close(pidfd);
  return undefined;
}

/** Sends a signal to the container's first process; false when it is gone. */
export function signalInit(state: ContainerState, signal: number): boolean {
  const pidfd = openInit(state);
  if (pidfd === undefined) return false;
  const sent = sys("pidfd_send_signal", pidfd, signal, 0, 0);
  close(pidfd);
  if (sent === -errnoNumber("ESRCH")) return false;
  if (sent < 0) throw fault("signal", state, sent);
  return true;
}

/**
 * Kills the container's first process and waits until it is gone. `meanwhile` runs between the two: what has to be done
 * for the process to die. Returns false when it is still there after `patience` milliseconds.
 */
export function killInit(state: ContainerState, patience: number, meanwhile: () => void): boolean {
  const pidfd = openInit(state);
  if (pidfd === undefined) return true;
  const sent = sys("pidfd_send_signal", pidfd, SIGKILL, 0, 0);
  meanwhile();
  const gone = sent === -errnoNumber("ESRCH") || (sent === 0 && waitForEnd(pidfd, state.init_process_pid, patience));
  close(pidfd);
  if (sent < 0 && !gone) throw fault("kill", state, sent);
  return gone;
}

/**
 * The first process of a pid namespace becomes a zombie only when everybody in it is gone, also the zombies whose parent
 * is outside, such as an exec's that nobody waits for. By then it has no memory, files, namespaces, and no cgroup left.
 */
function waitForEnd(pidfd: number, pid: number, patience: number): boolean {
  const LOOK_EVERY_MS = 100;
  for (let waited = 0; waited < patience; waited += LOOK_EVERY_MS) {
    if (waitFor(pidfd, Math.min(LOOK_EVERY_MS, patience - waited))) return true;
    const found = readProcess(pid);
    // It waits interruptibly, or idly on kernels that do not want to count it as load.
    if (found === undefined || (found.exiting && (found.state === "S" || found.state === "I"))) return true;
  }
  return false;
}

/** A pidfd becomes readable when its process has ended, reaped or not. */
function waitFor(pidfd: number, milliseconds: number): boolean {
  const POLLIN = 1;
  const end = nanoseconds() + milliseconds * 1e6;
  for (;;) {
    const left = timespec(end - nanoseconds());
    const ready = sys("ppoll", new Int32Array([pidfd, POLLIN]), 1, left, 0, 0);
    if (ready !== -errnoNumber("EINTR")) return ready > 0;
  }
}

function fault(action: string, { id, init_process_pid: pid }: ContainerState, result: number): TsrunError {
  const message = `cannot ${action} process ${pid} of container "${id}": ${errnoText(-result)}`;
  return new TsrunError(message, { code: errnoName(-result) });
}
