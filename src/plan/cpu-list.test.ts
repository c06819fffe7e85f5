import { expect, test } from "bun:test";
import { cpuSet } from "./cpu-list.ts";

/** The numbers of the bits that are set. */
function cpus(mask: Uint8Array): number[] {
  return Array.from({ length: mask.length * 8 }, (_, cpu) => cpu).filter((cpu) => (mask[cpu >> 3]! >> (cpu & 7)) & 1);
}

for (const [list, expected, bytes] of [
  ["0", [0], 8],
  ["0-3,7", [0, 1, 2, 3, 7], 8],
  ["7,0-3,2", [0, 1, 2, 3, 7], 8],
  ["63", [63], 8],
  ["64", [64], 16],
  [" 1 , 3 ", [1, 3], 8],
  ["5-5", [5], 8],
] as const) {
  test(`"${list}"`, () => {
    const mask = cpuSet(list);
    expect(cpus(mask)).toEqual([...expected]);
    expect(mask.length).toBe(bytes);
  });
}

for (const list of ["", ",", "1,", "3-1", "a", "-1", "1-", "1-2-3", "0x1", "123456", "1;2"]) {
  test(`"${list}" is refused`, () => expect(() => cpuSet(list)).toThrow("should be such as 0-3,7"));
}
