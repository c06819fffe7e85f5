import { afterEach, expect, test } from "bun:test";
import type { Config } from "../spec/types.ts";
import { listenFds } from "./listen-fds.ts";

const NAMES = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] as const;
afterEach(() => {
  for (const name of NAMES) delete process.env[name];
});

const OWN_PIDS = { linux: { namespaces: [{ type: "pid" }] } } as Config;
const HOST_PIDS = { linux: { namespaces: [{ type: "pid", path: "/proc/1/ns/pid" }] } } as Config;

function given(variables: Partial<Record<(typeof NAMES)[number], string>>, config = OWN_PIDS) {
  Object.assign(process.env, variables);
  return listenFds(config);
}

const none = { count: 0, env: [] };

test("nothing given, nothing passed on", () => expect(given({})).toEqual(none));

test("number, names, and the process id that the container's first process has", () => {
  expect(given({ LISTEN_FDS: "2", LISTEN_PID: String(process.pid), LISTEN_FDNAMES: "a:b" })).toEqual({
    count: 2,
    env: ["LISTEN_FDS=2", "LISTEN_PID=1", "LISTEN_FDNAMES=a:b"],
  });
});

test("without a LISTEN_PID they are for whoever reads it", () => {
  expect(given({ LISTEN_FDS: "1" })).toEqual({ count: 1, env: ["LISTEN_FDS=1", "LISTEN_PID=1"] });
});

test("those of another process are left alone", () => {
  expect(given({ LISTEN_FDS: "2", LISTEN_PID: "1" })).toEqual(none);
});

test("without process ids of its own the container's cannot be told before", () => {
  expect(given({ LISTEN_FDS: "1" }, HOST_PIDS).env).toEqual(["LISTEN_FDS=1"]);
  expect(given({ LISTEN_FDS: "1" }, {} as Config).env).toEqual(["LISTEN_FDS=1"]);
});

for (const text of ["", "x", "1x", "-1", " 1", "1234567"]) {
  test(`LISTEN_FDS=${JSON.stringify(text)} is none`, () => expect(given({ LISTEN_FDS: text })).toEqual(none));
}
