/** When limits are set: before what depends on them, and whatever is there already. */
import { expect } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cgroupFile, controllerPlace, LANE, missingController, missingFile } from "./helpers/cgroup-files.ts";
import { MANAGER } from "./helpers/manager.ts";
import { type Change, mustSucceed, suite } from "./helpers/suite.ts";

const { test, bundle, create, run, refusal, home } = suite(`resources-order-${LANE}`);

const M = 1024 * 1024;

const realTime: Change = (config) => {
  config.process.scheduler = { policy: "SCHED_RR", priority: 1 };
};

test(
  "a real-time limit comes before a real-time policy, which takes one",
  () => {
    const limited = bundle((config, at) => {
      realTime(config, at);
      config.linux.resources = { cpu: { realtimeRuntime: 10_000, realtimePeriod: 500_000 } };
      config.process.args = ["grep", "-w", "policy", "/proc/self/sched"];
    });
    const SCHED_RR = 2;
    expect(mustSucceed(run(limited)).stdout).toMatch(new RegExp(`: +${SCHED_RR}\\n`));
    expect(refusal(realTime)).toContain("process.scheduler");
  },
  { skip: missingFile("cpu.rt_runtime_us") },
);

/** Of the process that a hook is told of: the path of its cgroup's file with the limit. */
function limitOf(controller: string, v1: string, v2: string): string {
  const place = controllerPlace(controller);
  const pattern = place?.version === 1 ? `[0-9]*:${controller}:` : "0::";
  const file = place?.version === 1 ? v1 : v2;
  return `cat ${place?.mount}$(sed -n 's/^${pattern}//p' /proc/$pid/cgroup)/${file}`;
}

test(
  "hooks find the limits set",
  () => {
    const limits = [
      limitOf("memory", "memory.limit_in_bytes", "memory.max"),
      limitOf("pids", "pids.max", "pids.max"),
    ].join("; ");
    const script = `pid=$(sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p'); { ${limits}; } >> ${home}/seen`;
    const hook = { path: "/bin/sh", args: ["sh", "-c", script] };
    const b = bundle((config) => {
      config.linux.resources = { memory: { limit: 64 * M }, pids: { limit: 40 } };
      config.hooks = { prestart: [hook], createRuntime: [hook] };
    });
    mustSucceed(create(b));
    expect(readFileSync(`${home}/seen`, "utf8")).toBe("67108864\n40\n67108864\n40\n");
  },
  { skip: missingController("memory") ?? missingController("pids") },
);

test(
  "what an earlier container has left of limits is in nobody's way",
  () => {
    const b = bundle((config) => {
      config.linux.resources = { memory: { limit: 64 * M, swap: 96 * M }, pids: { limit: 40 } };
    });
    const path = b.config.linux.cgroupsPath!;
    const left = `${controllerPlace("memory")!.mount}${path}`;
    mkdirSync(left, { recursive: true });
    writeFileSync(`${left}/memory.limit_in_bytes`, String(8 * M));
    writeFileSync(`${left}/memory.memsw.limit_in_bytes`, String(8 * M));
    const pidFile = `${b.dir}/pid`;
    mustSucceed(create(b, { flags: ["--pid-file", pidFile] }));
    const pid = Number(readFileSync(pidFile, "utf8"));
    expect(cgroupFile(pid, "memory.limit_in_bytes")).toBe("67108864");
    expect(cgroupFile(pid, "memory.memsw.limit_in_bytes")).toBe("100663296");
  },
  { skip: missingFile("memory.memsw.limit_in_bytes") ?? (MANAGER === "systemd" && "systemd makes the cgroup anew") },
);
