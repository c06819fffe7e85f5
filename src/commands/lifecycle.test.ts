import { afterEach, beforeEach, expect, spyOn, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CommandInput, type CommandName, commandOptions, defaultValues, globalOptions } from "../cli/options.ts";
import * as output from "../cli/output.ts";
import { close } from "../kernel/files.ts";
import { processStartTime } from "../state/process.ts";
import type { ContainerState } from "../state/state.ts";
import { createContainerDirectory, saveConfig, writeDraft, writeState } from "../state/store.ts";
import { deleteCommand } from "./delete.ts";
import { killCommand } from "./kill.ts";
import { listCommand } from "./list.ts";
import { stateCommand } from "./state.ts";

// A container, as these commands see it, is a process and a state directory: any process will do.

let root: string;
let warnings: string[];
const children: Bun.Subprocess[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "lifecycle-"));
  warnings = [];
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill(9);
    await child.exited;
  }
  rmSync(root, { recursive: true, force: true });
});

function input<N extends CommandName>(name: N, args: string[], options: object = {}): CommandInput<N> {
  const globals = { ...defaultValues(globalOptions()), root };
  const warn = (message: string) => warnings.push(message);
  return { args, options: { ...defaultValues(commandOptions(name)), ...options }, globals, warn, tell: warn } as never;
}

function newProcess(): Bun.Subprocess {
  const child = Bun.spawn(["sleep", "60"]);
  children.push(child);
  return child;
}

async function newStopped(id: string, changes: Partial<ContainerState> = {}): Promise<void> {
  const child = newContainer(id, changes);
  child.kill(9);
  await child.exited;
}

function newContainer(id: string, changes: Partial<ContainerState> = {}, write = writeState): Bun.Subprocess {
  const child = newProcess();
  const directory = createContainerDirectory(root, id);
  write(directory, {
    ociVersion: "1.3.0",
    id,
    phase: "created",
    init_process_pid: child.pid,
    init_process_start: processStartTime(child.pid),
    created: "2026-01-02T03:04:05Z",
    bundle: "/b",
    rootfs: "/b/rootfs",
    owner: 0,
    annotations: {},
    cgroup_paths: {},
    rootless: false,
    mounted: [],
    creator: 0,
    start: { env: [], preserve_fds: 0, agent_socket: 3, no_new_keyring: false },
    ...changes,
  });
  saveConfig(directory, "{}");
  close(directory);
  return child;
}

function printed(action: () => number): string {
  const parts: string[] = [];
  const print = spyOn(output, "print").mockImplementation((part) => void parts.push(part));
  try {
    expect(action()).toBe(0);
  } finally {
    print.mockRestore();
  }
  return parts.join("");
}

test("state prints JSON that says what the container is doing", async () => {
  const child = newContainer("box");
  const text = printed(() => stateCommand(input("state", ["box"])));
  expect(text).toStartWith('{\n  "ociVersion"');
  expect(JSON.parse(text)).toMatchObject({ id: "box", status: "running", pid: child.pid, owner: "root" });
  child.kill(9);
  await child.exited;
  expect(JSON.parse(printed(() => stateCommand(input("state", ["box"]))))).toMatchObject({ status: "stopped", pid: 0 });
});

test("commands name what is wrong with an id", () => {
  for (const command of [stateCommand, killCommand, deleteCommand]) {
    expect(() => command(input("state", ["none"]) as never)).toThrow("container does not exist");
    expect(() => command(input("state", ["a/b"]) as never)).toThrow("invalid container ID format");
  }
});

test("kill sends the signal that is named, TERM without a name", async () => {
  const child = newContainer("box");
  killCommand(input("kill", ["box", "usr1"]));
  await child.exited;
  expect(child.signalCode).toBe("SIGUSR1");
  const other = newContainer("other");
  killCommand(input("kill", ["other"]));
  await other.exited;
  expect(other.signalCode).toBe("SIGTERM");
});

test("kill of what has stopped is an error, with --all it is not", async () => {
  await newStopped("box");
  expect(() => killCommand(input("kill", ["box", "9"]))).toThrow("container not running");
  expect(killCommand(input("kill", ["box", "9"], { all: true }))).toBe(0);
});

test("kill never reaches a process that was given the same id later", async () => {
  const child = newContainer("box", { init_process_start: 1 });
  expect(() => killCommand(input("kill", ["box", "9"]))).toThrow("container not running");
  killCommand(input("kill", ["box", "9"], { all: true }));
  deleteCommand(input("delete", ["box"]));
  expect(child.exitCode).toBeNull();
  expect(child.killed).toBe(false);
});

test("kill --regex signals those that match", async () => {
  const [a1, a2, b] = [newContainer("a1"), newContainer("a2"), newContainer("b")];
  await newStopped("a3");
  killCommand(input("kill", ["^a", "KILL"], { regex: true }));
  await Promise.all([a1.exited, a2.exited]);
  expect(b.exitCode).toBeNull();
  expect(warnings).toEqual([]);
  expect(() => killCommand(input("kill", ["(", "KILL"], { regex: true }))).toThrow("regular expression");
});

test("delete refuses a running container, and takes it with --force", async () => {
  const child = newContainer("box");
  const refusal = "cannot delete container box that is not stopped: running";
  expect(() => deleteCommand(input("delete", ["box"]))).toThrow(refusal);
  expect(readdirSync(root)).toEqual(["box"]);
  deleteCommand(input("delete", ["box"], { force: true }));
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  expect(readdirSync(root)).toEqual([]);
});

test("delete takes a stopped container, and a created one with its process", async () => {
  await newStopped("stopped");
  deleteCommand(input("delete", ["stopped"]));
  const child = newContainer("created");
  writeFileSync(join(root, "created", "exec.sock"), "");
  deleteCommand(input("delete", ["created"]));
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  expect(readdirSync(root)).toEqual([]);
});

test("delete --force of what does not exist is silent", () => {
  expect(deleteCommand(input("delete", ["none"], { force: true }))).toBe(0);
  expect(warnings).toEqual([]);
});

test("delete takes a create that was killed, with what it had started", async () => {
  const child = newContainer("box", {}, writeDraft);
  deleteCommand(input("delete", ["box"]));
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  expect(readdirSync(root)).toEqual([]);
});

test("delete --force takes a directory without a state, and one with a broken state", () => {
  close(createContainerDirectory(root, "bare"));
  const id = `broken-${process.pid}`;
  close(createContainerDirectory(root, id));
  writeFileSync(join(root, id, "state.json"), "{");
  expect(() => deleteCommand(input("delete", ["bare"]))).toThrow("container does not exist");
  expect(() => deleteCommand(input("delete", [id]))).toThrow("cannot read the state");
  deleteCommand(input("delete", ["bare"], { force: true }));
  deleteCommand(input("delete", [id], { force: true }));
  expect(readdirSync(root)).toEqual([]);
});

test("delete runs the poststop hooks of the saved configuration, after the container is gone", async () => {
  await newStopped("box");
  const seen = join(root, "seen");
  const script = `cat > ${seen}; ls ${root} >> ${seen}`;
  const failing = { path: "/bin/false" };
  const hook = { path: "/bin/sh", args: ["sh", "-c", script], env: ["PATH=/bin:/usr/bin"] };
  writeFileSync(join(root, "box", "config.json"), JSON.stringify({ hooks: { poststop: [failing, hook] } }));
  deleteCommand(input("delete", ["box"]));
  const text = await Bun.file(seen).text();
  expect(text).toContain('"status":"stopped"');
  expect(text).not.toContain("\nbox");
  expect(warnings).toHaveLength(1);
});

test("delete --regex goes on after a failure and reports it", async () => {
  newContainer("a1");
  await newStopped("a2");
  await newStopped("b");
  expect(() => deleteCommand(input("delete", ["^a"], { regex: true }))).toThrow("cannot delete 1 of 2 containers");
  expect(readdirSync(root).sort()).toEqual(["a1", "b"]);
  expect(warnings[0]).toContain("a1");
  expect(deleteCommand(input("delete", [""], { regex: true, force: true }))).toBe(0);
  expect(readdirSync(root)).toEqual([]);
});

test("list prints a table, JSON, or ids", async () => {
  const child = newContainer("box");
  await newStopped("a-longer-name");
  expect(printed(() => listCommand(input("list", [])))).toBe(
    [
      "ID              PID         STATUS      BUNDLE      CREATED                OWNER",
      "a-longer-name   0           stopped     /b          2026-01-02T03:04:05Z   root",
      `box             ${String(child.pid).padEnd(12)}running     /b          2026-01-02T03:04:05Z   root`,
      "",
    ].join("\n"),
  );
  expect(printed(() => listCommand(input("list", [], { quiet: true })))).toBe("a-longer-name\nbox\n");
  const json = printed(() => listCommand(input("list", [], { format: "json" })));
  expect(JSON.parse(json)).toMatchObject([{ id: "a-longer-name" }, { id: "box", pid: child.pid }]);
});

test("an empty list is null in JSON, as Go prints it", () => {
  rmSync(root, { recursive: true });
  expect(printed(() => listCommand(input("list", [], { format: "json" })))).toBe("null\n");
  expect(printed(() => listCommand(input("list", [])))).toBe(
    "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n",
  );
});

test("a broken container does not hide the others", () => {
  newContainer("box");
  close(createContainerDirectory(root, "broken"));
  writeFileSync(join(root, "broken", "state.json"), "");
  expect(JSON.parse(printed(() => listCommand(input("list", [], { format: "json" }))))).toHaveLength(1);
  expect(warnings[0]).toContain("broken");
  expect(existsSync(join(root, "broken"))).toBe(true);
});
