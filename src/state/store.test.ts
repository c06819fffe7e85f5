import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { close } from "../kernel/files.ts";
import { isLocked, lockContainer, unlockContainer } from "./lock.ts";
import { processStartTime } from "./process.ts";
import { salvageState } from "./salvage.ts";
import type { ContainerState } from "./state.ts";
import { statusOf } from "./status.ts";
import {
  checkId,
  createContainerDirectory,
  findContainerDirectory,
  listContainers,
  openContainerDirectory,
  publishState,
  readSavedConfig,
  readState,
  removeContainerDirectory,
  saveConfig,
  writeDraft,
  writeState,
} from "./store.ts";

let top: string;
let root: string;
const open: number[] = [];

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "store-"));
  root = join(top, "deep", "root");
});

afterEach(() => {
  for (const fd of open.splice(0)) close(fd);
  rmSync(top, { recursive: true, force: true });
});

function kept(fd: number): number {
  open.push(fd);
  return fd;
}

function newContainer(id = "box"): number {
  return kept(createContainerDirectory(root, id));
}

function someState(changes: Partial<ContainerState> = {}): ContainerState {
  return {
    ociVersion: "1.3.0",
    id: "box",
    phase: "created",
    init_process_pid: process.pid,
    init_process_start: processStartTime(process.pid),
    created: "2026-01-02T03:04:05Z",
    bundle: "/b",
    rootfs: "/b/rootfs",
    owner: 0,
    annotations: {},
    cgroup_paths: {},
    rootless: false,
    mounted: [],
    creator: process.pid,
    start: { env: [], preserve_fds: 0, agent_socket: 3, no_new_keyring: false },
    ...changes,
  };
}

test("the directory is the owner's only, and so is a root that had to be made", () => {
  newContainer();
  for (const path of [join(top, "deep"), root, join(root, "box")]) expect(statSync(path).mode & 0o7777).toBe(0o700);
});

test("an id is taken once", () => {
  newContainer();
  expect(() => createContainerDirectory(root, "box")).toThrow("container with given ID already exists");
});

test("ids are names, not paths", () => {
  for (const id of ["a", "A_b+c.d-e", "..a", "x".repeat(1024), "__proto__"]) expect(() => checkId(id)).not.toThrow();
  for (const id of [".", "..", "a/b", "/", "a b", "é", "a\n", "a\0", "x".repeat(1025)]) {
    expect(() => checkId(id)).toThrow("invalid container ID format");
  }
  expect(() => checkId("")).toThrow("container id cannot be empty");
});

test("an id that the file system finds too long is refused with the kernel's word", () => {
  expect(() => createContainerDirectory(root, "x".repeat(300))).toThrow("file name too long");
});

test("states are written and read as a whole", () => {
  const directory = newContainer();
  writeState(directory, someState());
  writeState(directory, someState({ bundle: "/other" }));
  expect(readState(directory, root, "box").bundle).toBe("/other");
  expect(existsSync(join(root, "box", "state.json.new"))).toBe(false);
});

test("a draft counts as creating until it is published", () => {
  const directory = newContainer();
  writeDraft(directory, someState());
  const observer = kept(openContainerDirectory(root, "box"));
  expect(readState(observer, root, "box").phase).toBe("creating");
  expect(statusOf(readState(observer, root, "box"), observer)).toBe("creating");
  publishState(directory);
  expect(readState(observer, root, "box").phase).toBe("created");
});

test("a create that was killed is stopped and unfinished", () => {
  const directory = createContainerDirectory(root, "box");
  writeDraft(directory, someState());
  close(directory);
  const observer = kept(openContainerDirectory(root, "box"));
  const state = readState(observer, root, "box");
  expect(statusOf(state, observer)).toBe("stopped");
  expect(state.phase).toBe("creating");
});

test("the status follows from the process and its socket", () => {
  const directory = newContainer();
  expect(statusOf(someState(), directory)).toBe("running");
  expect(statusOf(someState({ init_process_start: 1 }), directory)).toBe("stopped");
  expect(statusOf(someState({ init_process_pid: 0, init_process_start: 0 }), directory)).toBe("stopped");
  writeFileSync(join(root, "box", "exec.sock"), "");
  expect(statusOf(someState(), directory)).toBe("created");
});

test("a frozen cgroup makes it paused", () => {
  const directory = newContainer();
  const cgroup = join(top, "cgroup");
  mkdirSync(cgroup);
  writeFileSync(join(cgroup, "cgroup.events"), "populated 1\nfrozen 1\n");
  expect(statusOf(someState({ cgroup_paths: { "": cgroup } }), directory)).toBe("paused");
  writeFileSync(join(cgroup, "cgroup.events"), "populated 1\nfrozen 0\n");
  expect(statusOf(someState({ cgroup_paths: { "": cgroup } }), directory)).toBe("running");
  writeFileSync(join(cgroup, "freezer.state"), "FROZEN\n");
  expect(statusOf(someState({ cgroup_paths: { "": "/none", freezer: cgroup } }), directory)).toBe("paused");
});

test("what does not exist says so", () => {
  expect(findContainerDirectory(root, "box")).toBeUndefined();
  expect(() => openContainerDirectory(root, "box")).toThrow("container does not exist");
  expect(() => readState(newContainer(), root, "box")).toThrow("container does not exist");
});

test("a link in place of a container is none", () => {
  newContainer();
  symlinkSync(join(root, "box"), join(root, "link"));
  expect(findContainerDirectory(root, "link")).toBeUndefined();
  expect(listContainers(root)).toEqual(["box"]);
});

test("a corrupted state names the file and the fault, and is salvaged from the draft", () => {
  const directory = newContainer();
  writeFileSync(join(root, "box", "state.json"), '{"id":');
  expect(() => readState(directory, root, "box")).toThrow(`${root}/box/state.json: not JSON`);
  expect(salvageState(directory)).toBeUndefined();
  writeDraft(directory, someState({ init_process_pid: 42 }));
  expect(salvageState(directory)?.init_process_pid).toBe(42);
});

test("nobody waits for what took the place of a file", () => {
  const directory = newContainer();
  for (const name of ["state.json", "state.json.new", "config.json"]) {
    Bun.spawnSync(["mkfifo", join(root, "box", name)]);
  }
  expect(() => readState(directory, root, "box")).toThrow("the file is empty");
  expect(salvageState(directory)).toBeUndefined();
  expect(readSavedConfig(directory)).toBe("");
  expect(() => saveConfig(directory, "{}")).toThrow('cannot create "config.json"');
});

test("containers are listed in order; a root that is not there has none", () => {
  expect(listContainers(root)).toEqual([]);
  for (const id of ["b", "a", "c"]) newContainer(id);
  writeFileSync(join(root, "file"), "");
  mkdirSync(join(root, "no id"));
  expect(listContainers(root)).toEqual(["a", "b", "c"]);
});

test("removal takes everything below and follows no link", () => {
  const directory = newContainer();
  const outside = join(top, "outside");
  writeFileSync(outside, "kept");
  mkdirSync(join(root, "box", "a", "b"), { recursive: true });
  writeFileSync(join(root, "box", "a", "b", "c"), "");
  symlinkSync(top, join(root, "box", "a", "link"));
  saveConfig(directory, "{}");
  removeContainerDirectory(root, "box");
  expect(existsSync(join(root, "box"))).toBe(false);
  expect(readFileSync(outside, "utf8")).toBe("kept");
  removeContainerDirectory(root, "box");
});

test("the saved configuration is the text as it was", () => {
  const directory = newContainer();
  const text = `{"a": 18446744073709551615, "b": "${"ü".repeat(20000)}"}\n`;
  saveConfig(directory, text);
  expect(readSavedConfig(directory)).toBe(text);
});

test("one command at a time: a second one gives up and names the creator", () => {
  const directory = newContainer();
  writeDraft(directory, someState({ creator: 4711 }));
  const other = kept(openContainerDirectory(root, "box"));
  expect(isLocked(other)).toBe(true);
  expect(() => lockContainer(other, "box", 20)).toThrow("process 4711");
  unlockContainer(directory);
  expect(isLocked(other)).toBe(false);
  lockContainer(other, "box", 20);
  expect(isLocked(directory)).toBe(true);
  expect(isLocked(other)).toBe(true);
  expect(() => lockContainer(directory, "box", 20)).toThrow("process 4711");
  expect(statusOf(someState({ phase: "creating" }), other, true)).toBe("stopped");
});

test("a lock on what was deleted meanwhile is no lock", () => {
  const directory = newContainer();
  unlockContainer(directory);
  removeContainerDirectory(root, "box");
  expect(() => lockContainer(directory, "box", 20)).toThrow("container does not exist");
});
