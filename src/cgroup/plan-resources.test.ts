import { describe, expect, test } from "bun:test";
import { TsrunError } from "../errors.ts";
import { runProgram } from "../kernel/run-program.ts";
import { type Program, program, slotTable } from "../plan/step.ts";
import { printProgram } from "../plan/test-printer.ts";
import type { Resources } from "../spec/types.ts";
import { planResources } from "./plan-resources.ts";
import type { CgroupPaths } from "./resources.ts";

const V2: CgroupPaths = { "": "/sys/fs/cgroup/a/b" };
const V1: CgroupPaths = { memory: "/m/a", cpu: "/c/a", blkio: "/b/a" };

function planned(resources: Resources, cgroups: CgroupPaths): Program {
  const made = program("attach");
  planResources(made, slotTable(), cgroups, resources);
  return made;
}

test("three system calls a file", () => {
  expect(printProgram(planned({ memory: { limit: 4096 }, pids: { limit: 5 } }, V2))).toEqual([
    '$resource file = openat(-100, "/sys/fs/cgroup/a/b/memory.max", 0x80001, 0)',
    'write($resource file, "4096", 4)',
    "close($resource file)",
    '$resource file = openat(-100, "/sys/fs/cgroup/a/b/pids.max", 0x80001, 0)',
    'write($resource file, "5", 1)',
    "close($resource file)",
  ]);
});

test("what may be missing, and what to write instead", () => {
  expect(printProgram(planned({ memory: { limit: 9, swap: 9 }, blockIO: { weight: 10 } }, V2))).toEqual([
    '$resource file = openat(-100, "/sys/fs/cgroup/a/b/memory.swap.max", 0x80001, 0) ? ENOENT →3',
    'write($resource file, "0", 1)',
    "close($resource file)",
    '$resource file = openat(-100, "/sys/fs/cgroup/a/b/memory.max", 0x80001, 0)',
    'write($resource file, "9", 1)',
    "close($resource file)",
    '$resource file = openat(-100, "/sys/fs/cgroup/a/b/io.bfq.weight", 0x80001, 0) ? ENOENT →9',
    'write($resource file, "10", 2)',
    "close($resource file) 0→12",
    '$resource file = openat(-100, "/sys/fs/cgroup/a/b/io.weight", 0x80001, 0)',
    'write($resource file, "1", 1)',
    "close($resource file)",
  ]);
});

test("nothing is planned for what asks for nothing, not even a slot", () => {
  const table = slotTable();
  const made = program("attach");
  expect(planResources(made, table, V2, { memory: { limit: 0 }, devices: [{ allow: true }] })).toEqual([]);
  expect(made.steps).toEqual([]);
  expect(table).toEqual(slotTable());
});

test("lengths are bytes", () => {
  const { steps } = planned({ unified: { "cpu.é": "ü" } }, V2);
  expect(steps[1]!.args).toEqual([steps[0]!.into!, "ü", 2]);
});

/** Runs the steps on files that are values by path. `refuses` says why the kernel takes no such value, if so. */
function run(
  resources: Resources,
  cgroups: CgroupPaths,
  files: Map<string, string>,
  refuses: (path: string, value: string, files: Map<string, string>) => number = () => 0,
): void {
  const paths: string[] = [];
  runProgram(planned(resources, cgroups), (call, ...args) => {
    if (call === "openat") {
      if (!files.has(args[1] as string)) return -2; // ENOENT
      return paths.push(args[1] as string);
    }
    if (call === "close") return 0;
    const [path, value] = [paths[(args[0] as number) - 1]!, args[1] as string];
    const refusal = refuses(path, value, files);
    if (refusal < 0) return refusal;
    files.set(path, value);
    return value.length;
  });
}

function errorOf(action: () => void): TsrunError {
  try {
    action();
  } catch (error) {
    if (error instanceof TsrunError) return error;
  }
  throw new Error("no error");
}

describe("errors", () => {
  test("name property, file, value and the kernel's reason", () => {
    const files = new Map([["/m/a/memory.limit_in_bytes", ""]]);
    const error = errorOf(() => run({ memory: { limit: 4096 } }, V1, files, () => -16));
    expect(error.message).toBe(
      'cannot write "4096" to "/m/a/memory.limit_in_bytes": device or resource busy (linux.resources.memory.limit)',
    );
    expect(error.details).toMatchObject({ code: "EBUSY", pointer: "/linux/resources/memory/limit" });
    expect(error.details.hint).toContain("in use already");
  });

  test("say how to have the controller", () => {
    const error = errorOf(() => run({ pids: { limit: 4 } }, V2, new Map()));
    expect(error.message).toBe(
      'cannot write "4" to "/sys/fs/cgroup/a/b/pids.max": no such file or directory (linux.resources.pids.limit)',
    );
    expect(error.details.hint).toBe(
      "the cgroup above must hand it down: echo +pids > /sys/fs/cgroup/a/cgroup.subtree_control",
    );
  });

  test("name what is tried last", () => {
    const error = errorOf(() => run({ blockIO: { weight: 100 } }, V1, new Map()));
    expect(error.message).toContain('write "100" to "/b/a/blkio.bfq.weight"');
    expect(error.details.hint).toContain("modprobe bfq");
  });

  test("without any cgroup for it", () => {
    const error = errorOf(() => planned({ cpu: { cpus: "0" } }, V1));
    expect(error.message).toBe(
      "cannot set cpuset limit: container could not join or create cgroup (linux.resources.cpu.cpus)",
    );
  });
});

/** Values in `files` by the end of their paths. */
function value(files: Map<string, string>, end: string): number {
  const [, text] = [...files].find(([path]) => path.endsWith(end))!;
  return text === "-1" ? Number.POSITIVE_INFINITY : Number(text);
}

/** mm/memcontrol-v1.c: memory is never more than memory and swap. */
function refusesMemory(path: string, text: string, files: Map<string, string>): number {
  const after = new Map(files).set(path, text);
  return value(after, "/memory.limit_in_bytes") > value(after, "memsw.limit_in_bytes") ? -22 : 0;
}

/** kernel/sched/core.c: a burst is at most the quota; the share of time is at most that of the cgroup above, 2 here. */
function refusesCpu(path: string, text: string, files: Map<string, string>): number {
  const after = new Map(files).set(path, text);
  const quota = value(after, "quota_us");
  if (quota !== Number.POSITIVE_INFINITY && value(after, "burst_us") > quota) return -22;
  return quota !== Number.POSITIVE_INFINITY && quota / value(after, "period_us") > 2 ? -22 : 0;
}

describe("an update works in every direction", () => {
  const limits = [10, 20, 30, -1];
  const pairs = limits.flatMap((limit) => limits.map((swap) => ({ limit, swap })));
  const valid = pairs.filter(({ limit, swap }) => swap === -1 || (limit !== -1 && limit <= swap));

  test("memory, and memory and swap", () => {
    for (const from of valid) {
      for (const to of valid) {
        const files = new Map([
          ["/m/a/memory.limit_in_bytes", String(from.limit)],
          ["/m/a/memory.memsw.limit_in_bytes", String(from.swap)],
        ]);
        run({ memory: to }, V1, files, refusesMemory);
        expect([...files.values()]).toEqual([String(to.limit), String(to.swap)]);
      }
    }
  });

  const times = [5, 10, 20];
  const triples = times.flatMap((quota) => times.flatMap((period) => times.map((burst) => ({ quota, period, burst }))));
  const possible = triples.filter(({ quota, period, burst }) => burst <= quota && quota / period <= 2);

  test("quota, period and burst", () => {
    for (const from of [...possible, { quota: -1, period: 10, burst: 0 }]) {
      for (const to of possible) {
        const files = new Map([
          ["/c/a/cpu.cfs_quota_us", String(from.quota)],
          ["/c/a/cpu.cfs_period_us", String(from.period)],
          ["/c/a/cpu.cfs_burst_us", String(from.burst)],
        ]);
        run({ cpu: to }, V1, files, refusesCpu);
        expect([...files.values()]).toEqual([to.quota, to.period, to.burst].map(String));
      }
    }
  });
});
