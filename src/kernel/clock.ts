import { CLOCK_MONOTONIC } from "../abi/time.ts";
import { sys } from "./kernel.ts";

/** Nanoseconds of a clock (clock_gettime(2)). */
export function readClock(clock: number): bigint {
  const time = new BigUint64Array(2);
  sys("clock_gettime", clock, time);
  return time[0]! * 1_000_000_000n + time[1]!;
}

/** A span of time as the kernel takes it, struct timespec. */
export function timespec(nanoseconds: number): BigUint64Array {
  const whole = BigInt(Math.max(0, Math.round(nanoseconds)));
  return BigUint64Array.of(whole / 1_000_000_000n, whole % 1_000_000_000n);
}

/** For deadlines and spans. Bun.nanoseconds() counts from a start of Bun, which may be that of a build (warm-start.ts). */
export function nanoseconds(): number {
  return Number(readClock(CLOCK_MONOTONIC));
}
