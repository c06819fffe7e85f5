import { expect, test } from "bun:test";
import { suggestion } from "./suggest.ts";

const NAMES = ["mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time"];

test.each([
  ["netwrok", "network"],
  ["Network", "network"],
  ["net", undefined],
  ["moutn", "mount"],
  ["utc", "uts"],
  ["users", "user"],
  ["cgroups", "cgroup"],
  ["completely different", undefined],
  ["", undefined],
])("%p is meant to be %p", (name, meant) => {
  expect(suggestion(name, NAMES)).toBe(meant);
});

test("the nearest wins", () => {
  expect(suggestion("SCMP_ACT_KILL_PROCES", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS"])).toBe("SCMP_ACT_KILL_PROCESS");
});

test("hostile lengths cost nothing", () => {
  expect(suggestion("x".repeat(1_000_000), NAMES)).toBeUndefined();
});
