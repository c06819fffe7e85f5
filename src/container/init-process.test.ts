import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { processStartTime } from "../state/process.ts";
import type { ContainerState } from "../state/state.ts";
import { killInit, openInit, signalInit } from "./init-process.ts";

/** As much of a state as is looked at here. */
function stateOf(pid: number, start: number): ContainerState {
  return { id: "box", init_process_pid: pid, init_process_start: start } as ContainerState;
}

test("a process that is there is opened, one with another start time is not", () => {
  const start = processStartTime(process.pid);
  expect(openInit(stateOf(process.pid, start))).toBeGreaterThan(2);
  expect(openInit(stateOf(process.pid, start + 1))).toBeUndefined();
});

test("an id that has become a thread's of another process is nobody's", () => {
  const thread = readdirSync("/proc/self/task")
    .map(Number)
    .find((id) => id !== process.pid)!;
  const state = stateOf(thread, processStartTime(thread));
  expect(openInit(state)).toBeUndefined();
  expect(signalInit(state, 0)).toBe(false);
  expect(killInit(state, 100, () => {})).toBe(true);
});
