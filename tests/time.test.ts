import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { unshare } from "./helpers/config.ts";
import { type Change, mustSucceed, suite } from "./helpers/suite.ts";

const { test, see, refusal, started, exec } = suite("time");

const offset =
  (boottime: number, monotonic: number, nanosecs = 0): Change =>
  (config) => {
    unshare(config, "time");
    config.linux.timeOffsets = { boottime: { secs: boottime, nanosecs }, monotonic: { secs: monotonic, nanosecs } };
  };

const upSeconds = (text: string): number => Number(text.split(" ")[0]);

test("both clocks have the offsets of the config", () => {
  const lines = see("cat /proc/self/timens_offsets", offset(1000, 2000, 500)).split("\n");
  expect(lines.map((line) => line.trim().split(/ +/))).toEqual([
    ["monotonic", "2000", "500"],
    ["boottime", "1000", "500"],
  ]);
});

test("the time since boot is later by the offset", () => {
  const inside = upSeconds(see("cat /proc/uptime", offset(1_000_000, 0)));
  const outside = upSeconds(readFileSync("/proc/uptime", "utf8"));
  expect(inside - outside).toBeGreaterThan(999_990);
  expect(inside - outside).toBeLessThan(1_000_010);
});

test("one clock alone", () => {
  const change: Change = (config) => {
    unshare(config, "time");
    config.linux.timeOffsets = { monotonic: { secs: 77 } };
  };
  const lines = see("cat /proc/self/timens_offsets", change).split("\n");
  expect(lines.map((line) => line.trim().split(/ +/))).toEqual([
    ["monotonic", "77", "0"],
    ["boottime", "0", "0"],
  ]);
});

test("a new time namespace without offsets", () => {
  const inside = upSeconds(see("cat /proc/uptime", (config) => unshare(config, "time")));
  expect(Math.abs(upSeconds(readFileSync("/proc/uptime", "utf8")) - inside)).toBeLessThan(10);
});

test("exec sees the offset", () => {
  const b = started(offset(1_000_000, 0));
  const inside = upSeconds(mustSucceed(exec(b, ["/bin/cat", "/proc/uptime"])).stdout);
  expect(inside).toBeGreaterThan(1_000_000);
});

test("offsets without a time namespace are refused", () => {
  const stderr = refusal((config) => {
    config.linux.timeOffsets = { boottime: { secs: 1 } };
  });
  expect(stderr).toMatch(/time namespace/i);
});

test("an offset before boot is refused", () => {
  expect(refusal(offset(-1_000_000_000, 0))).toMatch(/timens_offsets|time ?offset|numerical result out of range/i);
});
