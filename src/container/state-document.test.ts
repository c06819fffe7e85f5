import { expect, test } from "bun:test";
import { processStartTime } from "../state/process.ts";
import type { ContainerState } from "../state/state.ts";
import { containerView, stateDocument, userName } from "./state-document.ts";

const state: ContainerState = {
  ociVersion: "1.3.0",
  id: "box",
  phase: "created",
  init_process_pid: 42,
  init_process_start: processStartTime(1),
  created: "2026-01-02T03:04:05.000000006Z",
  bundle: "/b",
  rootfs: "/b/rootfs",
  owner: 0,
  annotations: { "org.example": "x" },
  cgroup_paths: {},
  rootless: false,
  mounted: [],
  creator: 0,
  start: { env: [], preserve_fds: 0, agent_socket: 3, no_new_keyring: false },
};

test("hooks see the specification's properties and no others", () => {
  const common = { ociVersion: "1.3.0", id: "box", bundle: "/b", annotations: { "org.example": "x" } };
  expect(stateDocument(state, "created")).toEqual({ ...common, status: "created", pid: 42 });
  expect(stateDocument(state, "stopped")).toEqual({ ...common, status: "stopped" });
  expect(stateDocument({ ...state, init_process_pid: 0 }, "creating")).toEqual({ ...common, status: "creating" });
});

test("state and list show runc's properties in runc's order", () => {
  const names = "ociVersion id pid status bundle rootfs created annotations owner".split(" ");
  expect(Object.keys(containerView(state, "running", "root"))).toEqual(names);
  expect(containerView(state, "running", "root").pid).toBe(42);
  expect(containerView(state, "stopped", "root").pid).toBe(0);
  expect(containerView({ ...state, annotations: {} }, "paused", "root")).not.toHaveProperty("annotations");
});

test("owners have names where /etc/passwd knows them", () => {
  const passwd = "root:x:0:0:root:/root:/bin/sh\n\n# note\nalice:x:1000:1000::/:\n:x:7:7::/:\n";
  expect(userName(passwd, 0)).toBe("root");
  expect(userName(passwd, 1000)).toBe("alice");
  expect(userName(passwd, 100)).toBe("#100");
  expect(userName(passwd, 7)).toBe("#7");
  expect(userName("", 5)).toBe("#5");
});
