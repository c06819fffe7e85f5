import { expect } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { controllerPlace } from "./helpers/cgroup-files.ts";
import { type Config, grant, unshare } from "./helpers/config.ts";
import {
  agentCalls,
  findInOrder,
  follow,
  type PlannedStep,
  parseStrace,
  processWhere,
  type Results,
} from "./helpers/strace.ts";
import { type Bundle, type Change, mustSucceed, RUNTIME_NAME, suite, until } from "./helpers/suite.ts";

/** What `tsrun plan` prints is what strace(1) sees of `tsrun create` and of what it starts. */
const { test, bundle, start, remove, status, runtime, runtimeBeside, home } = suite("plan-strace");
const skip = RUNTIME_NAME === "tsrun" ? undefined : "only tsrun has plans";

function plan(b: Bundle): PlannedStep[] {
  return JSON.parse(mustSucceed(runtime(["plan", "--json", "--bundle", b.dir, b.id])).stdout) as PlannedStep[];
}

/** create and start, seen by strace until the container has ended. */
async function trace(b: Bundle) {
  const file = `${home}/${b.id}.strace`;
  const through = ["strace", "-f", "-v", "-s", "65536", "-o", file];
  const creating = runtimeBeside(["create", "--bundle", b.dir, b.id], { through });
  until(() => status(b) === "created", `${b.id} to be created`, 20_000);
  mustSucceed(start(b));
  mustSucceed(await creating.finish(20_000));
  mustSucceed(remove(b));
  return parseStrace(readFileSync(file, "utf8"));
}

/** Programs in the order in which they run. */
function programsOf(steps: readonly PlannedStep[]): Map<string, PlannedStep[]> {
  const programs = new Map<string, PlannedStep[]>();
  for (const step of steps) {
    programs.set(step.program, [...(programs.get(step.program) ?? []), step]);
  }
  return programs;
}

/** Follows every program with what its process did. Returns how many calls of the init were planned and seen. */
async function compare(change: Change): Promise<number> {
  const b = bundle(change);
  const programs = programsOf(plan(b));
  const seen = await trace(b);
  const results: Results = new Map();
  const tsrun = [...seen.keys()][0]!;
  const own = [...seen.get(tsrun)!];
  findInOrder(programs.get("prepare") ?? [], own, results);

  const agent = processWhere(seen, (calls) => agentCalls(calls).some(({ args }) => /\bCLONE_PARENT\b/.test(args)));
  const unshareProgram = programs.get("unshare")!;
  const onChild = () => {};
  follow(unshareProgram, 0, { seen: agentCalls(seen.get(agent)!), results, onChild });
  findInOrder(programs.get("attach") ?? [], own, results);
  findInOrder(programs.get("restrict") ?? [], own, results);

  const init = agentCalls([
    { name: "execve", args: '["tsrun-agent"]', result: 0, errno: "" },
    ...seen.get(results.get("init")!)!,
  ]);
  const count = init.length;
  const first = unshareProgram.find(({ process }) => process === "init");
  if (first !== undefined) follow(unshareProgram, first.index, { seen: init, results, onChild });
  const children = [...seen.values()].filter(([first]) => first?.name === "setpgid");
  for (const [name, program] of programs) {
    if (name === "unshare" || program[0]!.process !== "init") continue;
    // Nobody looks at what could not be opened.
    if ((name === "look" || name === "read") && results.get("/etc/passwd")! < 0) continue;
    follow(program, 0, {
      seen: init,
      results,
      onChild: (from) => follow(program, from, { seen: [...children.shift()!], results: new Map(results), onChild }),
    });
  }
  return count - init.length;
}

test(
  "the default configuration",
  async () => {
    const from = `${home}/default`;
    mkdirSync(from);
    mustSucceed(runtime(["spec", "--bundle", from]));
    const changed = JSON.parse(readFileSync(`${from}/config.json`, "utf8")) as Config;
    const count = await compare((config) => {
      const cgroupsPath = config.linux.cgroupsPath!;
      Object.assign(config, changed);
      config.process.terminal = false;
      config.process.args = ["true"];
      config.linux.cgroupsPath = cgroupsPath;
    });
    expect(count).toBeGreaterThan(150);
  },
  { skip, limit: 60_000 },
);

const changes: [string, Change][] = [
  ["the base configuration of these tests", () => {}],
  [
    "a user namespace",
    (config, { rootfs }) => {
      Bun.spawnSync(["chown", "-R", "100000:100000", rootfs]);
      unshare(config, "user");
      config.linux.uidMappings = [{ containerID: 0, hostID: 100_000, size: 1000 }];
      config.linux.gidMappings = [{ containerID: 0, hostID: 100_000, size: 1000 }];
    },
  ],
  [
    "bind mounts of a directory and a file, where nothing is yet",
    (config, { dir }) => {
      mkdirSync(`${dir}/source`);
      writeFileSync(`${dir}/file`, "");
      config.mounts.push(
        { destination: "/a/b/c", type: "bind", source: `${dir}/source`, options: ["rbind", "ro", "nosuid"] },
        { destination: "/etc/file", type: "bind", source: `${dir}/file`, options: ["bind", "rprivate"] },
      );
    },
  ],
  [
    "devices, sysctl, masked and read-only paths, a read-only root",
    (config) => {
      config.root.readonly = true;
      config.linux.devices = [
        { type: "c", path: "/dev/sub/fuse", major: 10, minor: 229, fileMode: 0o600, uid: 5, gid: 6 },
      ];
      config.linux.sysctl = { "net.ipv4.ip_forward": "1", "kernel.msgmax": "4096" };
      config.linux.maskedPaths = ["/proc/keys", "/etc", "/not/there"];
      config.linux.readonlyPaths = ["/proc/sys", "/not/there"];
    },
  ],
  [
    "user, groups, capabilities, limits, scheduler",
    (config) => {
      const process = config.process;
      process.user = { uid: 1000, gid: 1000, umask: 0o27, additionalGids: [50, 60] };
      process.noNewPrivileges = true;
      process.oomScoreAdj = 100;
      process.rlimits = [
        { type: "RLIMIT_CORE", soft: 8192, hard: 16384 },
        { type: "RLIMIT_NOFILE", soft: 100, hard: 200 },
      ];
      process.scheduler = { policy: "SCHED_BATCH", nice: 5 };
      process.ioPriority = { class: "IOPRIO_CLASS_BE", priority: 3 };
      grant(config, "CAP_NET_RAW", "CAP_CHOWN");
      process.capabilities!.inheritable = ["CAP_CHOWN"];
      process.capabilities!.ambient = ["CAP_CHOWN"];
      process.cwd = "/made/for/it";
      process.args = ["true"];
      process.env = ["PATH=/nowhere:/bin", "HOME=/home/someone"];
    },
  ],
  [
    "a time namespace with offsets, and a personality",
    (config) => {
      unshare(config, "time");
      config.linux.timeOffsets = { monotonic: { secs: 1000, nanosecs: 5 } };
      config.linux.personality = { domain: "LINUX32" };
    },
  ],
  [
    "hooks on the host and in the container",
    (config) => {
      const inside = { path: "/bin/busybox", args: ["busybox", "true"], env: ["A=b"] };
      config.hooks = {
        createRuntime: [{ path: "/bin/true" }],
        createContainer: [{ path: "/bin/true", timeout: 20 }],
        startContainer: [inside, { ...inside, args: ["busybox", "echo", "said"] }],
      };
    },
  ],
];

for (const [title, change] of changes) {
  test(title, async () => expect(await compare(change)).toBeGreaterThan(80), { skip, limit: 60_000 });
}

test(
  "limits",
  async () => {
    const count = await compare((config) => {
      config.linux.resources = {
        memory: { limit: 64 << 20, swap: 128 << 20, reservation: 32 << 20 },
        cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: "0" },
        pids: { limit: 50 },
      };
    });
    expect(count).toBeGreaterThan(80);
  },
  { skip: skip ?? limitsElsewhere(), limit: 60_000 },
);

/** Why a machine cannot have these limits. */
function limitsElsewhere(): string | undefined {
  const missing = ["memory", "cpu", "cpuset", "pids"].filter((name) => controllerPlace(name) === undefined);
  return missing.length === 0 ? undefined : `no cgroup controller ${missing.join(", ")} here`;
}

test(
  "nothing is made, and a plan is as fast as a start",
  () => {
    const b = bundle();
    const steps = plan(b);
    expect(steps.length).toBeGreaterThan(100);
    expect(mustSucceed(runtime(["list", "--quiet"])).stdout).toBe("");
    const text = mustSucceed(runtime(["plan", "--bundle", b.dir, b.id])).stdout;
    expect(text).toContain("/* mounts[0]: ");
  },
  { skip },
);

test(
  "a user without privileges can print a plan",
  () => {
    const b = bundle();
    const through = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const result = mustSucceed(runtime(["plan", "--json", "--bundle", b.dir, b.id], { through }));
    expect((JSON.parse(result.stdout) as PlannedStep[]).length).toBeGreaterThan(50);
  },
  { skip },
);
