/**
 * Every property of linux.resources, read back from the kernel's files after create and after update. One list of cases for
 * cgroup v1 and v2, for who makes the cgroup (MANAGER=cgroupfs or systemd), and for tsrun, runc and crun.
 */
import { expect } from "bun:test";
import { existsSync, readFileSync, rmdirSync } from "node:fs";
import {
  addHierarchy,
  cgroupFile,
  controllerOf,
  controllerPlace,
  LANE,
  loopDevice,
  missingController,
  missingFile,
  NO_LOOP_DEVICE,
  onlyV2,
} from "./helpers/cgroup-files.ts";
import { command } from "./helpers/command.ts";
import { cgroupsOf } from "./helpers/leaks.ts";
import { MANAGER, scopeOf, unitProperty } from "./helpers/manager.ts";
import { type Files, fullSet, type ResourceCase, type Resources, resourceCases } from "./helpers/resource-cases.ts";
import { type Bundle, mustSucceed, type RunOptions, suite } from "./helpers/suite.ts";

const { test, testsElsewhere, bundle, create, run, remove, runtime, home, mountHere, after } = suite(
  `resources-${LANE}`,
);

/** A created container with these resources, and its process id. */
function created(resources: Resources, options: RunOptions = {}): Bundle & { pid: number } {
  const b = bundle((config) => (config.linux.resources = { ...resources }));
  const pidFile = `${b.dir}/pid`;
  mustSucceed(create(b, { ...options, flags: ["--pid-file", pidFile] }));
  return { ...b, pid: Number(readFileSync(pidFile, "utf8")) };
}

function update(b: Bundle, resources: Resources): void {
  mustSucceed(runtime(["update", "--resources", "-", b.id], { stdin: JSON.stringify(resources) }));
}

/** Compares lines: a file may have more of them than a case is about. */
function expectFiles(when: string, pid: number, files: Files): void {
  const found: Record<string, string> = {};
  for (const [file, wanted] of Object.entries(files)) {
    const text = cgroupFile(pid, file);
    const lines = new Set(text.split("\n"));
    found[file] = wanted !== "" && wanted.split("\n").every((line) => lines.has(line)) ? wanted : text;
  }
  expect([when, found]).toEqual([when, { ...files }]);
}

function expectUnit(when: string, id: string, properties: Readonly<Record<string, string>> = {}): void {
  if (MANAGER !== "systemd") return;
  const found = Object.keys(properties).map((name) => [name, unitProperty(scopeOf(id), name)]);
  expect([when, Object.fromEntries(found)]).toEqual([when, { ...properties }]);
}

/** Hierarchies of v1 that this machine does not mount, as most do not: a test does it for itself. */
const MOUNTABLE = ["net_cls", "net_prio"];

function isMountable(file: string): boolean {
  const controller = controllerOf(file);
  return !onlyV2 && MOUNTABLE.includes(controller) && controllerPlace(controller) === undefined && isKnown(controller);
}

function isKnown(controller: string): boolean {
  return readFileSync("/proc/cgroups", "utf8").includes(`\n${controller}\t`);
}

/** Which version's names a controller's files have: of where the controller is, or else of the whole machine. */
function versionOf(file: string): 1 | 2 {
  const lane = onlyV2 ? 2 : 1;
  return controllerOf(file) === "cgroup" ? lane : (controllerPlace(controllerOf(file))?.version ?? lane);
}

/** What to look at on this machine; undefined where the property means nothing. */
function filesHere(at: { readonly v1?: Files; readonly v2?: Files } | undefined): Files | undefined {
  const of = (files: Files | undefined, version: 1 | 2) =>
    Object.entries(files ?? {}).filter(([file]) => versionOf(file) === version);
  const chosen = [...of(at?.v1, 1), ...of(at?.v2, 2)];
  return chosen.length === 0 ? undefined : Object.fromEntries(chosen);
}

/** Why this machine cannot run a case, or undefined. */
function skipReason(each: ResourceCase): string | undefined {
  if (each.title.startsWith("blockIO.") && NO_LOOP_DEVICE !== undefined) return NO_LOOP_DEVICE;
  const needed = Object.keys(filesHere(each)!).filter((file) => !isMountable(file));
  return needed.map(missingFile).find((reason) => reason !== undefined);
}

/** The cases that mean something on this machine's version, with the reason why it cannot run them. */
const hasBfq = missingFile("io.bfq.weight") === undefined;
const cases = resourceCases({ major: 7, minor: 0 }, hasBfq)
  .filter((each) => filesHere(each) !== undefined)
  .map((each) => ({ each, reason: skipReason(each) }));

const reasons = new Set(cases.map(({ reason }) => reason).filter((reason) => reason !== undefined));
for (const why of reasons) {
  const titles = cases.filter(({ reason }) => reason === why).map(({ each }) => each.title);
  testsElsewhere(titles, why);
}

/** The case with a device that is there. */
function withLoopDevice(each: ResourceCase): ResourceCase {
  if (!each.title.startsWith("blockIO.")) return each;
  const loop = loopDevice(`${home}/disk`);
  after(() => loop.release());
  return resourceCases(loop, hasBfq).find(({ title }) => title === each.title)!;
}

for (const { each: listed, reason } of cases) {
  if (reason !== undefined) continue;
  test(listed.title, () => {
    const each = withLoopDevice(listed);
    const files = filesHere(each)!;
    if (Object.keys(files).some(isMountable)) addHierarchy(MOUNTABLE.join(","), `${home}/cgroups`, mountHere, after);
    const b = created(each.resources);
    expectFiles("after create", b.pid, files);
    expectUnit("after create", b.id, each.unit);
    const changed = filesHere(each.update);
    if (each.update === undefined || changed === undefined) return;
    update(b, each.update.resources);
    expectFiles("after update", b.pid, changed);
    expectUnit("after update", b.id, each.update.unit);
  });
}

/** What only v1 has, and what nobody has any more: asked for, but nothing to fail for. */
const WITHOUT_EFFECT: readonly (readonly [property: string, resources: Resources])[] = [
  ["memory.kernel", { memory: { kernel: 1_000_000 } }],
  ["memory.kernelTCP", { memory: { kernelTCP: 1_000_000 } }],
  ["memory.swappiness", { memory: { swappiness: 10 } }],
  ["memory.disableOOMKiller", { memory: { disableOOMKiller: true } }],
  ["memory.useHierarchy", { memory: { useHierarchy: true } }],
  ["cpu.realtimePeriod", { cpu: { realtimePeriod: 500_000 } }],
  ["cpu.realtimeRuntime", { cpu: { realtimeRuntime: 1000 } }],
  ["blockIO.leafWeight", { blockIO: { leafWeight: 100 } }],
  ["network.classID", { network: { classID: 5 } }],
  ["network.priorities", { network: { priorities: [{ name: "lo", priority: 5 }] } }],
];

for (const [property, resources] of WITHOUT_EFFECT) {
  test(`${property} has no effect on cgroup v2: a warning by name, and the container runs`, () => {
    const b = bundle((config) => (config.linux.resources = { ...resources }));
    const { stderr } = mustSucceed(run(b, onlyV2 ? {} : { view: "v2" }));
    expect(stderr).toContain(`linux.resources.${property} has no effect`);
  });
}

test(
  "cgroups above the container's, made on the way, get what it needs of cpuset, and are left to whoever named them",
  () => {
    const b = bundle((config, { id }) => {
      config.linux.cgroupsPath = `/${id}-above/between/${id}`;
      config.linux.resources = { cpu: { cpus: "1", mems: "0" } };
    });
    const top = controllerPlace("cpuset")!.mount;
    after(() => removeParents(b.id));
    mustSucceed(create(b, { flags: ["--pid-file", `${b.dir}/pid`] }));
    expect(cgroupFile(Number(readFileSync(`${b.dir}/pid`, "utf8")), "cpuset.cpus")).toBe("1");
    mustSucceed(remove(b, { flags: ["--force"] }));
    expect([existsSync(`${top}/${b.id}-above/between`), existsSync(`${top}/${b.id}-above/between/${b.id}`)]).toEqual([
      true,
      false,
    ]);
  },
  { skip: missingController("cpuset") ?? (MANAGER === "systemd" && "systemd makes the parents") },
);

function removeParents(id: string): void {
  for (const path of cgroupsOf(`${id}-above`)) rmdirSync(path);
}

if (MANAGER === "systemd") {
  test(
    "systemctl daemon-reload leaves every limit as it is",
    () => {
      const b = created(fullSet.resources);
      update(b, { memory: { limit: 96 * 1024 * 1024, swap: 96 * 1024 * 1024 }, cpu: { shares: 512 } });
      const files = { ...fullSet.v2, "memory.max": "100663296", "memory.swap.max": "0", "cpu.weight": "59" };
      expectFiles("before", b.pid, files);
      mustSucceed(command(["systemctl", "daemon-reload"]));
      expectFiles("after", b.pid, files);
    },
    { limit: 60_000 },
  );
}
