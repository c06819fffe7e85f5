import { expect, test } from "bun:test";
import { parseStat } from "./parse-stat.ts";

const rest = "S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 1000 1";

test("the start time is field 22, whatever the name holds", () => {
  for (const name of ["sh", "a b", "x) R 1 (y", ")", "(", "a\nb"]) {
    expect(parseStat(`42 (${name}) ${rest}\n`)).toEqual({ state: "S", exiting: false, threads: 1, startTime: 987654 });
  }
});

test("a process on its way out is known by its flags", () => {
  expect(parseStat(`42 (sh) ${rest.replace("4194560", String(4194560 + 4))}`)?.exiting).toBe(true);
});

test("what is not a stat file is no process", () => {
  expect(parseStat("")).toBeUndefined();
  expect(parseStat("42 (sh) S 1 2 3")).toBeUndefined();
});
