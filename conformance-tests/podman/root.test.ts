/** Root's podman. */
import { expect } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { cgroupFile, missingController } from "../../tests/helpers/cgroup-files.ts";
import { sh, sleep, success } from "../lib/commands.ts";
import { V2_ONLY } from "../lib/runtimes.ts";
import { until } from "../lib/wait.ts";
import { commonTests } from "./common.ts";
import { podman } from "./lanes.ts";

const { test, skip } = podman({ who: "root" });

/** With limits that this machine has. */
function limited(title: string, action: Parameters<typeof test>[1]): void {
  const missing = ["memory", "cpu", "pids"].map(missingController).find((each) => each !== undefined);
  if (missing === undefined) test(title, action);
  else skip(title, missing);
}

limited("--memory, --cpus, --pids-limit, and update", async ({ started, pidOf, podman }) => {
  const id = await started(sleep, ["--memory", "64m", "--cpus", "0.5", "--pids-limit", "77"]);
  const file = async (v1: string, v2: string) => cgroupFile(await pidOf(id), V2_ONLY ? v2 : v1);
  expect(await file("memory.limit_in_bytes", "memory.max")).toBe(`${64 << 20}`);
  expect(await file("pids.max", "pids.max")).toBe("77");
  expect(await file("cpu.cfs_quota_us", "cpu.max")).toMatch(/^50000( 100000)?$/);
  success(await podman("update", "--memory", "32m", "--cpus", "0.25", id));
  expect(await file("memory.limit_in_bytes", "memory.max")).toBe(`${32 << 20}`);
  expect(await file("cpu.cfs_quota_us", "cpu.max")).toMatch(/^25000( 100000)?$/);
});

limited("what takes more memory than it may is killed", async ({ run }) => {
  const takes64M = sh("exec dd if=/dev/zero of=/dev/null bs=64M count=1");
  expect((await run(takes64M, ["--memory", "16m"])).status).toBe(137);
});

test("pause and unpause", async ({ started, podman, inspect }) => {
  const id = await started(sh("i=0; while :; do i=$((i+1)); echo $i > /tmp/n; sleep 0.02; done"));
  const seen = async () => Number((await podman("exec", id, "cat", "/tmp/n")).stdout);
  await until(async () => (await seen()) > 2);
  success(await podman("pause", id));
  expect(await inspect(id, "{{.State.Status}}")).toBe("paused");
  expect((await podman("exec", id, "true")).status).not.toBe(0);
  success(await podman("unpause", id));
  const before = await seen();
  await until(async () => (await seen()) > before);
});

limited("stats", async ({ started, podman }) => {
  const id = await started(sh("sleep 1000 & exec sleep 1001"));
  const format = "{{.Name}} {{.PIDs}} {{.MemUsage}}";
  const { stdout } = success(await podman("stats", "--no-stream", "--format", format, id));
  expect(stdout).toMatch(new RegExp(`^${id} 2 [1-9][0-9.]*[kM]B / `));
});

test("--cgroups=disabled: the container stays in the caller's cgroup", async ({
  engine,
  run,
  started,
  pidOf,
  exec,
}) => {
  if (engine.runtime.name === "runc") {
    // It has no --cgroup-manager=disabled, which is what podman asks for then.
    expect((await run(["true"], ["--cgroups", "disabled"])).status).not.toBe(0);
    return;
  }
  const id = await started(sleep, ["--cgroups", "disabled"]);
  const own = (pid: number | string) => readFileSync(`/proc/${pid}/cgroup`, "utf8");
  expect(own(await pidOf(id))).not.toContain("libpod");
  success(await exec(id, ["true"]));
});

test("a bridge: name, address, a port that is published, and who is where by name", async ({
  podman,
  name,
  started,
  engine,
}) => {
  const network = name();
  success(await podman("network", "create", network));
  const serve = sh("mkdir /tmp/www; echo served > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www");
  const id = await started(serve, ["--network", network, "--publish", "127.0.0.1:18080:8080"]);
  const fetch = ["busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:18080/index.html"];
  await until(async () => (await engine.here(fetch)).stdout === "served\n");
  const inside = await started(sleep, ["--network", `container:${id}`]);
  const wget = sh("wget -q -O - http://127.0.0.1:8080/index.html");
  expect(success(await podman("exec", inside, ...wget)).stdout).toBe("served\n");
  for (const each of [inside, id]) success(await podman("rm", "--force", "--time", "0", each));
});

test("--userns=auto: a range of its own for each container", async ({ started, pidOf }) => {
  const first = async () => {
    const pid = await pidOf(await started(sleep, ["--userns", "auto:size=1000"]));
    return readFileSync(`/proc/${pid}/uid_map`, "utf8").trim().split(/\s+/).map(Number);
  };
  const [one, two] = [await first(), await first()];
  expect([one[0], one[2], two[0], two[2]]).toEqual([0, 1000, 0, 1000]);
  expect(Math.abs(one[1]! - two[1]!)).toBeGreaterThanOrEqual(1000);
});

test("--uidmap: files of the container are those of the mapped ids", async ({ output }) => {
  const flags = ["--uidmap", "0:200000:1000", "--gidmap", "0:200000:1000"];
  expect(await output(sh("id -u; stat -c %u /bin; cat /proc/self/uid_map | tr -s ' '"), flags)).toBe(
    "0\n0\n 0 200000 1000\n",
  );
});

test("--ipc, --pid and --uts of another container", async ({ started, exec }) => {
  const one = await started(sleep);
  const two = await started(sleep, ["--ipc", `container:${one}`, "--pid", `container:${one}`]);
  const names = sh("for name in ipc pid; do readlink /proc/self/ns/$name; done");
  expect(success(await exec(one, names)).stdout).toBe(success(await exec(two, names)).stdout);
});

test("the state of a container is gone with it", async ({ engine, started, podman, inspect }) => {
  const id = await inspect(await started(sleep), "{{.Id}}");
  const state = `/run/${engine.runtime.name}/${id}`;
  expect(existsSync(state)).toBeTrue();
  success(await podman("rm", "--force", "--time", "0", id));
  expect(existsSync(state)).toBeFalse();
});

commonTests(test);
