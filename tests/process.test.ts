import { expect } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { type Change, mustSucceed, suite } from "./helpers/suite.ts";

const { test, see, refusal, started, exec, run, bundle } = suite("process");

/** Field of /proc/self/stat, counted from 1 as in proc_pid_stat(5); the program's name has no spaces here. */
const field = (number: number): string => `cut -d' ' -f${number} /proc/self/stat`;

const SCHEDULE = `${field(41)}; ${field(40)}; ${field(19)}`;

test("oomScoreAdj", () => {
  expect(see("cat /proc/self/oom_score_adj", (config) => (config.process.oomScoreAdj = 321))).toBe("321");
});

test("oomScoreAdj 0 is a value", () => {
  const through = ["sh", "-c", 'echo 55 > /proc/self/oom_score_adj; exec "$@"', "sh"];
  expect(see("cat /proc/self/oom_score_adj", (config) => (config.process.oomScoreAdj = 0), { through })).toBe("0");
});

test("without oomScoreAdj, the caller's", () => {
  const through = ["sh", "-c", 'echo 55 > /proc/self/oom_score_adj; exec "$@"', "sh"];
  expect(see("cat /proc/self/oom_score_adj", undefined, { through })).toBe("55");
});

test("exec has the container's oomScoreAdj", () => {
  const b = started((config) => (config.process.oomScoreAdj = 321));
  expect(mustSucceed(exec(b, ["/bin/cat", "/proc/self/oom_score_adj"])).stdout).toBe("321\n");
});

test("oomScoreAdj 1001 is refused by name", () => {
  expect(refusal((config) => (config.process.oomScoreAdj = 1001))).toMatch(/oom_?score_?adj/i);
});

const PRIVILEGES = "grep ^NoNewPrivs /proc/self/status";

test("noNewPrivileges", () => {
  expect(see(PRIVILEGES, (config) => (config.process.noNewPrivileges = true))).toBe("NoNewPrivs:\t1");
  expect(see(PRIVILEGES, (config) => (config.process.noNewPrivileges = false))).toBe("NoNewPrivs:\t0");
});

test("exec has the container's noNewPrivileges", () => {
  const b = started((config) => (config.process.noNewPrivileges = true));
  expect(mustSucceed(exec(b, ["/bin/sh", "-c", PRIVILEGES])).stdout).toBe("NoNewPrivs:\t1\n");
});

test("exec --no-new-privs", () => {
  const b = started();
  const result = exec(b, ["/bin/sh", "-c", PRIVILEGES], { flags: ["--no-new-privs"] });
  expect(mustSucceed(result).stdout).toBe("NoNewPrivs:\t1\n");
});

type Scheduler = NonNullable<Parameters<Change>[0]["process"]["scheduler"]>;

/** scheduler → policy, real-time priority and nice value as the kernel shows them. */
const SCHEDULERS: readonly (readonly [scheduler: Scheduler, seen: string])[] = [
  [{ policy: "SCHED_OTHER", nice: 7 }, "0 0 7"],
  [{ policy: "SCHED_BATCH", nice: 3 }, "3 0 3"],
  [{ policy: "SCHED_IDLE" }, "5 0 0"],
  [{ policy: "SCHED_FIFO", priority: 11 }, "1 11 0"],
  [{ policy: "SCHED_RR", priority: 12 }, "2 12 0"],
];

/** With CONFIG_RT_GROUP_SCHED a new cgroup of the cpu controller has no real-time at all: run without that controller. */
const view = existsSync("/sys/fs/cgroup/cpu/cpu.rt_runtime_us") ? ({ view: "v2" } as const) : {};

for (const [scheduler, expected] of SCHEDULERS) {
  test(`scheduler ${JSON.stringify(scheduler)}`, () => {
    const change: Change = (config) => (config.process.scheduler = scheduler);
    expect(see(SCHEDULE, change, view).split("\n").join(" ")).toBe(expected);
  });
}

test("exec has the container's scheduler", () => {
  const b = started((config) => (config.process.scheduler = { policy: "SCHED_BATCH", nice: 4 }));
  expect(
    mustSucceed(exec(b, ["/bin/sh", "-c", SCHEDULE]))
      .stdout.trim()
      .split("\n")
      .join(" "),
  ).toBe("3 0 4");
});

test("an unknown scheduler policy is refused by name", () => {
  expect(refusal((config) => (config.process.scheduler = { policy: "SCHED_NEVER" }))).toContain("SCHED_NEVER");
});

test("an unknown scheduler flag is refused by name", () => {
  const change: Change = (config) =>
    (config.process.scheduler = { policy: "SCHED_OTHER", flags: ["SCHED_FLAG_NEVER"] });
  expect(refusal(change)).toContain("SCHED_FLAG_NEVER");
});

test("nice 20 is refused", () => {
  expect(refusal((config) => (config.process.scheduler = { policy: "SCHED_OTHER", nice: 20 }))).toMatch(/nice|20/);
});

const PRIORITIES: readonly (readonly [name: string, priority: number, seen: string])[] = [
  ["IOPRIO_CLASS_BE", 6, "best-effort: prio 6"],
  ["IOPRIO_CLASS_RT", 2, "realtime: prio 2"],
  ["IOPRIO_CLASS_IDLE", 0, "idle"],
];

for (const [name, priority, expected] of PRIORITIES) {
  test(`ioPriority ${name} ${priority}`, () => {
    const seen = see("ionice", (config) => (config.process.ioPriority = { class: name, priority }));
    expect(seen.replace("idle: prio 0", "idle")).toBe(expected);
  });
}

test("exec has the container's ioPriority", () => {
  const b = started((config) => (config.process.ioPriority = { class: "IOPRIO_CLASS_BE", priority: 1 }));
  expect(mustSucceed(exec(b, ["/bin/ionice"])).stdout).toBe("best-effort: prio 1\n");
});

test("an unknown ioPriority class is refused by name", () => {
  const change: Change = (config) => (config.process.ioPriority = { class: "IOPRIO_CLASS_FAST", priority: 1 });
  expect(refusal(change)).toContain("IOPRIO_CLASS_FAST");
});

test("ioPriority 8 is refused", () => {
  expect(refusal((config) => (config.process.ioPriority = { class: "IOPRIO_CLASS_BE", priority: 8 }))).toMatch(
    /priority|8/,
  );
});

test("execCPUAffinity: the processors of an exec, not of the container", () => {
  const b = started((config) => (config.process.execCPUAffinity = { initial: "0", final: "0" }));
  const allowed = "grep ^Cpus_allowed_list /proc/self/status | cut -f 2";
  expect(mustSucceed(exec(b, ["/bin/sh", "-c", allowed])).stdout).toBe("0\n");
  const own = /^Cpus_allowed_list:\t(.*)$/m.exec(readFileSync("/proc/self/status", "utf8"))![1]!;
  expect(mustSucceed(exec(b, ["/bin/sh", "-c", "grep ^Cpus_allowed_list /proc/1/status | cut -f 2"])).stdout).toBe(
    `${own}\n`,
  );
});

test("personality LINUX32", () => {
  const machine = process.arch === "arm64" ? "armv8l" : "i686";
  expect(see("uname -m", (config) => (config.linux.personality = { domain: "LINUX32" }))).toBe(machine);
});

test("personality LINUX", () => {
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  expect(see("uname -m", (config) => (config.linux.personality = { domain: "LINUX" }))).toBe(machine);
});

test("exec has the container's personality", () => {
  const b = started((config) => (config.linux.personality = { domain: "LINUX32" }));
  const machine = process.arch === "arm64" ? "armv8l" : "i686";
  expect(mustSucceed(exec(b, ["/bin/uname", "-m"])).stdout).toBe(`${machine}\n`);
});

test("an unknown personality is refused by name", () => {
  expect(refusal((config) => (config.linux.personality = { domain: "LINUX64" }))).toContain("LINUX64");
});

test("arguments arrive as they are", () => {
  const args = ["", "a b", "'", '"', "\\", "\t", "é", "–", "日本", "$HOME", "*", "\u0001"];
  const b = bundle((config) => {
    config.process.args = ["/bin/printf", "[%s]\\n", ...args];
  });
  expect(mustSucceed(run(b)).stdout).toBe(args.map((arg) => `[${arg}]\n`).join(""));
});

test("two thousand arguments of a hundred bytes", () => {
  const b = bundle((config) => {
    config.process.args = [
      "/bin/sh",
      "-c",
      'echo "$# $2000"',
      "sh",
      ...Array.from({ length: 2000 }, () => "x".repeat(100)),
    ];
  });
  expect(mustSucceed(run(b)).stdout).toStartWith("2000 ");
});

test("no arguments are refused", () => {
  expect(refusal((config) => (config.process.args = []))).toMatch(/args/);
});
