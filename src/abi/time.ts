/** Linux uapi/linux/time.h. */
export const CLOCK_MONOTONIC = 1;
export const CLOCK_THREAD_CPUTIME_ID = 3;
export const CLOCK_TAI = 11;
