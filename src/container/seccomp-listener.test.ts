import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { socketPair } from "../agent/session.ts";
import { sys } from "../kernel/kernel.ts";
import { unixAddress } from "../plan/terminal.ts";
import type { ContainerState } from "../state/state.ts";
import { textOf, utf8 } from "../text.ts";
import { type ListenerRequest, sendListener, waitForProcess } from "./seccomp-listener.ts";

const home = mkdtempSync("/tmp/tsrun-seccomp-listener-");
const opened: number[] = [];
afterAll(() => {
  for (const fd of opened) sys("close", fd);
  rmSync(home, { recursive: true });
});

const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000;

function socket(): number {
  const fd = sys("socket", 1, SOCK_STREAM_NONBLOCK_CLOEXEC, 0);
  opened.push(fd);
  return fd;
}

/** A socket that one more can connect to. */
function listening(name: string): { fd: number; path: string } {
  const path = `${home}/${name}`;
  const address = unixAddress(path);
  const fd = socket();
  expect([sys("bind", fd, address, address.length), sys("listen", fd, 0)]).toEqual([0, 0]);
  return { fd, path };
}

/** Any descriptor of this process in place of a listener's. */
const theirs = openSync("/dev/null", "r");

function request(path: string, more: Partial<ListenerRequest> = {}): ListenerRequest {
  const state = { ociVersion: "1.2.0", id: "c1", init_process_pid: 7, bundle: "/b", annotations: { a: "x" } };
  return {
    profile: { defaultAction: "SCMP_ACT_ALLOW", listenerPath: path },
    state: state as unknown as ContainerState,
    pid: process.pid,
    isExec: false,
    patience: 30,
    ...more,
  };
}

test("one message, and the end", () => {
  const { fd, path } = listening("good");
  sendListener(request(path), theirs);
  const connection = sys("accept4", fd, 0, 0, 0);
  opened.push(connection);
  const buffer = new Uint8Array(4096);
  const length = sys("read", connection, buffer, buffer.length);
  expect(JSON.parse(textOf(buffer.subarray(0, length)))).toEqual({
    ociVersion: "1.2.0",
    fds: ["seccompFd"],
    pid: process.pid,
    state: { ociVersion: "1.2.0", id: "c1", status: "creating", pid: 7, bundle: "/b", annotations: { a: "x" } },
  });
  expect(sys("read", connection, buffer, buffer.length)).toBe(0);
});

test("nobody accepts: an error when patience ends", () => {
  const { path } = listening("full");
  const address = unixAddress(path);
  while (sys("connect", socket(), address, address.length) === 0);
  expect(() => sendListener(request(path), theirs)).toThrow(
    `failed to connect with seccomp agent at "${path}": no answer in 0.03 seconds (linux.seccomp.listenerPath)`,
  );
});

test("nobody reads: an error when patience ends", () => {
  const { path } = listening("deaf");
  const profile = { defaultAction: "SCMP_ACT_ALLOW" as const, listenerPath: path, listenerMetadata: "x".repeat(4e6) };
  expect(() => sendListener(request(path, { profile }), theirs)).toThrow("no answer in 0.03 seconds");
});

test("a process that says nothing: an error when patience ends; what it says, and its end, are enough", () => {
  const [ours, theirs] = socketPair();
  opened.push(ours);
  const agent = { pid: process.pid, socket: ours, theirs };
  const wait = () => waitForProcess(agent, 30, "begun its program", "it has to answer");
  expect(wait).toThrow(
    "the container's process has not begun its program in 0.03 seconds: no answer from the seccomp agent (linux.seccomp.listenerPath)",
  );
  sys("write", theirs, utf8("x"), 1);
  wait();
  sys("read", ours, new Uint8Array(1), 1);
  expect(wait).toThrow("in 0.03 seconds");
  sys("close", theirs);
  wait();
});

test("nobody is there, and no descriptor is left open", () => {
  const before = openSync("/dev/null", "r");
  opened.push(before);
  expect(() => sendListener(request(`${home}/nobody`), theirs)).toThrow("no such file or directory");
  expect(() => sendListener(request(`${home}/nobody`), 9999)).toThrow(/cannot take the seccomp listener from process/);
  const after = openSync("/dev/null", "r");
  opened.push(after);
  expect(after).toBe(before + 1);
});
