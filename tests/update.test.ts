/**
 * The options of update, and what update does with the limits that it is not told of. What every property comes to in the
 * kernel's files is resources.test.ts's, bad values in JSON are resources-bad-input.test.ts's.
 */
import { expect } from "bun:test";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import {
  cgroupFile,
  cgroupOf,
  controllerOf,
  controllerPlace,
  LANE,
  missingController,
  missingFile,
  onlyV2,
} from "./helpers/cgroup-files.ts";
import type { Result } from "./helpers/command.ts";
import { MANAGER } from "./helpers/manager.ts";
import { type Bundle, mustFail, mustSucceed, RUNTIME_NAME, suite } from "./helpers/suite.ts";

const { test, bundle, create, started, start, kill, status, untilStatus, runtime, runtimeBeside, root } = suite(
  `update-${LANE}`,
);

const M = 1024 * 1024;
const MAX_V1 = "9223372036854771712";
type Limits = Record<string, unknown>;
type Files = Readonly<Record<string, string>>;

function created(resources: Limits = {}): Bundle & { pid: number } {
  const b = bundle((config) => {
    config.process.args = ["/bin/sleep", "1000"];
    config.linux.resources = resources;
  });
  mustSucceed(create(b, { flags: ["--pid-file", `${b.dir}/pid`] }));
  return { ...b, pid: Number(readFileSync(`${b.dir}/pid`, "utf8")) };
}

const update = (b: Bundle, flags: readonly string[], stdin?: string): Result =>
  runtime(["update", ...flags, b.id], stdin === undefined ? {} : { stdin });

function expectFiles(pid: number, files: Files): void {
  const found = Object.keys(files).map((file) => [file, cgroupFile(pid, file)]);
  expect(Object.fromEntries(found)).toEqual(files);
}

/** The files of the versions that their controllers have here. */
function here(files: { readonly v1: Files; readonly v2: Files }): Files {
  const version = (file: string) => controllerPlace(controllerOf(file))?.version ?? (onlyV2 ? 2 : 1);
  const v1 = Object.entries(files.v1).filter(([file]) => version(file) === 1);
  const v2 = Object.entries(files.v2).filter(([file]) => version(file) === 2);
  return Object.fromEntries([...v1, ...v2]);
}

const missing = (files: Files): string | undefined =>
  Object.keys(files)
    .map(missingFile)
    .find((why) => why !== undefined);

interface OptionCase {
  readonly flags: readonly string[];
  readonly before?: Limits;
  readonly v1: Files;
  readonly v2: Files;
}

const OPTIONS: readonly OptionCase[] = [
  { flags: ["--memory", "64m"], v1: { "memory.limit_in_bytes": "67108864" }, v2: { "memory.max": "67108864" } },
  { flags: ["--memory", "67108864"], v1: { "memory.limit_in_bytes": "67108864" }, v2: { "memory.max": "67108864" } },
  { flags: ["--memory=0.5GiB"], v1: { "memory.limit_in_bytes": "536870912" }, v2: { "memory.max": "536870912" } },
  {
    flags: ["--memory", "-1"],
    before: { memory: { limit: 64 * M, swap: 64 * M } },
    v1: { "memory.limit_in_bytes": MAX_V1, "memory.memsw.limit_in_bytes": MAX_V1 },
    v2: { "memory.max": "max", "memory.swap.max": "max" },
  },
  {
    flags: ["--memory", "64m", "--memory-swap", "96m"],
    before: { memory: { limit: 128 * M, swap: 192 * M } },
    v1: { "memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": "100663296" },
    v2: { "memory.max": "67108864", "memory.swap.max": "33554432" },
  },
  {
    flags: ["--memory-swap", "-1"],
    before: { memory: { limit: 64 * M, swap: 64 * M } },
    v1: { "memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": MAX_V1 },
    v2: { "memory.max": "67108864", "memory.swap.max": "max" },
  },
  {
    flags: ["--memory-reservation", "32m"],
    v1: { "memory.soft_limit_in_bytes": "33554432" },
    v2: { "memory.low": "33554432" },
  },
  { flags: ["--kernel-memory-tcp", "16m"], v1: { "memory.kmem.tcp.limit_in_bytes": "16777216" }, v2: {} },
  {
    flags: ["--cpu-quota", "25000", "--cpu-period", "50000"],
    v1: { "cpu.cfs_quota_us": "25000", "cpu.cfs_period_us": "50000" },
    v2: { "cpu.max": "25000 50000" },
  },
  {
    flags: ["--cpu-quota", "10000"],
    before: { cpu: { quota: 25_000, period: 50_000 } },
    v1: { "cpu.cfs_quota_us": "10000", "cpu.cfs_period_us": "50000" },
    v2: { "cpu.max": "10000 50000" },
  },
  {
    flags: ["--cpu-period", "60000"],
    before: { cpu: { quota: 25_000, period: 50_000 } },
    v1: { "cpu.cfs_quota_us": "25000", "cpu.cfs_period_us": "60000" },
    v2: { "cpu.max": "25000 60000" },
  },
  {
    flags: ["--cpu-quota", "-1"],
    before: { cpu: { quota: 25_000, period: 50_000 } },
    v1: { "cpu.cfs_quota_us": "-1" },
    v2: { "cpu.max": "max 50000" },
  },
  {
    flags: ["--cpu-quota", "50000", "--cpu-burst", "20000"],
    v1: { "cpu.cfs_quota_us": "50000", "cpu.cfs_burst_us": "20000" },
    v2: { "cpu.max": "50000 100000", "cpu.max.burst": "20000" },
  },
  { flags: ["--cpu-share", "512"], v1: { "cpu.shares": "512" }, v2: { "cpu.weight": "59" } },
  {
    flags: ["--cpu-rt-runtime", "0", "--cpu-rt-period", "500000"],
    v1: { "cpu.rt_period_us": "500000" },
    v2: {},
  },
  { flags: ["--cpu-idle", "1"], before: { cpu: { shares: 512 } }, v1: { "cpu.idle": "1" }, v2: { "cpu.idle": "1" } },
  { flags: ["--cpuset-cpus", "0"], v1: { "cpuset.cpus": "0" }, v2: { "cpuset.cpus": "0" } },
  { flags: ["--cpuset-mems", "0"], v1: { "cpuset.mems": "0" }, v2: { "cpuset.mems": "0" } },
  { flags: ["--pids-limit", "42"], v1: { "pids.max": "42" }, v2: { "pids.max": "42" } },
  {
    flags: ["--pids-limit", "-1"],
    before: { pids: { limit: 42 } },
    v1: { "pids.max": "max" },
    v2: { "pids.max": "max" },
  },
  {
    flags: ["--blkio-weight", "500"],
    v1: { [missingFile("blkio.weight") === undefined ? "blkio.weight" : "blkio.bfq.weight"]: "500" },
    v2:
      missingFile("io.bfq.weight") === undefined ? { "io.bfq.weight": "default 500" } : { "io.weight": "default 4950" },
  },
  {
    flags: ["--pids-limit", "7", "--cpu-share", "100", "--memory", "80m"],
    v1: { "pids.max": "7", "cpu.shares": "100", "memory.limit_in_bytes": "83886080" },
    v2: { "pids.max": "7", "cpu.weight": "17", "memory.max": "83886080" },
  },
];

for (const { flags, before, ...files } of OPTIONS) {
  const wanted = here(files);
  if (Object.keys(wanted).length === 0) continue;
  test(
    `${flags.join(" ")}${before === undefined ? "" : ` after ${JSON.stringify(before)}`}`,
    () => {
      const b = created(before);
      mustSucceed(update(b, flags));
      expectFiles(b.pid, wanted);
    },
    { skip: missing(wanted) },
  );
}

const pids = missingController("pids");
const withoutMemory = missingController("memory");
const memoryFile = onlyV2 ? "memory.max" : "memory.limit_in_bytes";

test(
  "what is not named stays: one update after another",
  () => {
    const b = created({ pids: { limit: 20 } });
    mustSucceed(update(b, ["--memory", "64m"]));
    mustSucceed(update(b, ["--pids-limit", "30"]));
    mustSucceed(update(b, ["--resources", "-"], '{"memory": {"reservation": 1048576}}'));
    mustSucceed(update(b, []));
    expectFiles(b.pid, { [memoryFile]: String(64 * M), "pids.max": "30" });
  },
  { skip: pids ?? withoutMemory },
);

test(
  "zero and nothing change nothing",
  () => {
    const b = created({ memory: { limit: 64 * M } });
    mustSucceed(update(b, ["--memory", "0", "--cpu-quota", "0", "--cpu-share", "0", "--cpuset-cpus", ""]));
    mustSucceed(update(b, ["--resources", "-"], '{"memory": {"limit": 0}, "cpu": {"shares": 0, "cpus": ""}}'));
    expectFiles(b.pid, { [memoryFile]: String(64 * M) });
  },
  { skip: withoutMemory },
);

test(
  "options win over --resources, which hold for the rest",
  () => {
    const b = created();
    const text = JSON.stringify({ pids: { limit: 20 }, memory: { limit: 32 * M } });
    mustSucceed(update(b, ["--resources", "-", "--memory", "64m"], text));
    expectFiles(b.pid, { [memoryFile]: String(64 * M), "pids.max": "20" });
  },
  { skip: pids ?? withoutMemory },
);

test(
  "-r FILE",
  () => {
    const b = created();
    writeFileSync(`${b.dir}/resources.json`, JSON.stringify({ pids: { limit: 20 } }));
    mustSucceed(update(b, ["-r", `${b.dir}/resources.json`]));
    expectFiles(b.pid, { "pids.max": "20" });
  },
  { skip: pids },
);

test(
  "a limit of memory above the limit of memory and swap: refused, and nothing has changed",
  () => {
    const b = created({ memory: { limit: 32 * M, swap: 64 * M }, pids: { limit: 20 } });
    mustFail(
      update(b, ["--memory", "128m", "--pids-limit", "5"]),
      /memory\+swap limit should be >= memory limit|invalid argument/i,
    );
    expectFiles(b.pid, { [memoryFile]: String(32 * M), "pids.max": "20" });
    mustSucceed(update(b, ["--memory", "128m", "--memory-swap", "256m"]));
    mustSucceed(update(b, ["--memory", "16m"]));
    expectFiles(b.pid, { [memoryFile]: String(16 * M) });
  },
  { skip: missing(here({ v1: { "memory.memsw.limit_in_bytes": "" }, v2: { "memory.swap.max": "" } })) ?? pids },
);

test(
  "a value that the kernel refuses: what was written before says what it said",
  () => {
    const b = created({ pids: { limit: 20 }, memory: { limit: 64 * M }, cpu: { quota: 50_000, period: 100_000 } });
    const files = here({
      v1: {
        "pids.max": "20",
        "memory.limit_in_bytes": String(64 * M),
        "cpu.cfs_quota_us": "50000",
        "cpu.cfs_period_us": "100000",
      },
      v2: { "pids.max": "20", "memory.max": String(64 * M), "cpu.max": "50000 100000" },
    });
    expectFiles(b.pid, files);
    const saved = () => readFileSync(`${root}/${b.id}/config.json`, "utf8");
    const before = RUNTIME_NAME === "tsrun" ? saved() : "";
    // Whatever comes first: each of these is refused, the others are not.
    for (const refused of [
      ["--cpuset-cpus", "4000"],
      ["--pids-limit", "99999999999"],
      ["--cpu-period", "7"],
    ]) {
      const fine = [
        "--memory",
        "96m",
        "--cpu-quota",
        "20000",
        ...(refused[0] === "--pids-limit" ? [] : ["--pids-limit", "5"]),
      ];
      const result = update(b, [...fine, ...refused]);
      mustFail(result, /invalid argument|out of range/i);
      expectFiles(b.pid, files);
    }
    if (RUNTIME_NAME === "tsrun") expect(saved()).toBe(before);
    mustSucceed(update(b, ["--pids-limit", "30"]));
    expectFiles(b.pid, { ...files, "pids.max": "30" });
  },
  { skip: pids ?? withoutMemory ?? missingController("cpu") ?? missingController("cpuset") },
);

test(
  "what is asked for again is written to the cgroup again, and to the saved configuration once",
  () => {
    const devices = [{ allow: false, access: "rwm" }];
    const b = created({ pids: { limit: 20 }, devices });
    const config = `${root}/${b.id}/config.json`;
    const saved = () => statSync(config).ino;
    const first = saved();
    mustSucceed(update(b, ["--pids-limit", "30"]));
    const second = saved();
    expect(second).not.toBe(first);
    const { resources } = JSON.parse(readFileSync(config, "utf8")).linux;
    expect(resources).toEqual({ pids: { limit: 30 }, devices });
    writeFileSync(`${cgroupOf(b.pid, "pids")}/pids.max`, "40");
    mustSucceed(update(b, ["--pids-limit", "30"]));
    expectFiles(b.pid, { "pids.max": "30" });
    expect(saved()).toBe(second);
  },
  { skip: pids ?? (RUNTIME_NAME !== "tsrun" && "others have no such file") },
);

test(
  "one that is paused: it works, and it stays paused",
  () => {
    const b = created();
    mustSucceed(start(b));
    mustSucceed(runtime(["pause", b.id]));
    mustSucceed(update(b, ["--memory", "64m"]));
    expectFiles(b.pid, { [memoryFile]: String(64 * M) });
    expect(status(b)).toBe("paused");
  },
  { skip: withoutMemory },
);

test(
  "device rules, repeated as containerd does, or others: those in force stay, and what was let in besides",
  () => {
    const devices = [
      { allow: false, access: "rwm" },
      { allow: true, type: "c", major: 10, minor: 229, access: "rw" },
    ];
    const b = created({ devices });
    const list = () => cgroupFile(b.pid, "devices.list");
    writeFileSync(`${cgroupOf(b.pid, "devices")}/devices.allow`, "c 240:7 rw");
    mustSucceed(update(b, ["--memory", "64m"]));
    mustSucceed(update(b, ["--resources", "-"], JSON.stringify({ devices, memory: { limit: 96 * M } })));
    expect(list()).toContain("c 240:7 rw");
    const others = JSON.stringify({
      devices: [...devices, { allow: true, type: "c", major: 240, minor: 8, access: "r" }],
    });
    const { stderr } = mustSucceed(update(b, ["--resources", "-"], others));
    expect(list()).toContain("c 240:7 rw");
    expect(list()).not.toContain("c 240:8");
    if (RUNTIME_NAME === "tsrun") expect(stderr).toContain("linux.resources.devices");
    expectFiles(b.pid, { [memoryFile]: String(96 * M) });
  },
  { skip: controllerPlace("devices")?.version !== 1 ? "only v1 lists its rules" : withoutMemory },
);

test("one that has stopped is refused", () => {
  const b = started();
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  mustFail(update(b, ["--pids-limit", "5"]), "container not running");
});

test(
  "updates at the same time: each of them counts",
  async () => {
    const b = created();
    const flags = [
      ["--pids-limit", "33"],
      ["--memory", "64m"],
      ["--cpu-share", "512"],
      ["--cpu-quota", "50000"],
    ];
    const running = flags.map((each) => runtimeBeside(["update", ...each, b.id]));
    for (const each of running) mustSucceed(await each.finish());
    mustSucceed(update(b, ["--memory-reservation", "1m"]));
    expectFiles(
      b.pid,
      here({
        v1: {
          "pids.max": "33",
          "memory.limit_in_bytes": String(64 * M),
          "cpu.shares": "512",
          "cpu.cfs_quota_us": "50000",
        },
        v2: { "pids.max": "33", "memory.max": String(64 * M), "cpu.weight": "59", "cpu.max": "50000 100000" },
      }),
    );
  },
  { skip: pids ?? withoutMemory ?? missingController("cpu") },
);

/** Refused before anything is changed, by the name of the option. */
const WRONG: readonly (readonly [string, string])[] = [
  ["--memory", "12x"],
  ["--memory", "-2"],
  ["--memory", "9223372036854775808"],
  ["--memory-swap", "1e3"],
  ["--memory-reservation", "many"],
  ["--cpu-share", "-1"],
  ["--cpu-share", "1.5"],
  ["--cpu-quota", "9223372036854775808"],
  ["--cpu-quota", "-9223372036854775809"],
  ["--cpu-period", "-1"],
  ["--cpu-period", "18446744073709551616"],
  ["--cpu-burst", "-1"],
  ["--cpu-rt-period", "x"],
  ["--cpu-rt-runtime", "x"],
  ["--cpu-idle", "x"],
  ["--pids-limit", "x"],
  ["--pids-limit", "9223372036854775808"],
  ["--blkio-weight", "-1"],
  ["--blkio-weight", "x"],
  ["--blkio-weight", "65536"],
];

for (const [option, value] of WRONG) {
  test(
    `${option} ${value} is refused by name`,
    () => {
      const b = created({ pids: { limit: 20 } });
      const result = update(b, [option, value]);
      expect(result.status).not.toBe(0);
      expect(result.stderr).toContain(option.slice(2));
      expectFiles(b.pid, { "pids.max": "20" });
    },
    { skip: pids },
  );
}

for (const option of ["--l3-cache-schema", "--mem-bw-schema"]) {
  test(
    `${option} is refused by name, and so is all that comes with it`,
    () => {
      const b = created({ pids: { limit: 20 } });
      mustFail(update(b, [option, "MB:0=20", "--pids-limit", "5"]), /Intel RDT/);
      expectFiles(b.pid, { "pids.max": "20" });
    },
    { skip: pids },
  );
}

test(
  "--kernel-memory: a warning, and the rest is done",
  () => {
    const b = created();
    const result = mustSucceed(update(b, ["--kernel-memory", "64m", "--pids-limit", "20"]));
    expect(result.stderr).toMatch(/kernel/i);
    expectFiles(b.pid, { "pids.max": "20" });
  },
  { skip: pids },
);

test(
  "a misspelt property of --resources: a warning with what was meant",
  () => {
    const b = created();
    const result = mustSucceed(update(b, ["--resources", "-"], '{"memory": {"limt": 5}, "pids": {"limit": 20}}'));
    expect(result.stderr).toContain('"limit"');
    expectFiles(b.pid, { "pids.max": "20" });
  },
  { skip: pids },
);

test(
  "faults of --resources are listed with line and column, and nothing is changed",
  () => {
    const b = created({ pids: { limit: 20 } });
    const text = '{"pids": {"limit": 5},\n "memory": {"limit": "5"},\n "cpu": {"shares": -1}}';
    const result = update(b, ["--resources", "-"], text);
    mustFail(result, /standard input:2:22 memory\.limit: found "5".*\n.*standard input:3:20 cpu\.shares: found -1/);
    expectFiles(b.pid, { "pids.max": "20" });
  },
  { skip: pids },
);

test(
  "one without a cgroup of its own cannot be limited",
  () => {
    const b = bundle();
    mustSucceed(create(b, { global: ["--cgroup-manager", "disabled"] }));
    mustFail(update(b, ["--pids-limit", "5"]), "pids");
  },
  {
    skip:
      (RUNTIME_NAME === "runc" && "runc has no --cgroup-manager") ||
      (MANAGER === "systemd" && "--systemd-cgroup is given"),
  },
);
