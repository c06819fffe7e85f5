/** What limits do to the programs inside, not only what the files say. */
import { expect } from "bun:test";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { staticProgram } from "../scripts/program/static-program.ts";
import {
  cgroupFile,
  cgroupOf,
  controllerPlace,
  LANE,
  type LoopDevice,
  loopDevice,
  missingController,
  NO_LOOP_DEVICE,
} from "./helpers/cgroup-files.ts";
import { command } from "./helpers/command.ts";
import type { Resources } from "./helpers/resource-cases.ts";
import { type Bundle, type Change, mustSucceed, suite, until } from "./helpers/suite.ts";
import { slow } from "./helpers/time.ts";

const { test, bundle, create, start, run, exec, runtime, status, untilStatus, remove, after, home } = suite(
  `resource-effects-${LANE}`,
);

const M = 1024 * 1024;

/** A machine of the tests' own, where they may add swap. */
const IS_GUEST = process.env.TSRUN_GUEST === "1";

interface Live extends Bundle {
  readonly pid: number;
}

/** A container that runs `script` with these resources. */
function running(resources: Resources, script: string, change?: Change): Live {
  const b = bundle((config, at) => {
    config.process.args = ["/bin/sh", "-c", script];
    config.linux.resources = { ...resources };
    change?.(config, at);
  });
  mustSucceed(create(b, { flags: ["--pid-file", `${b.dir}/pid`] }));
  mustSucceed(start(b));
  return { ...b, pid: Number(readFileSync(`${b.dir}/pid`, "utf8")) };
}

/** A change that gives the container these resources and this command line. */
const limited =
  (resources: Resources, ...args: string[]): Change =>
  (config) => {
    config.linux.resources = { ...resources };
    config.process.args = args;
  };

function update(b: Bundle, resources: Resources): void {
  mustSucceed(runtime(["update", "--resources", "-", b.id], { stdin: JSON.stringify(resources) }));
}

/** `name 12` in a file such as cpu.stat, as a number. */
function counter(text: string, name: string): number {
  const found = new RegExp(`^${name} (\\d+)$`, "m").exec(text);
  if (found === null) throw new Error(`no ${name} in ${JSON.stringify(text)}`);
  return Number(found[1]);
}

const isV2 = (controller: string): boolean => controllerPlace(controller)?.version === 2;

const TAKES_64M = "exec dd if=/dev/zero of=/dev/null bs=64M count=1";

test(
  "memory.limit: a program that takes more is killed",
  () => {
    const b = bundle(limited({ memory: { limit: 16 * M, swap: 16 * M } }, "/bin/sh", "-c", TAKES_64M));
    mustSucceed(create(b, { flags: ["--pid-file", `${b.dir}/pid`] }));
    const directory = cgroupOf(Number(readFileSync(`${b.dir}/pid`, "utf8")), "memory");
    mustSucceed(start(b));
    untilStatus(b, "stopped");
    // systemd removes the cgroup of a scope with its last process.
    const events = `${directory}/${isV2("memory") ? "memory.events" : "memory.oom_control"}`;
    if (existsSync(events)) expect(counter(readFileSync(events, "utf8"), "oom_kill")).toBe(1);
  },
  { skip: missingController("memory") },
);

test(
  "memory.limit: run has the exit status of what was killed, and says why it was",
  () => {
    const result = run(bundle(limited({ memory: { limit: 16 * M, swap: 16 * M } }, "/bin/sh", "-c", TAKES_64M)));
    expect(result.status).toBe(137);
    expect(result.stderr).toContain("OOM-killed: memory limit 16 MiB reached");
    expect(result.stderr).toContain("linux.resources.memory.limit");
  },
  { skip: missingController("memory") },
);

test(
  "memory.limit of 512 KiB: a static program runs",
  () => {
    const small: Change = (config, at) => {
      writeFileSync(`${at.rootfs}/true`, staticProgram("true"), { mode: 0o755 });
      limited({ memory: { limit: 512 * 1024 } }, "/true")(config, at);
    };
    for (let round = 0; round < 3; round++) mustSucceed(run(bundle(small)));
  },
  { skip: missingController("memory") },
);

test(
  "memory.limit: update to more lets a program have it",
  () => {
    const b = running({ memory: { limit: 16 * M, swap: 16 * M } }, "exec sleep 1000");
    expect(exec(b, ["sh", "-c", TAKES_64M]).status).toBe(137);
    update(b, { memory: { limit: 128 * M, swap: 128 * M } });
    mustSucceed(exec(b, ["sh", "-c", TAKES_64M]));
  },
  { skip: missingController("memory") },
);

test(
  "memory.disableOOMKiller: a program that takes more waits, and can be killed",
  () => {
    // Touched by the program itself: a system call that needs memory for it fails instead.
    const takes = "s=0123456789; for i in $(seq 23); do s=$s$s; done; exec sleep 1000";
    const b = running({ memory: { limit: 16 * M, swap: 16 * M, disableOOMKiller: true } }, takes);
    until(() => counter(cgroupFile(b.pid, "memory.oom_control"), "under_oom") === 1, "the program to wait");
    expect(status(b)).toBe("running");
    const before = Date.now();
    mustSucceed(remove(b, { flags: ["--force"] }));
    expect(Date.now() - before).toBeLessThan(slow(2000));
  },
  { skip: missingController("memory") ?? (isV2("memory") && "cgroup v2 always has the OOM killer") },
);

test(
  "unified memory.high: the page cache stays below it, and nobody is killed",
  () => {
    const b = running({ unified: { "memory.high": String(16 * M) } }, "exec sleep 1000");
    mustSucceed(exec(b, ["dd", "if=/dev/zero", "of=/tmp/file", "bs=1M", "count=64"]));
    expect(counter(cgroupFile(b.pid, "memory.events"), "high")).toBeGreaterThan(0);
    expect(counter(cgroupFile(b.pid, "memory.events"), "oom_kill")).toBe(0);
    expect(Number(cgroupFile(b.pid, "memory.current"))).toBeLessThan(32 * M);
  },
  { skip: missingController("memory") ?? (!isV2("memory") && "memory.high is of cgroup v2") },
);

test(
  "memory.swap: what does not fit into memory is swapped out, as far as it goes",
  () => {
    if (freeSwap() < 128 * M) addSwap(`${home}/swap`);
    const limits = { memory: { limit: 32 * M, swap: 160 * M } };
    mustSucceed(run(bundle(limited(limits, "/bin/sh", "-c", TAKES_64M)), { limit: 60_000 }));
    const none = { memory: { limit: 32 * M, swap: 32 * M } };
    expect(run(bundle(limited(none, "/bin/sh", "-c", TAKES_64M))).status).toBe(137);
  },
  { skip: missingController("memory") ?? (freeSwap() < 128 * M && !IS_GUEST && "less than 128 MiB of swap is free") },
);

/** Until the end of the test. */
function addSwap(file: string): void {
  mustSucceed(command(["dd", "if=/dev/zero", `of=${file}`, "bs=1M", "count=160"]));
  chmodSync(file, 0o600);
  mustSucceed(command(["mkswap", file]));
  after(() => mustSucceed(command(["swapoff", file])));
  mustSucceed(command(["swapon", file]));
}

function freeSwap(): number {
  return Number(/^SwapFree: +(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1]) * 1024;
}

const BUSY = "while :; do :; done";

/** Microseconds of processor time that the container has used. */
function cpuTime(b: Live): number {
  if (isV2("cpu")) return counter(cgroupFile(b.pid, "cpu.stat"), "usage_usec");
  return Number(cgroupFile(b.pid, "cpuacct.usage")) / 1000;
}

/** What each uses in the same time, in microseconds. */
function cpuTimesOf(containers: readonly Live[], milliseconds: number): number[] {
  const before = containers.map(cpuTime);
  Bun.sleepSync(milliseconds);
  return containers.map((b, i) => cpuTime(b) - before[i]!);
}

test(
  "cpu.quota throttles: a twentieth of a processor against what there is",
  () => {
    const free = running({}, BUSY);
    const b = running({ cpu: { quota: 5000, period: 100_000 } }, BUSY);
    const milliseconds = slow(600);
    const [all, part] = cpuTimesOf([free, b], milliseconds) as [number, number];
    expect(part / 1000).toBeLessThan(milliseconds * 0.1);
    expect(all / part).toBeGreaterThan(1.5);
    expect(counter(cgroupFile(b.pid, "cpu.stat"), "nr_throttled")).toBeGreaterThan(0);
    update(b, { cpu: { quota: -1 } });
    const [, freed] = cpuTimesOf([free, b], milliseconds) as [number, number];
    expect(freed / part).toBeGreaterThan(1.5);
  },
  { skip: missingController("cpu") },
);

test(
  "cpu.shares: ten times as many get several times as much of one processor",
  () => {
    const share = (shares: number) => running({ cpu: { shares, cpus: "0" } }, BUSY);
    const [more, less] = cpuTimesOf([share(2048), share(102)], slow(600)) as [number, number];
    expect(more / less).toBeGreaterThan(3);
  },
  { skip: missingController("cpu") ?? missingController("cpuset") },
);

test(
  "cpu.cpus pins: the first process, exec, and after update both anew",
  () => {
    const b = running({ cpu: { cpus: "0" } }, "exec sleep 1000");
    const allowed = (pid: number) => /Cpus_allowed_list:\t(.*)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    const inside = () => mustSucceed(exec(b, ["sh", "-c", "nproc; grep Cpus_allowed_list /proc/self/status"])).stdout;
    expect([allowed(b.pid), inside()]).toEqual(["0", "1\nCpus_allowed_list:\t0\n"]);
    update(b, { cpu: { cpus: "1" } });
    expect([allowed(b.pid), inside()]).toEqual(["1", "1\nCpus_allowed_list:\t1\n"]);
  },
  { skip: missingController("cpuset") },
);

test(
  "pids.limit stops a fork bomb",
  () => {
    // The first process forks once, while there is room: the shell that the bomb refuses a fork ends.
    const b = running({ pids: { limit: 20 } }, "bomb() { bomb | bomb & }; (bomb) & exec sleep 1000");
    const hits = () => counter(cgroupFile(b.pid, "pids.events"), "max");
    until(() => hits() > 0, "the limit to be hit");
    for (let round = 0; round < 20; round++) {
      expect(Number(cgroupFile(b.pid, "pids.current"))).toBeLessThanOrEqual(20);
      Bun.sleepSync(5);
    }
    mustSucceed(remove(b, { flags: ["--force"] }));
  },
  { skip: missingController("pids") },
);

test(
  "pids.limit: what is refused fails inside, and update to more lets it work",
  () => {
    const b = running({ pids: { limit: 4 } }, "exec sleep 1000");
    const four = ["sh", "-c", "for i in 1 2 3 4; do sleep 0.1 & done; wait; echo done"];
    const refused = exec(b, four);
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toContain("can't fork");
    update(b, { pids: { limit: 20 } });
    expect(mustSucceed(exec(b, four)).stdout).toBe("done\n");
  },
  { skip: missingController("pids") },
);

test("pause stops a counter, resume lets it go on", () => {
  const b = running({}, "i=0; while :; do i=$((i+1)); echo $i > /tmp/n; sleep 0.01; done");
  const count = () => Number(existsSync(`${b.rootfs}/tmp/n`) ? readFileSync(`${b.rootfs}/tmp/n`, "utf8") : 0);
  until(() => count() > 2, "the counter to count");
  mustSucceed(runtime(["pause", b.id]));
  expect(status(b)).toBe("paused");
  const seen = readFileSync(`${b.rootfs}/tmp/n`, "utf8");
  Bun.sleepSync(slow(150));
  expect(readFileSync(`${b.rootfs}/tmp/n`, "utf8")).toBe(seen);
  mustSucceed(runtime(["resume", b.id]));
  expect(status(b)).toBe("running");
  until(() => count() > Number(seen) + 2, "the counter to go on");
});

/** The loop device as /dev/disk, and the right to use it. */
const withDisk =
  ({ major, minor }: LoopDevice): Change =>
  (config) => {
    config.linux.devices = [{ type: "b", path: "/dev/disk", major, minor, fileMode: 0o600 }];
    const rule = { allow: true, type: "b", major, minor, access: "rwm" };
    config.linux.resources = { ...config.linux.resources, devices: [{ allow: false, access: "rwm" }, rule] };
  };

const blockController = controllerPlace("io") === undefined ? "blkio" : "io";

test(
  "blockIO throttles: 3 MiB at 1 MiB/s take their time, and update to more lets them pass",
  () => {
    const loop = loopDevice(`${home}/disk`);
    after(() => loop.release());
    const { major, minor } = loop;
    const limit = (rate: number) => ({ blockIO: { throttleWriteBpsDevice: [{ major, minor, rate }] } });
    const b = running(limit(M), "exec sleep 1000", withDisk(loop));
    // By the container's clock: to get into it takes seconds where everything is slow.
    const script =
      "read from rest < /proc/uptime; dd if=/dev/zero of=/dev/disk bs=64k count=48 oflag=direct 2> /dev/null || exit; read to rest < /proc/uptime; echo $from $to";
    const write = () => {
      const [from = 0, to = 0] = mustSucceed(exec(b, ["sh", "-c", script], { limit: 30_000 }))
        .stdout.split(" ")
        .map(Number);
      return to - from;
    };
    const throttled = write();
    expect(throttled).toBeGreaterThan(2.3);
    update(b, limit(1000 * M));
    expect(write()).toBeLessThan(throttled * 0.7);
  },
  { skip: missingController(blockController) ?? NO_LOOP_DEVICE },
);

const PAGES = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

test(
  "hugepageLimits: one page may be had, two may not",
  () => {
    const before = readFileSync(PAGES, "utf8").trim();
    after(() => writeFileSync(PAGES, before));
    writeFileSync(PAGES, String(Number(before) + 2));
    const pages =
      (count: number): Change =>
      (config, at) => {
        limited(
          { hugepageLimits: [{ pageSize: "2MB", limit: 2 * M }] },
          ...["/bin/fallocate", "-l", String(count * 2 * M), "/mnt/file"],
        )(config, at);
        config.mounts.push({ destination: "/mnt", type: "hugetlbfs", source: "none", options: ["pagesize=2M"] });
      };
    mustSucceed(run(bundle(pages(1))));
    expect(run(bundle(pages(2))).status).not.toBe(0);
  },
  { skip: missingController("hugetlb") ?? (!existsSync(PAGES) && "the kernel has no huge pages") },
);
