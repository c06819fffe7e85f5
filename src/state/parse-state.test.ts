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

test("what is no state says so", () => {
  expect(parseState("")).toBe("the file is empty");
  expect(parseState("{")).toStartWith("not JSON: ");
  for (const text of ["null", "[]", "1", '"x"']) expect(parseState(text)).toBe("not a JSON object");
});
