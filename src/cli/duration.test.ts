import { expect, test } from "bun:test";
import { parseDuration } from "./duration.ts";

test("one unit, several, and a fraction", () => {
  const texts = ["5s", "100ms", "1m30s", "1.5h", ".5s", "1.s", "3us", "3µs", "3μs", "7ns", "+2s", "1h2m3s4ms5us6ns"];
  expect(texts.map(parseDuration)).toEqual([5e9, 1e8, 90e9, 5400e9, 5e8, 1e9, 3e3, 3e3, 3e3, 7, 2e9, 3723004005006]);
});

test("nothing, and less than nothing", () => {
  expect(["0", "-0", "0s"].map((text) => Math.abs(parseDuration(text)!))).toEqual([0, 0, 0]);
  expect(parseDuration("-1.5s")).toBe(-1.5e9);
});

test("what is no duration", () => {
  const texts = ["", "5", "s", "5 s", "5s ", " 5s", "5sec", "5S", "1d", "--5s", "-", ".s", "5s3", "1e3s", "0x5s"];
  expect(texts.map(parseDuration)).toEqual(texts.map(() => undefined));
});

test("longer than Go can count", () => {
  expect(parseDuration("2562047h")).toBeNumber();
  expect(parseDuration("2562048h")).toBeUndefined();
});
