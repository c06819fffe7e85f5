import { expect } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { staticProgram } from "../scripts/program/static-program.ts";
import { command } from "./helpers/command.ts";
import { cgroupsOf } from "./helpers/leaks.ts";
import { type Bundle, type Change, mustFail, mustSucceed, RUNTIME_NAME, suite } from "./helpers/suite.ts";

const limits = suite("small-limits");
const { bundle, run, create, start, state, exec, remove, kill, untilStatus, started, knownIds, after, home } = limits;

const hasMemory =
  existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes") ||
  (existsSync("/sys/fs/cgroup/cgroup.controllers") &&
    /\bmemory\b/.test(readFileSync("/sys/fs/cgroup/cgroup.controllers", "utf8")));

const test: typeof limits.test = (title, action, options = {}) =>
  limits.test(title, action, { ...options, skip: options.skip || (!hasMemory && "no memory controller here") });

const KiB = 1024;

/** A memory limit, no swap beside it, and `true` and `pause`, static programs of 130 bytes. */
const within =
  (limit: number, args: readonly string[]): Change =>
  (config, { rootfs }) => {
    for (const name of ["true", "pause"] as const) {
      writeFileSync(`${rootfs}/static-${name}`, staticProgram(name), { mode: 0o755 });
    }
    config.process.args = [...args];
    config.linux.resources = { memory: { limit } };
  };

/** Takes 8 MiB. */
const HOG = ["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=8M", "count=1"];

const killedBy = (size: string) => `OOM-killed: memory limit ${size} reached, linux.resources.memory.limit\n`;

test("512 KiB: a static program runs, ten times", () => {
  for (let round = 0; round < 10; round++) {
    const result = mustSucceed(run(bundle(within(512 * KiB, ["/static-true"]))));
    expect(result.stderr).toBe("");
  }
});

test("1 MiB: create, start, exec, delete", () => {
  const b = bundle(within(1024 * KiB, ["/static-pause"]));
  mustSucceed(create(b));
  mustSucceed(start(b));
  mustSucceed(exec(b, ["/static-true"]));
  untilStatus(b, "running");
  mustSucceed(remove(b, { flags: ["--force"] }));
});

test("512 KiB: the limit is what the kernel has, and what the container takes is less", () => {
  const b = bundle(within(512 * KiB, ["/static-pause"]));
  mustSucceed(create(b));
  const files = cgroupsOf(b.id).flatMap((path) => [`${path}/memory.limit_in_bytes`, `${path}/memory.max`]);
  const found = files.filter(existsSync).map((file) => readFileSync(file, "utf8").trim());
  expect(found).toEqual([String(512 * KiB)]);
  mustSucceed(start(b));
  expect(JSON.parse(mustSucceed(state(b)).stdout)).toMatchObject({ status: "running" });
});

test("run: a program that its limit has killed says so, and keeps its status", () => {
  const result = run(bundle(within(1024 * KiB, HOG)));
  expect([result.status, result.stderr]).toEqual([137, killedBy("1 MiB")]);
});

test("run: 300 KiB, the limit by its name, whoever it has killed", () => {
  const result = run(bundle(within(300 * KiB, HOG)));
  expect(result.status).not.toBe(0);
  expect(result.stderr).toContain("linux.resources.memory.limit");
  if (result.status === 137) expect(result.stderr).toBe(killedBy("300 KiB"));
  expect(knownIds()).toEqual([]);
});

test("run: so does a shell whose program was killed", () => {
  const result = run(bundle(within(4096 * KiB, ["/bin/sh", "-c", `${HOG.join(" ")}; exit $?`])));
  expect([result.status, result.stderr.endsWith(killedBy("4 MiB"))]).toEqual([137, true]);
});

test("run: with a log, standard error and the log say so", () => {
  const log = `${home}/log.json`;
  const global = ["--log", log, "--log-format", "json"];
  const result = run(bundle(within(1024 * KiB, HOG)), { global });
  expect(result.stderr).toBe(killedBy("1 MiB"));
  const entries = readFileSync(log, "utf8").trimEnd().split("\n");
  expect(entries.map((line) => JSON.parse(line) as object)).toMatchObject([
    { level: "warning", msg: killedBy("1 MiB").trimEnd() },
  ]);
});

test("exec: a program that was killed for another reason: not a word", () => {
  const b = started(within(8192 * KiB, ["/bin/sleep", "1000"]));
  const result = exec(b, ["/bin/sh", "-c", "kill -9 $$"]);
  expect([result.status, result.stderr]).toEqual([137, ""]);
});

/** A container in which a program of `exec` can be killed while it goes on. */
function spacious(): Bundle {
  return started(within(4096 * KiB, ["/bin/sleep", "1000"]));
}

test("exec: a program that the limit has killed says so, and the container goes on", () => {
  const b = spacious();
  const result = exec(b, HOG);
  expect([result.status, result.stderr]).toEqual([137, killedBy("4 MiB")]);
  untilStatus(b, "running");
});

test("exec: what was killed before is not told again", () => {
  const b = spacious();
  expect(exec(b, HOG).status).toBe(137);
  const result = exec(b, ["/bin/sh", "-c", "kill -9 $$"]);
  expect([result.status, result.stderr]).toEqual([137, ""]);
});

test("a container that was killed by a signal has not reached its limit", () => {
  const b = spacious();
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  expect(mustSucceed(remove(b)).stderr).toBe("");
});

test("a container whose first process was killed while it waited cannot be started, and start says why", () => {
  const b = bundle(within(16384 * KiB, ["/static-pause"]));
  mustSucceed(create(b));
  const pid = (JSON.parse(mustSucceed(state(b)).stdout) as { pid: number }).pid;
  // The first that the kernel will take, when another process in the cgroup wants too much.
  writeFileSync(`/proc/${pid}/oom_score_adj`, "1000");
  const memory = cgroupsOf(b.id).find((path) => existsSync(`${path}/memory.stat`));
  const file = `/dev/shm/${b.id}`;
  after(() => rmSync(file, { force: true }));
  // Pages of a tmpfs: they belong to no process, so that it is not dd that is the largest.
  command(["sh", "-c", `echo $$ > ${memory}/cgroup.procs; exec dd if=/dev/zero of=${file} bs=1M count=64`]);
  untilStatus(b, "stopped");
  const result = mustFail(start(b), "cannot start a container that has stopped");
  expect(result.stderr).toContain("OOM-killed: memory limit 16 MiB reached");
});

test("64 KiB: create names the limit where that is too low, and leaves nothing", () => {
  const b = bundle(within(64 * KiB, ["/static-true"]));
  const result = create(b);
  // On v2 the namespaces are not charged to the container, and what waits is smaller than that.
  if (result.status === 0) mustSucceed(remove(b, { flags: ["--force"] }));
  else expect(result.stderr).toContain("linux.resources.memory.limit");
  expect(knownIds()).toEqual([]);
});

test(
  "128 to 288 KiB: create works, or says that it was the limit",
  () => {
    for (let limit = 128 * KiB; limit < 300 * KiB; limit += 32 * KiB) {
      const result = run(bundle(within(limit, ["/static-true"])));
      if (result.status !== 0) expect(result.stderr).toContain("linux.resources.memory.limit");
    }
    expect(knownIds()).toEqual([]);
  },
  { skip: RUNTIME_NAME !== "tsrun" && "what others say there depends on time" },
);
