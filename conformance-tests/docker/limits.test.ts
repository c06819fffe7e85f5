/** docker limits, measures and updates what containers may use. */
import { expect } from "bun:test";
import { readdirSync } from "node:fs";
import { cgroupFile, controllerOf, controllerPlace, missingController } from "../../tests/helpers/cgroup-files.ts";
import { sh, sleep, success } from "../lib/commands.ts";
import { V2_ONLY } from "../lib/runtimes.ts";
import { until } from "../lib/wait.ts";
import { docker, type Lane } from "./lanes.ts";

const { test, skip } = docker();

/** Limits that need a controller which the machine may not have to give. */
function testWith(controllers: readonly string[], title: string, action: (lane: Lane) => Promise<void>): void {
  const reason = controllers.map(missingController).find((each) => each !== undefined);
  if (reason === undefined) test(title, action);
  else skip(title, reason);
}

/** What the file of this controller says, by the version that has it. */
async function limit({ pidOf }: Lane, id: string, v1: string, v2: string): Promise<string> {
  return cgroupFile(await pidOf(id), controllerPlace(controllerOf(v1))?.version === 1 ? v1 : v2);
}

testWith(["memory"], "-m, --memory-reservation and --memory-swap", async (lane) => {
  const id = await lane.started(sleep, ["-m", "32m", "--memory-reservation", "16m", "--memory-swap", "64m"]);
  expect(await limit(lane, id, "memory.limit_in_bytes", "memory.max")).toBe("33554432");
  expect(await limit(lane, id, "memory.soft_limit_in_bytes", "memory.low")).toBe("16777216");
});

testWith(
  ["memory"],
  "out of memory: exit code 137, and docker knows why",
  async ({ run, started, inspect, docker }) => {
    const takes64M = sh("exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    const limits = ["-m", "16m", "--memory-swap", "16m"];
    expect((await run(takes64M, limits)).status).toBe(137);
    const id = await started(sh("sleep 0.1; exec dd if=/dev/zero of=/dev/null bs=64M count=1"), limits);
    expect(success(await docker("wait", id)).stdout).toBe("137\n");
    await until(async () => (await inspect(id, "{{.State.OOMKilled}}")) === "true");
  },
);

testWith(["cpu"], "--cpus and --cpu-shares", async (lane) => {
  const id = await lane.started(sleep, ["--cpus", "0.5", "--cpu-shares", "512"]);
  expect(await limit(lane, id, "cpu.cfs_quota_us", "cpu.max")).toMatch(/^50000( 100000)?$/);
  expect(await limit(lane, id, "cpu.shares", "cpu.weight")).toMatch(/^(512|20)$/);
});

testWith(["cpuset"], "--cpuset-cpus and --cpuset-mems", async (lane) => {
  const id = await lane.started(sleep, ["--cpuset-cpus", "0", "--cpuset-mems", "0"]);
  expect(await limit(lane, id, "cpuset.cpus", "cpuset.cpus")).toBe("0");
  const list = await lane.exec(id, ["grep", "Cpus_allowed_list", "/proc/1/status"]);
  expect(success(list).stdout).toBe("Cpus_allowed_list:\t0\n");
});

testWith(["pids"], "--pids-limit", async (lane) => {
  const id = await lane.started(sleep, ["--pids-limit", "7"]);
  expect(await limit(lane, id, "pids.max", "pids.max")).toBe("7");
  const many = await lane.exec(id, sh("for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait; echo not refused"));
  expect(many.stderr).toContain("can't fork");
});

testWith(["memory", "pids"], "update: the limits of a container that runs", async (lane) => {
  const id = await lane.started(sleep, ["-m", "32m", "--memory-swap", "32m"]);
  success(await lane.docker("update", "-m", "64m", "--memory-swap", "64m", "--pids-limit", "33", "--cpus", "0.25", id));
  expect(await limit(lane, id, "memory.limit_in_bytes", "memory.max")).toBe("67108864");
  expect(await limit(lane, id, "pids.max", "pids.max")).toBe("33");
  expect(await limit(lane, id, "cpu.cfs_quota_us", "cpu.max")).toMatch(/^25000( 100000)?$/);
  expect(await lane.inspect(id, "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}")).toBe("67108864 33");
});

testWith(["memory", "pids"], "stats: what is in use, and the limits", async ({ started, docker }) => {
  const id = await started(sh("sleep 1000 & exec sleep 1001"), ["-m", "32m", "--pids-limit", "9"]);
  const format = "{{.Name}} {{.PIDs}} {{.MemUsage}}";
  const { stdout } = success(await docker("stats", "--no-stream", "--format", format, id));
  expect(stdout).toMatch(new RegExp(`^${id} 2 [0-9.]+[kKM]iB / 32MiB\\n$`));
  expect(stdout).not.toContain(" 0B /");
});

const DISK = readdirSync("/sys/block").find((name) => !/^(loop|ram|zram|sr|fd)/.test(name));
const IO = controllerPlace("blkio") === undefined ? "io" : "blkio";
if (DISK === undefined) skip("--device-read-bps", "the machine has no disk");
else
  testWith([IO], "--device-read-bps", async (lane) => {
    const id = await lane.started(sleep, ["--device-read-bps", `/dev/${DISK}:1mb`]);
    expect(await limit(lane, id, "blkio.throttle.read_bps_device", "io.max")).toMatch(/1048576/);
  });

test("--ulimit", async ({ output, note }) => {
  const limits = ["--ulimit", "nofile=321:654", "--ulimit", "core=0", "--ulimit", "cpu=100:200"];
  expect(await output(sh("ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -St; ulimit -Ht"), limits)).toBe(
    "321\n654\n0\n100\n200\n",
  );
  note("all limits", await output(["cat", "/proc/self/limits"], limits));
});

test("--device, --device-cgroup-rule", async ({ output, run, note }) => {
  const fuse = "stat -c '%F %t %T' /dev/fuse; (: <> /dev/fuse) && echo opened";
  expect(await output(sh(fuse), ["--device", "/dev/fuse"])).toBe("character special file a e5\nopened\n");
  expect(
    await output(sh("test -c /dev/other && (: < /dev/other) && echo opened"), [
      ...["--device", "/dev/fuse:/dev/other:r"],
    ]),
  ).toBe("opened\n");
  const made = sh("mknod /tmp/f c 10 229 && (: <> /tmp/f) && echo opened");
  const refused = await run(made);
  expect([refused.stdout, refused.stderr.includes("Operation not permitted")]).toEqual(["", true]);
  expect(await output(made, ["--device-cgroup-rule", "c 10:229 rwm"])).toBe("opened\n");
  const readOnly = await run(sh("(: <> /dev/other) && echo opened"), ["--device", "/dev/fuse:/dev/other:r"]);
  note("a device to read, opened to write", [readOnly.status, readOnly.stdout]);
  expect(readOnly.stdout).toBe("");
});

test("--oom-score-adj, --shm-size", async ({ output }) => {
  const seen = await output(sh("cat /proc/self/oom_score_adj; df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2"), [
    ...["--oom-score-adj", "321", "--shm-size", "8m"],
  ]);
  expect(seen).toBe("321\n8192\n");
});

if (V2_ONLY) {
  test("limits that cgroup v2 without controllers cannot give", async ({ run, note }) => {
    const refused = await run(["true"], ["--cpus", "0.5"]);
    note("--cpus", refused.status);
    const dropped = await run(["true"], ["-m", "32m"]);
    note("-m", dropped.status);
  });
}
