import { expect, test } from "bun:test";
import { count, counts, listed, MAX_UINT64, row } from "./stats-texts.ts";

test("count: numbers, max, and 0 for what is none", () => {
  expect(["12\n", "max\n", "9223372036854771712\n", "18446744073709551615"].map(count)).toEqual([
    12n,
    MAX_UINT64,
    9223372036854771712n,
    MAX_UINT64,
  ]);
  expect([undefined, "", "-1\n", "1 2", "1x", "0x10"].map(count)).toEqual([0n, 0n, 0n, 0n, 0n, 0n]);
});

test("counts: lines of a name and a number; others are left out", () => {
  expect([...counts("user 1\nsystem 18446744073709551615\n\nodd\na b c\nneg -1\n")]).toEqual([
    ["user", 1n],
    ["system", MAX_UINT64],
  ]);
  expect(counts(undefined).size).toBe(0);
});

test("row: numbers between spaces", () => {
  expect(row("586109 17543788 \n")).toEqual([586109n, 17543788n]);
  expect(row("")).toEqual([]);
});

test("listed: ranges and single ones", () => {
  expect(listed("0-2,7\n")).toEqual([0n, 1n, 2n, 7n]);
  expect(listed("0\n")).toEqual([0n]);
  expect(listed("\n")).toEqual([]);
});
