/** The cgroupfs driver on this machine's cgroups, with an agent as the container's process. */
import { afterEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, runInAgent, spawnAgent } from "../src/agent/session.ts";
import { planCgroup } from "../src/cgroup/cgroupfs.ts";
import { isRootCgroup, killCgroups, signalCgroups } from "../src/cgroup/kill.ts";
import { type CgroupDirectory, cgroupDirectories, cgroupRecord, containerCgroups } from "../src/cgroup/paths.ts";
import { processesIn } from "../src/cgroup/processes.ts";
import { readCgroups } from "../src/cgroup/read-cgroups.ts";
import { removeCgroups, removeEmptyCgroups } from "../src/cgroup/remove.ts";
import { readFacts } from "../src/host/read-facts.ts";
import { close, openDirectory, writeText } from "../src/kernel/files.ts";
import { sys } from "../src/kernel/kernel.ts";
import type { PlanContext } from "../src/plan/context.ts";
import { program, type Slot, slotTable } from "../src/plan/step.ts";
import { slow } from "./helpers/time.ts";

const facts = readFacts().cgroup;
const unified = facts.mode === "unified";
const children: Bun.Subprocess[] = [];
const agents: Agent[] = [];
const made: CgroupDirectory[][] = [];
let number = 0;

afterEach(async () => {
  for (const agent of agents.splice(0)) endAgent(agent);
  for (const child of children.splice(0)) {
    child.kill(9);
    await child.exited;
  }
  for (const directories of made.splice(0)) {
    expect(removeCgroups(cgroupsOf(directories))).toEqual([]);
    for (const { hierarchy } of directories) rmIfThere(`${hierarchy.mount}/tsrun-test`);
  }
});

function rmIfThere(path: string): void {
  if (existsSync(path)) removeEmptyCgroups([{ version: 1, path }]);
}

function newDirectories(): CgroupDirectory[] {
  const directories = cgroupDirectories(`/tsrun-test/${process.pid}-${++number}`, "unused", facts);
  made.push(directories);
  return directories;
}

function cgroupsOf(directories: readonly CgroupDirectory[]) {
  return containerCgroups(cgroupRecord(directories));
}

/** Runs the plan in an agent, which is in the v1 cgroups afterwards. */
function enter(directories: readonly CgroupDirectory[]): { agent: Agent; descriptor: Slot | undefined } {
  const context = { unshare: program("unshare"), slots: slotTable() } as unknown as PlanContext;
  const descriptor = planCgroup(context, readCgroups(directories, unified, false).cgroups);
  const here = mkdtempSync(join(tmpdir(), "agent-"));
  const directory = openDirectory(here);
  const agent = spawnAgent(directory);
  close(directory);
  rmSync(here, { recursive: true });
  agents.push(agent);
  runInAgent(agent, [context.unshare], context.slots);
  return { agent, descriptor };
}

function endAgent(agent: Agent): void {
  sys("close", agent.socket);
  sys("wait4", agent.pid, 0, 0, 0);
}

function newProcessIn(directories: readonly { readonly path: string }[], argv = ["sleep", "60"]): Bun.Subprocess {
  const child = Bun.spawn(argv);
  children.push(child);
  for (const { path } of directories) writeFileSync(`${path}/cgroup.procs`, String(child.pid));
  return child;
}

const withCgroups = test.skipIf(facts.mode === "none");
const onV1 = test.skipIf(facts.mode === "none" || unified);

withCgroups("the container's cgroups are made, and those of v1 entered", () => {
  const directories = newDirectories();
  const { agent, descriptor } = enter(directories);
  const lines = readFileSync(`/proc/${agent.pid}/cgroup`, "utf8").trim().split("\n");
  for (const { hierarchy, path } of directories) {
    expect(existsSync(path)).toBe(true);
    const line = `:${hierarchy.controllers.join(",")}:${path.slice(hierarchy.mount.length)}`;
    if (hierarchy.version === 1) expect(lines.some((each) => each.endsWith(line))).toBe(true);
    else expect(descriptor?.value).toBeGreaterThan(2);
  }
});

withCgroups("a cgroup with processes is refused, one that was left empty is taken over", async () => {
  const directories = newDirectories();
  for (const { path } of directories) mkdirSync(path, { recursive: true });
  const where = directories.find(({ hierarchy }) => !hierarchy.controllers.includes("cpuset"))!;
  const child = newProcessIn([where]);
  expect(() => readCgroups(directories, unified, false)).toThrow(
    "container's cgroup is not empty: 1 process(es) found",
  );
  child.kill(9);
  await child.exited;
  enter(directories);
});

onV1("cpusets are filled on the way down, also where somebody left one empty (needs cgroup v1)", () => {
  const directories = newDirectories();
  const cpuset = directories.find(({ hierarchy }) => hierarchy.controllers.includes("cpuset"));
  if (cpuset === undefined) return;
  const above = cpuset.path.slice(0, cpuset.path.lastIndexOf("/"));
  mkdirSync(above, { recursive: true });
  expect(readFileSync(`${above}/cpuset.cpus`, "utf8").trim()).toBe("");
  enter(directories);
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    expect(readFileSync(`${cpuset.path}/${file}`, "utf8")).toBe(
      readFileSync(`${cpuset.hierarchy.mount}/${file}`, "utf8"),
    );
  }
});

withCgroups("removal kills what is left, also in cgroups that the container made inside", async () => {
  const directories = newDirectories();
  endAgent(enter(directories).agent);
  agents.pop();
  const inner = directories
    .filter(({ hierarchy }) => !hierarchy.controllers.includes("cpuset"))
    .map(({ path }) => ({ path: `${path}/a/b` }));
  for (const { path } of inner) mkdirSync(path, { recursive: true });
  const child = newProcessIn(inner);
  expect(removeCgroups(cgroupsOf(directories))).toEqual([]);
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  for (const { path } of directories) expect(existsSync(path)).toBe(false);
});

withCgroups("removal and killing reach what lies deeper than a path can be long", async () => {
  const directories = newDirectories();
  for (const { path } of directories) mkdirSync(path, { recursive: true });
  const { path, hierarchy } = directories.find(({ hierarchy }) => !hierarchy.controllers.includes("cpuset"))!;
  const child = Bun.spawn(["sleep", "60"]);
  children.push(child);
  const name = "x".repeat(200);
  let deepest = openDirectory(path);
  for (let depth = 0; depth < 40; depth++) {
    expect(sys("mkdirat", deepest, name, 0o755)).toBe(0);
    const next = openDirectory(name, deepest);
    close(deepest);
    deepest = next;
  }
  expect(writeText("cgroup.procs", String(child.pid), deepest)).toBe(0);
  close(deepest);
  expect(processesIn(path)).toEqual([child.pid]);
  expect(removeCgroups([{ version: hierarchy.version, path }])).toEqual([]);
  await child.exited;
  expect([child.signalCode, existsSync(path)]).toEqual(["SIGKILL", false]);
});

withCgroups("killing takes those that are forked meanwhile", async () => {
  const directories = newDirectories();
  for (const { path } of directories) mkdirSync(path, { recursive: true });
  const where = [directories.find(({ hierarchy }) => !hierarchy.controllers.includes("cpuset"))!];
  const forks = "i=0; while [ $i -lt 200 ]; do sleep 0.05 & sleep 0.01; i=$((i+1)); done";
  const child = newProcessIn(where, ["sh", "-c", forks]);
  await Bun.sleep(50);
  expect(killCgroups(cgroupsOf(where), 2000)).toBe(0);
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
});

withCgroups("so does killing without cgroup.kill, which Linux 5.14 brought: they are frozen first", async () => {
  const where = newDirectories().find(({ hierarchy }) => hierarchy.version === 2);
  if (where === undefined) return;
  mkdirSync(where.path, { recursive: true });
  const chain = "c() { sleep 0.005; c & }; for i in 1 2 3 4; do c & done; exec sleep 60";
  const child = newProcessIn([where], ["sh", "-c", chain]);
  await Bun.sleep(50);
  // Writing there fails.
  expect(Bun.spawnSync(["mount", "--bind", "/dev/full", `${where.path}/cgroup.kill`]).exitCode).toBe(0);
  try {
    expect(killCgroups(cgroupsOf([where]), slow(2000))).toBe(0);
  } finally {
    Bun.spawnSync(["umount", `${where.path}/cgroup.kill`]);
  }
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  expect(readFileSync(`${where.path}/cgroup.freeze`, "utf8")).toBe("0\n");
});

withCgroups("a signal reaches each process once", async () => {
  const directories = newDirectories();
  for (const { path } of directories) mkdirSync(path, { recursive: true });
  const where = directories.filter(({ hierarchy }) => !hierarchy.controllers.includes("cpuset"));
  const two = [newProcessIn(where), newProcessIn(where)];
  expect(signalCgroups(cgroupsOf(where), 15)).toBe(2);
  for (const child of two) {
    await child.exited;
    expect(child.signalCode).toBe("SIGTERM");
  }
});

withCgroups("frozen processes die", async () => {
  const directories = newDirectories();
  for (const { path } of directories) mkdirSync(path, { recursive: true });
  const freezer = directories.find(({ hierarchy, path }) =>
    unified ? existsSync(`${path}/cgroup.freeze`) : hierarchy.controllers.includes("freezer"),
  );
  if (freezer === undefined) return;
  const child = newProcessIn([freezer]);
  if (unified) writeFileSync(`${freezer.path}/cgroup.freeze`, "1");
  else writeFileSync(`${freezer.path}/freezer.state`, "FROZEN");
  expect(() => readCgroups(directories, unified, false)).toThrow("not empty");
  expect(killCgroups(cgroupsOf([freezer]), 2000)).toBe(0);
  await child.exited;
  expect(processesIn(freezer.path)).toEqual([]);
});

withCgroups("roots are known: nothing is ever killed there", () => {
  for (const { mount } of facts.hierarchies) expect(isRootCgroup(mount)).toBe(true);
  const directories = newDirectories();
  for (const { path } of directories) mkdirSync(path, { recursive: true });
  for (const { path } of directories) expect(isRootCgroup(path)).toBe(false);
});

withCgroups(
  "what a state file says wrongly is left alone: a slice, tsrun's own cgroup, a directory that is none",
  async () => {
    const directories = newDirectories();
    const where = directories.find(({ hierarchy }) => !hierarchy.controllers.includes("cpuset"))!;
    const { version, mount } = where.hierarchy;
    const slice = `${mount}/tsrun-test/${process.pid}-${number}.slice`;
    mkdirSync(`${slice}/empty`, { recursive: true });
    const folder = mkdtempSync(join(tmpdir(), "no-cgroup-"));
    const lies = [slice, folder, `${slice}/../../..`, mount].map((path) => ({ version, path }));
    const child = newProcessIn([{ path: slice }]);
    try {
      const shared: string[] = [];
      expect(removeCgroups(lies, (path) => shared.push(path))).toEqual([]);
      removeEmptyCgroups(lies);
      expect(killCgroups(lies, 100)).toBe(0);
      expect(signalCgroups(lies, 9)).toBe(0);
      expect(shared).toEqual(lies.map(({ path }) => path));
      expect([existsSync(`${slice}/empty`), existsSync(folder), child.exitCode]).toEqual([true, true, null]);
    } finally {
      child.kill(9);
      await child.exited;
      rmSync(folder, { recursive: true });
      for (const path of [`${slice}/empty`, slice]) rmdirSync(path);
    }
  },
);

withCgroups("a cgroup that this very process is in is never killed", () => {
  const directories = newDirectories();
  const where = directories.find(({ hierarchy }) => !hierarchy.controllers.includes("cpuset"))!;
  const { version, mount, own } = where.hierarchy;
  mkdirSync(where.path, { recursive: true });
  writeFileSync(`${where.path}/cgroup.procs`, String(process.pid));
  try {
    expect(killCgroups([{ version, path: where.path }], 100)).toBe(0);
    expect(removeCgroups([{ version, path: where.path }])).toEqual([]);
    expect(processesIn(where.path)).toContain(process.pid);
  } finally {
    writeFileSync(`${mount}${own === "/" ? "" : own}/cgroup.procs`, String(process.pid));
  }
});

withCgroups("without permission tsrun goes on without, when it may", () => {
  const directories = facts.hierarchies.map((hierarchy) => ({ hierarchy, path: `${hierarchy.mount}/tsrun-none` }));
  const elsewhere = directories.map(({ hierarchy }) => ({
    hierarchy: { ...hierarchy, mount: "/proc/none" },
    path: "/proc/none/x",
  }));
  const { cgroups, warnings } = readCgroups(elsewhere, false, true);
  expect(cgroups).toEqual([]);
  expect(warnings[0]).toContain("no permission to make cgroups");
});
