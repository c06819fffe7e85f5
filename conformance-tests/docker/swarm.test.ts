/** A swarm of one node; it listens on the loopback interface of the engine's own network namespace. */
import { expect } from "bun:test";
import { sh, success } from "../lib/commands.ts";
import { until } from "../lib/wait.ts";
import { IMAGE } from "./engine.ts";
import { docker, type Lane } from "./lanes.ts";

const { test } = docker();

const QUICK = [
  "--update-monitor",
  "200ms",
  "--update-delay",
  "0s",
  "--update-parallelism",
  "0",
  "--stop-grace-period",
  "0s",
];

test("one service: created, scaled, updated, removed", async (lane) => {
  const { docker } = lane;
  success(await docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377"));
  try {
    const create = ["service", "create", "--quiet", "--no-resolve-image", "--name", "web", ...QUICK];
    success(
      await docker(
        ...create,
        "--env",
        "WHICH=first",
        "--limit-pids",
        "20",
        IMAGE,
        ...sh("echo $WHICH; exec sleep 1000"),
      ),
    );
    expect(await runningTasks(lane)).toHaveLength(1);
    success(await docker("service", "scale", "web=3"));
    expect(await runningTasks(lane)).toHaveLength(3);
    const before = await runningTasks(lane);
    success(await docker("service", "update", "--quiet", "--no-resolve-image", "--env-add", "WHICH=second", "web"));
    const after = await runningTasks(lane);
    expect(after).toHaveLength(3);
    expect(after.filter((task) => before.includes(task))).toEqual([]);
    for (const task of after) expect(success(await docker("logs", task)).stdout).toBe("second\n");
    const [ended] = after;
    success(await docker("kill", ended!));
    await until(async () => (await runningTasks(lane)).length === 3 && !(await runningTasks(lane)).includes(ended!));
    success(await docker("service", "rm", "web"));
    await until(async () => (await runningTasks(lane)).length === 0);
  } finally {
    success(await docker("swarm", "leave", "--force"));
  }
});

async function runningTasks({ docker }: Lane): Promise<string[]> {
  const { stdout } = success(await docker("ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=web"));
  return stdout.split("\n").filter(Boolean);
}
