import { z } from "zod";

/** Exclusive upper bounds: 2^64 and 2^63 are exact as doubles, 2^64-1 and 2^63-1 are not. */
const BELOW_UINT64 = 2 ** 64;
const BELOW_INT64 = 2 ** 63;

function isInteger(value: unknown): value is number | bigint {
  return typeof value === "bigint" || Number.isInteger(value);
}

/** Read without loss: a `bigint` where a double would not hold it. */
export const uint64 = () =>
  z
    .custom<number | bigint>((value) => isInteger(value) && value >= 0 && value < BELOW_UINT64)
    .meta({ type: "integer", minimum: 0, exclusiveMaximum: BELOW_UINT64 });

/** Read without loss: a `bigint` where a double would not hold it. */
export const int64 = () =>
  z
    .custom<number | bigint>((value) => isInteger(value) && value >= -BELOW_INT64 && value < BELOW_INT64)
    .meta({ type: "integer", minimum: -BELOW_INT64, exclusiveMaximum: BELOW_INT64 });

export const int32 = () =>
  z
    .int()
    .min(-(2 ** 31))
    .max(2 ** 31 - 1);

export const uint16 = () => z.int().min(0).max(65535);

export const uint32 = () =>
  z
    .int()
    .min(0)
    .max(2 ** 32 - 1);
