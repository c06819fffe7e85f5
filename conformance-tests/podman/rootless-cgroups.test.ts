/** An ordinary user's podman on cgroup v2, in a cgroup that is the user's. */
import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { sh, success } from "../lib/commands.ts";
import { until } from "../lib/wait.ts";
import { podman } from "./lanes.ts";

const { test } = podman({ who: "user", delegated: true });
test("a container has a cgroup in the user's, can be paused, and is gone with its cgroup", async (lane) => {
  const { started, podman, pidOf, inspect, engine } = lane;
  const id = await started(sh("i=0; while :; do i=$((i+1)); echo $i > /tmp/n; sleep 0.02; done"));
  const cgroup = /^0::(.*)$/m.exec(readFileSync(`/proc/${await pidOf(id)}/cgroup`, "utf8"))![1]!;
  expect(cgroup).toContain(`/${engine.mark}/`);
  expect(cgroup).toEndWith(await inspect(id, "{{.Id}}"));
  const seen = async () => Number((await podman("exec", id, "cat", "/tmp/n")).stdout);
  await until(async () => (await seen()) > 2);
  success(await podman("pause", id));
  expect(await inspect(id, "{{.State.Status}}")).toBe("paused");
  success(await podman("unpause", id));
  const before = await seen();
  await until(async () => (await seen()) > before);
  success(await podman("rm", "--force", "--time", "0", id));
});

test("exec and stats", async ({ started, exec, podman, note }) => {
  const id = await started(sh("sleep 1000 & exec sleep 1001"));
  expect(success(await exec(id, sh("cmp /proc/self/cgroup /proc/1/cgroup && echo same"))).stdout).toBe("same\n");
  const stats = await podman("stats", "--no-stream", "--format", "{{.Name}}", id);
  note("stats", [stats.status, stats.stdout]);
});
