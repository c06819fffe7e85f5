/** What dockerd does about containers that end, are ill, or live longer than it does. */
import { expect } from "bun:test";
import { existsSync, rmSync } from "node:fs";
import { sh, sleep, success } from "../lib/commands.ts";
import { shimSocket } from "../lib/containerd.ts";
import { until } from "../lib/wait.ts";
import { docker } from "./lanes.ts";

const { test } = docker({ flags: ["--live-restore"] });

test("restart policy on-failure: as often as it says", async ({ started, inspect, docker }) => {
  const id = await started(sh("echo again; exit 3"), ["--restart", "on-failure:2"]);
  await until(async () => (await inspect(id, "{{.State.Status}} {{.RestartCount}}")) === "exited 2");
  expect(await inspect(id, "{{.State.ExitCode}}")).toBe("3");
  expect(success(await docker("logs", id)).stdout).toBe("again\nagain\nagain\n");
});

test("restart policy always: a container whose process is killed", async ({ started, inspect, pidOf, docker }) => {
  const id = await started(sleep, ["--restart", "always"]);
  const before = await pidOf(id);
  process.kill(before, "SIGKILL");
  await until(async () => (await inspect(id, "{{.State.Status}} {{.RestartCount}}")) === "running 1");
  expect(await pidOf(id)).not.toBe(before);
  success(await docker("stop", "--time", "0", id));
  expect(await inspect(id, "{{.State.Status}}")).toBe("exited");
});

test("health check: healthy, then not", async ({ started, inspect, exec }) => {
  const check = ["--health-cmd", "test -e /tmp/well", "--health-interval", "200ms", "--health-retries", "2"];
  const id = await started(sh("touch /tmp/well; exec sleep 1000"), check);
  await until(async () => (await inspect(id, "{{.State.Health.Status}}")) === "healthy");
  success(await exec(id, ["rm", "/tmp/well"]));
  await until(async () => (await inspect(id, "{{.State.Health.Status}}")) === "unhealthy");
  expect(await inspect(id, "{{(index .State.Health.Log 0).ExitCode}}")).toMatch(/^[01]$/);
});

test("logs: since when, with times, and those of an exec are not in it", async ({ started, docker, exec, note }) => {
  const id = await started(sh("echo first; echo second >&2; sleep 1000"));
  await exec(id, ["echo", "not logged"]);
  await until(async () => (await docker("logs", id)).stderr !== "");
  const { stdout, stderr } = success(await docker("logs", id));
  expect([stdout, stderr]).toEqual(["first\n", "second\n"]);
  expect(success(await docker("logs", "--timestamps", id)).stdout).toMatch(/^\d{4}-\d\d-\d\dT\S+Z first\n$/);
  note("driver", success(await docker("info", "--format", "{{.LoggingDriver}} {{.CgroupDriver}}")).stdout);
});

test("kill -9 of dockerd: containers live on, and the next dockerd has them", async (lane) => {
  const { engine, started, pidOf, inspect, exec, docker } = lane;
  const id = await started(sh("while :; do echo alive; sleep 0.1; done"));
  const other = await started(sh("until test -e /tmp/end; do sleep 0.05; done; exit 7"));
  const before = [await pidOf(id), await pidOf(other)];
  await engine.killDaemon();
  expect([await pidOf(id), await pidOf(other)]).toEqual(before);
  expect(existsSync(`/proc/${before[0]}`)).toBe(true);
  expect(await inspect(id, "{{.State.Status}}")).toBe("running");
  expect(success(await exec(id, sh("echo inside"))).stdout).toBe("inside\n");
  const lines = async () => success(await docker("logs", id)).stdout.length;
  const logged = await lines();
  await until(async () => (await lines()) > logged);
  success(await docker("pause", id));
  success(await docker("unpause", id));
  success(await exec(other, ["touch", "/tmp/end"]));
  expect(success(await docker("wait", other)).stdout).toBe("7\n");
  success(await docker("stop", "--time", "0", id));
  expect(await inspect(id, "{{.State.Status}} {{.State.ExitCode}}")).toBe("exited 137");
  expect(existsSync(`/proc/${before[0]}`)).toBe(false);
});

test("kill -9 of dockerd: what ended meanwhile is known, what must run runs again", async (lane) => {
  const { engine, started, pidOf, inspect } = lane;
  const ends = await started(sleep);
  const returns = await started(sleep, ["--restart", "always"]);
  const pids = [await pidOf(ends), await pidOf(returns)];
  await engine.killDaemon(() => {
    for (const pid of pids) process.kill(pid, "SIGKILL");
  });
  await until(async () => (await inspect(ends, "{{.State.Status}}")) === "exited");
  await until(async () => (await inspect(returns, "{{.State.Status}}")) === "running");
  expect(await pidOf(returns)).not.toBe(pids[1]!);
});

test("a shim that is killed", async ({ started, pidOf, inspect, run, engine }) => {
  const id = await started(sleep);
  const socket = shimSocket(`${engine.home}/c.sock`, "moby", await inspect(id, "{{.Id}}"));
  expect(existsSync(socket)).toBe(true);
  const pid = await pidOf(id);
  const { stdout } = Bun.spawnSync(["sed", "-n", "s/^PPid:\\t//p", `/proc/${pid}/status`]);
  process.kill(Number(stdout.toString()), "SIGKILL");
  await until(async () => (await inspect(id, "{{.State.Status}}")) === "exited");
  await until(() => !existsSync(`/proc/${pid}/root/bin`));
  expect((await run(["true"])).status).toBe(0);
  rmSync(socket); // containerd 1.6 leaves it.
});
