/** containerd limits, measures, pauses and lists what runs in containers; `ctr` has no command to update limits. */
import { test as bunTest, expect } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { cgroupFile, cgroupOf, controllerPlace, missingController } from "../../tests/helpers/cgroup-files.ts";
import { sh, sleep, success } from "../lib/commands.ts";
import { V2_ONLY, VIEW } from "../lib/runtimes.ts";
import { until } from "../lib/wait.ts";
import { containerd, type Lane } from "./lanes.ts";

const { engine, test, taskOf } = containerd();

/** Limits that need a controller which the machine may not have to give. */
function testWith(controllers: readonly string[], title: string, action: (lane: Lane) => void | Promise<void>): void {
  const reason = controllers.map(missingController).find((each) => each !== undefined);
  if (reason === undefined) {
    test(title, action);
    return;
  }
  const name = `containerd${VIEW}: ${title}`;
  console.log(`skipped: ${name}: ${reason}`);
  bunTest.skip(name, () => {});
}

/** What the file of this controller says, by the version that has it. */
function limit(id: string, controller: string, v1: string, v2: string): string {
  return cgroupFile(taskOf(id).pid, controllerPlace(controller)?.version === 1 ? v1 : v2);
}

testWith(["memory"], "--memory-limit", ({ started }) => {
  const id = started(sleep, ["--memory-limit", "33554432"]);
  expect(limit(id, "memory", "memory.limit_in_bytes", "memory.max")).toBe("33554432");
});

testWith(["memory"], "containerd hears of what the limit of memory kills", async ({ run }) => {
  const events = engine().ctrBeside(["events"]);
  await Bun.sleep(200);
  // Of a container that is gone at once, the shim may have no time to tell.
  const takes64M = sh("dd if=/dev/zero of=/dev/null bs=64M count=1; status=$?; sleep 1; exit $status");
  expect(run(takes64M, ["--memory-limit", "16777216"]).status).toBe(137);
  await Bun.sleep(200);
  events.kill("SIGTERM");
  expect((await events.finish()).stdout).toContain("/tasks/oom");
});

testWith(["cpu"], "--cpus and --cpu-shares", ({ started }) => {
  const id = started(sleep, ["--cpus", "0.5", "--cpu-shares", "1024"]);
  expect(limit(id, "cpu", "cpu.cfs_quota_us", "cpu.max")).toMatch(/^50000( 100000)?$/);
  expect(limit(id, "cpu", "cpu.cfs_period_us", "cpu.max")).toMatch(/^(50000 )?100000$/);
  if (!V2_ONLY) expect(limit(id, "cpu", "cpu.shares", "")).toBe("1024");
});

testWith(["cpu"], "--cpu-quota and --cpu-period", ({ started }) => {
  const id = started(sleep, ["--cpu-quota", "20000", "--cpu-period", "40000"]);
  expect(limit(id, "cpu", "cpu.cfs_quota_us", "cpu.max")).toMatch(/^20000( 40000)?$/);
});

test("task pause stops the container's processes, task resume lets them go on", async ({ started, status }) => {
  const id = started(sh("i=0; while :; do i=$((i+1)); echo $i > /tmp/n; sleep 0.01; done"));
  const file = `/proc/${taskOf(id).pid}/root/tmp/n`;
  const seen = () => (existsSync(file) ? readFileSync(file, "utf8") : "");
  // The file is empty between two numbers.
  await until(() => Number(seen()) > 2);
  success(engine().ctr(["task", "pause", id]));
  expect(status(id)).toBe("PAUSED");
  const before = seen();
  await Bun.sleep(100);
  expect(seen()).toBe(before);
  success(engine().ctr(["task", "resume", id]));
  expect(status(id)).toBe("RUNNING");
  await until(() => Number(seen()) > Number(before) + 2);
});

test("a paused container can be removed by force", async ({ started, status }) => {
  const id = started(sleep);
  success(engine().ctr(["task", "pause", id]));
  success(engine().ctr(["task", "rm", "--force", id]));
  expect(status(id)).toBeUndefined();
});

test("task ps lists the container's processes", async ({ started }) => {
  const id = started(sh("sleep 1000 & exec sleep 1001"));
  const { pid } = taskOf(id);
  await until(() => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("1001\0"));
  const directory = cgroupOf(pid, V2_ONLY ? "cgroup" : "pids");
  const inside = readFileSync(`${directory}/cgroup.procs`, "utf8").trim().split("\n");
  const lines = success(engine().ctr(["task", "ps", id]))
    .stdout.trim()
    .split("\n")
    .slice(1);
  const listed = lines.map((line) => line.split(/\s+/)[0]!);
  expect(listed.toSorted()).toEqual(inside.toSorted());
  expect(listed).toHaveLength(2);
});

testWith(["memory", "pids"], "task metrics: limits and what is in use", ({ started }) => {
  const id = started(sh("sleep 1000 & exec sleep 1001"), ["--memory-limit", "33554432"]);
  const metrics = JSON.parse(success(engine().ctr(["task", "metrics", "--format", "json", id])).stdout);
  expect(metrics.pids.current).toBeGreaterThan(0);
  expect(V2_ONLY ? metrics.memory.usage_limit : metrics.memory.usage.limit).toBe(33554432);
  expect(V2_ONLY ? metrics.memory.usage : metrics.memory.usage.usage).toBeGreaterThan(0);
});
