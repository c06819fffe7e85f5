import { expect, test } from "bun:test";
import { parseState } from "./parse-state.ts";
import type { ContainerState } from "./state.ts";

const state: ContainerState = {
  ociVersion: "1.3.0",
  id: "box",
  phase: "created",
  init_process_pid: 42,
  init_process_start: 4711,
  created: "2026-01-02T03:04:05.000000006Z",
  bundle: "/b",
  rootfs: "/b/rootfs",
  owner: 0,
  annotations: { "org.example": "x" },
  cgroup_paths: { pids: "/sys/fs/cgroup/pids/box" },
  rootless: false,
  mounted: [],
  creator: 0,
  start: { env: ["PATH=/bin"], preserve_fds: 0, agent_socket: 3, no_new_keyring: false },
};

test("what was written is what is read", () => {
  expect(parseState(JSON.stringify(state))).toEqual(state);
});

test("names that JavaScript has plans of its own for are only names", () => {
  const text = JSON.stringify(state).replace('"org.example":"x"', '"__proto__":"x","constructor":"y"');
  const read = parseState(text) as ContainerState;
  expect(Object.entries(read.annotations)).toEqual([
    ["__proto__", "x"],
    ["constructor", "y"],
  ]);
});

test("each missing or wrong property is named", () => {
  for (const property of Object.keys(state)) {
    const { [property as keyof ContainerState]: _, ...without } = state;
    expect(parseState(JSON.stringify(without))).toContain(`"${property}" should be`);
    expect(parseState(JSON.stringify({ ...state, [property]: null }))).toContain(`"${property}" should be`);
  }
  expect(parseState(JSON.stringify({ ...state, init_process_pid: -1 }))).toContain("init_process_pid");
  expect(parseState(JSON.stringify({ ...state, init_process_pid: 1.5 }))).toContain("init_process_pid");
  expect(parseState(JSON.stringify({ ...state, start: { ...state.start, env: "" } }))).toContain("start");
  expect(parseState(JSON.stringify({ ...state, mounted: [1] }))).toContain("mounted");
});

test("another container's is none", () => {
  expect(parseState(JSON.stringify(state), "box")).toEqual(state);
  expect(parseState(JSON.stringify(state), "other")).toBe('it is the state of container "box"');
});

test("what start needs is looked at too", () => {
  const filter = { flags: 0, notifies: false, is_mute: false };
  const sets = { effective: "0", permitted: "18446744073709551615", inheritable: "7" };
  const whole = { ...state, start: { ...state.start, filter, last_capabilities: sets } };
  expect(parseState(JSON.stringify(whole))).toEqual(whole);
  const { no_new_keyring: _, ...earlier } = state.start;
  expect(parseState(JSON.stringify({ ...state, start: earlier }))).toMatchObject({ start: earlier });
  for (const wrong of [
    { no_new_keyring: 1 },
    { filter: 5 },
    { filter: { ...filter, flags: "0" } },
    { last_capabilities: [] },
    { last_capabilities: { ...sets, effective: "x" } },
  ]) {
    expect(parseState(JSON.stringify({ ...state, start: { ...state.start, ...wrong } }))).toContain("start");
  }
});

test("what is no state says so", () => {
  expect(parseState("")).toBe("the file is empty");
  expect(parseState("{")).toStartWith("not JSON: ");
  for (const text of ["null", "[]", "1", '"x"']) expect(parseState(text)).toBe("not a JSON object");
});
