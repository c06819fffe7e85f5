import { expect, test } from "bun:test";
import { exitCode, shellStatus, terminatingSignal } from "./wait.ts";

for (const [status, code, signal, shell] of [
  [0, 0, 0, 0],
  [3 << 8, 3, 0, 3],
  [255 << 8, 255, 0, 255],
  [9, undefined, 9, 137],
  [11 | 0x80, undefined, 11, 139], // with a core dump
  [64, undefined, 64, 192],
] as const) {
  test(`wait status 0x${status.toString(16)}`, () => {
    expect([exitCode(status), terminatingSignal(status), shellStatus(status)]).toEqual([code, signal, shell]);
  });
}
