import { CLOCK_MONOTONIC } from "../abi/time.ts";
import { sys } from "./kernel.ts";

/** Nanoseconds of a clock (clock_gettime(2)). */
export function readClock(clock: number): bigint {
  const time = new BigUint64Array(2);
  sys("clock_gettime", clock, time);
  return time[0]! * 1_000_000_000n + time[1]!;
}

/** For deadlines and spans. Bun.nanoseconds() counts from a start of Bun, which may be that of a build (warm-start.ts). */
export function nanoseconds(): number {
  return Number(readClock(CLOCK_MONOTONIC));
}
