import { errnoNumber } from "../abi/errno.ts";
import { watchOom } from "../cgroup/oom.ts";
import { readStats } from "../cgroup/read-stats.ts";
import { eventLine } from "../cgroup/stats.ts";
import { errorMessage } from "../errors.ts";
import { nanoseconds, timespec } from "../kernel/clock.ts";
import { sys } from "../kernel/kernel.ts";
import type { ContainerState } from "../state/state.ts";
import { openInit } from "./init-process.ts";

export interface EventStream {
  readonly state: ContainerState;
  /** Nanoseconds between two lines of stats. */
  readonly interval: number;
  readonly print: (line: string) => void;
  readonly warn: (message: string) => void;
}

/** One line of what the container uses. */
export function statsLine({ id, cgroup_paths }: ContainerState): string {
  return eventLine("stats", id, readStats(cgroup_paths));
}

const POLLIN = 1;

/**
 * Prints a line of stats after each interval, and a line whenever the container is out of memory. Returns when the
 * container's first process has ended, or when nobody reads standard output any more.
 */
export function streamEvents({ state, interval, print, warn }: EventStream): void {
  const watch = watchOom(state.cgroup_paths);
  // After the watch: a container that ends before the watch is there must not go unnoticed.
  const pidfd = openInit(state);
  if (pidfd === undefined) return;
  const STDOUT = 1;
  for (let next = nanoseconds() + interval; ; ) {
    const poll = Int32Array.of(watch.fd, POLLIN, pidfd, POLLIN, STDOUT, 0);
    const ready = sys("ppoll", poll, 3, timespec(next - nanoseconds()), 0, 0);
    if (ready === -errnoNumber("EINTR")) continue;
    const [oom, ended, reader] = [poll[1]! >>> 16, poll[3]! >>> 16, poll[5]! >>> 16];
    if (oom !== 0 && watch.take()) print(eventLine("oom", state.id));
    if (ended !== 0 || reader !== 0) return;
    const now = nanoseconds();
    if (now < next) continue;
    printStats(state, print, warn);
    // As Go's ticker does it: what was missed is not made up for.
    next += Math.ceil((now - next + 1) / interval) * interval;
  }
}

/** One that cannot be read does not end the stream. */
function printStats(state: ContainerState, print: (line: string) => void, warn: (message: string) => void): void {
  try {
    print(statsLine(state));
  } catch (error) {
    warn(errorMessage(error));
  }
}
