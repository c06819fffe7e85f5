/** An ordinary user whose systemd has given it a cgroup of its own: limits are real. Elsewhere it goes without, and says so. */
import { expect } from "bun:test";
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { command } from "../helpers/command.ts";
import type { Config } from "../helpers/config.ts";
import { unshare } from "../helpers/config.ts";
import {
  type Bundle,
  type Change,
  mustFail,
  mustSucceed,
  RUNTIME,
  type RunOptions,
  suite,
  until,
} from "../helpers/suite.ts";

const USER = 1000;
const { test, root, bundle, create, start, run, exec, runtime, remove, untilStatus, kill, after } =
  suite("rootless-systemd");

mkdirSync(root);
chownSync(root, USER, USER);

/**
 * In a scope that the user's systemd delegates, as programs are asked to use one: the caller in a cgroup inside it, so that
 * there is room for others beside. (What is beside the scope itself is systemd's, which takes controllers away again.)
 */
const SCOPE =
  "own=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); mkdir $own/caller; echo $$ > $own/caller/cgroup.procs";
const delegated: RunOptions = { through: ["as-someone", "sh", "-c", `${SCOPE}; exec "$@"`, "sh"] };
/** In the cgroup of this test, of which nothing is the user's. */
const elsewhere: RunOptions = { through: ["runuser", "-u", "someone", "--"] };

const M = 1024 * 1024;

/** A user namespace in which the user is root. cgroupsPath is absent: a name beside the caller's own cgroup. */
const rootless =
  (change: (config: Config) => void): Change =>
  (config, { rootfs }) => {
    unshare(config, "user");
    config.linux.uidMappings = [{ containerID: 0, hostID: USER, size: 1 }];
    config.linux.gidMappings = [{ containerID: 0, hostID: USER, size: 1 }];
    delete config.linux.cgroupsPath;
    chownSync(rootfs, USER, USER);
    for (const folder of readdirSync(rootfs)) chownSync(`${rootfs}/${folder}`, USER, USER);
    change(config);
  };

const waiting = (change: (config: Config) => void = () => {}): Change =>
  rootless((config) => {
    config.process.args = ["/bin/sleep", "1000"];
    change(config);
  });

const script = (text: string, change: (config: Config) => void = () => {}): Change =>
  rootless((config) => {
    config.process.args = ["/bin/sh", "-c", text];
    change(config);
  });

function started(change: Change, options: RunOptions = delegated): Bundle {
  const b = bundle(change);
  mustSucceed(create(b, options));
  mustSucceed(start(b, options));
  return b;
}

function pidOf(b: Bundle): number {
  return JSON.parse(mustSucceed(runtime(["state", b.id])).stdout).pid;
}

/** The container's cgroup as the host sees it. */
function cgroupOf(b: Bundle): string {
  const path = /^0::(.*)$/m.exec(readFileSync(`/proc/${pidOf(b)}/cgroup`, "utf8"))![1]!;
  return `/sys/fs/cgroup${path}`;
}

const limit = (b: Bundle, file: string): string => readFileSync(`${cgroupOf(b)}/${file}`, "utf8").trim();

const LIMITS = {
  memory: { limit: 64 * M, swap: 64 * M, reservation: 32 * M },
  pids: { limit: 50 },
  cpu: { quota: 50_000, period: 100_000, shares: 512, cpus: "0" },
};

test("a container is a cgroup beside the caller's, in what the user was given", () => {
  const b = started(waiting());
  expect(cgroupOf(b)).toMatch(/\/user@1000\.service\/app\.slice\/run-\w+\.scope\/[^/]*$/);
  expect(cgroupOf(b)).toEndWith(`/${b.id}`);
});

/** Those of /etc/subuid and /etc/subgid in the guest, behind the user itself. */
const withSubordinates = (config: Config): void => {
  const rest = { containerID: 1, hostID: 100_000, size: 65536 };
  config.linux.uidMappings = [{ containerID: 0, hostID: USER, size: 1 }, rest];
  config.linux.gidMappings = [{ containerID: 0, hostID: USER, size: 1 }, rest];
  config.process.user = { uid: 33, gid: 34, additionalGids: [50] };
  config.process.capabilities = {};
};

for (const [manager, global] of [
  ["cgroupfs", []],
  ["the user's systemd", ["--systemd-cgroup"]],
] as const) {
  test(`subordinate ids and limits, by ${manager}`, () => {
    const change = (config: Config) => {
      withSubordinates(config);
      config.linux.resources = LIMITS;
      config.process.args = ["/bin/sleep", "1000"];
    };
    const options: RunOptions = { ...delegated, global };
    const b = bundle(rootless(change));
    mustSucceed(create(b, options));
    mustSucceed(start(b, options));
    expect(statSync(`/proc/${pidOf(b)}`).uid).toBe(100_032);
    expect(limit(b, "pids.max")).toBe("50");
    const seen = mustSucceed(
      exec(b, ["/bin/sh", "-c", "id -u; id -G"], { ...options, flags: ["--user", "7:8"] }),
    ).stdout;
    expect(seen).toMatch(/^7\n8( 50)?\n$/);
    mustSucceed(runtime(["pause", b.id], options));
    mustSucceed(runtime(["resume", b.id], options));
    expect(JSON.parse(mustSucceed(runtime(["ps", "--format", "json", b.id], options)).stdout)).toContain(pidOf(b));
    mustSucceed(kill(b, "KILL"));
    untilStatus(b, "stopped");
    mustSucceed(remove(b, options));
  });
}

test("a controller that is not handed down to the user: which, and what root can do", () => {
  const group = `/sys/fs/cgroup/${root.split("/").at(-2)}-handed`;
  mkdirSync(`${group}/mine/caller`, { recursive: true });
  for (const path of [`${group}/mine`, `${group}/mine/caller`]) {
    for (const file of ["", "/cgroup.procs", "/cgroup.subtree_control"]) chownSync(path + file, USER, USER);
  }
  after(() => {
    for (const path of [`${group}/mine/caller`, `${group}/mine`, group]) rmdirSync(path);
  });
  const enter = `echo $$ > ${group}/mine/caller/cgroup.procs; exec runuser -u someone -- "$@"`;
  const limited = script("echo ran", (config) => (config.linux.resources = { pids: { limit: 50 } }));
  const result = run(bundle(limited), { through: ["sh", "-c", enter, "sh"] });
  mustFail(
    result,
    `cgroup "${group}" does not hand it down, and tsrun may not make it: permission denied (linux.resources.pids.limit)`,
  );
  expect(result.stderr).toContain(`root can: echo +pids > ${group}/cgroup.subtree_control`);
  expect(result.stderr).toContain(
    'systemctl edit user@.service, with "[Service]" and "Delegate=cpu cpuset io memory pids"',
  );
});

test("user namespaces for root only (kernel.unprivileged_userns_clone): said, with the command", () => {
  const setting = "/proc/sys/kernel/unprivileged_userns_clone";
  writeFileSync(setting, "0");
  after(() => writeFileSync(setting, "1"));
  mustFail(
    run(bundle(script("echo ran")), delegated),
    /user namespaces are switched off for all but root \(kernel\.unprivileged_userns_clone is 0\)\n.*sysctl -w kernel\.unprivileged_userns_clone=1/,
  );
});

test("memory, pids and cpu: the kernel has what the config says", () => {
  const b = started(waiting((config) => (config.linux.resources = LIMITS)));
  expect(limit(b, "memory.max")).toBe(`${64 * M}`);
  expect(limit(b, "memory.low")).toBe(`${32 * M}`);
  expect(limit(b, "memory.swap.max")).toBe("0");
  expect(limit(b, "pids.max")).toBe("50");
  expect(limit(b, "cpu.max")).toBe("50000 100000");
  expect(limit(b, "cpuset.cpus")).toBe("0");
});

test("the limit of processes stops a program that wants more", () => {
  const text = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 20 & done; echo all";
  const b = bundle(script(text, (config) => (config.linux.resources = { pids: { limit: 5 } })));
  const result = run(b, delegated);
  expect(result.status).not.toBe(0);
  expect(result.stderr).toMatch(/can't fork/);
  expect(result.stdout).toBe("");
});

test("the limit of memory ends a program that takes more", () => {
  const text = "dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; echo $?";
  const resources = { memory: { limit: 16 * M, swap: 16 * M } };
  const result = run(bundle(script(text, (config) => (config.linux.resources = resources))), delegated);
  expect(result.stdout).toBe("137\n");
});

test("update, pause, resume, exec, kill and delete, as the user", () => {
  const b = started(waiting((config) => (config.linux.resources = LIMITS)));
  mustSucceed(runtime(["update", "--pids-limit", "40", b.id], delegated));
  expect(limit(b, "pids.max")).toBe("40");
  mustSucceed(runtime(["pause", b.id], delegated));
  expect(limit(b, "cgroup.freeze")).toBe("1");
  mustSucceed(runtime(["resume", b.id], delegated));
  const seen = mustSucceed(exec(b, ["/bin/cat", "/proc/self/cgroup"], delegated)).stdout;
  expect(`/sys/fs/cgroup${seen.trim().slice("0::".length)}`).toBe(cgroupOf(b));
  const cgroup = cgroupOf(b);
  mustSucceed(runtime(["kill", b.id, "KILL"], delegated));
  untilStatus(b, "stopped");
  mustSucceed(remove(b, delegated));
  expect(existsSync(cgroup)).toBe(false);
});

test("a cgroup namespace: the container sees its cgroup as the top, and may divide what it was given", () => {
  const text = "cat /proc/self/cgroup; mkdir /sys/fs/cgroup/below && cat /sys/fs/cgroup/cgroup.controllers";
  const b = bundle(
    script(text, (config) => {
      unshare(config, "cgroup");
      const at = { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup" };
      config.mounts.push({ destination: "/sys", type: "tmpfs", source: "tmpfs" }, { ...at, options: ["rw"] });
    }),
  );
  const [own, controllers] = mustSucceed(run(b, delegated)).stdout.trim().split("\n");
  expect(own).toBe("0::/");
  expect(controllers!.split(" ")).toEqual(expect.arrayContaining(["memory", "pids", "cpu"]));
});

test("device rules are for root to make: it runs without them, and with a warning", () => {
  const devices = [{ allow: false, access: "rwm" }];
  const b = bundle(script("echo here", (config) => (config.linux.resources = { devices })));
  const result = mustSucceed(run(b, delegated));
  expect([result.stdout, result.stderr]).toEqual(["here\n", expect.stringMatching(/^warning: .*device/)]);
});

test("where nothing is the user's: it runs without a cgroup of its own, and with a warning", () => {
  const b = bundle(script("echo here"));
  const result = mustSucceed(run(b, elsewhere));
  expect(result.stdout).toBe("here\n");
  expect(result.stderr).toMatch(/no permission to make cgroups in \/sys\/fs\/cgroup/);
});

test("where nothing is the user's, limits that were asked for are refused by name", () => {
  const b = bundle(script("echo here", (config) => (config.linux.resources = LIMITS)));
  mustFail(run(b, elsewhere), /cannot set memory limit: .*\(linux\.resources\.memory\.limit\)/);
});

test("a cgroupsPath that is the system's: without, and with a warning", () => {
  const b = bundle(script("cat /proc/self/cgroup", (config) => (config.linux.cgroupsPath = "/system.slice/mine")));
  const result = mustSucceed(run(b, delegated));
  expect(result.stderr).toMatch(/no permission to make cgroups/);
  expect(existsSync("/sys/fs/cgroup/system.slice/mine")).toBe(false);
});

test("exec from where nothing is the user's does not get round the limits", () => {
  const b = started(waiting((config) => (config.linux.resources = LIMITS)));
  mustFail(exec(b, ["/bin/true"], elsewhere), /permission denied/, 255);
});

for (const who of ["root", "the user"]) {
  test(`delete --force by ${who} leaves nothing of a container with processes that will not end`, () => {
    const b = started(script("trap '' TERM; for i in 1 2 3; do (trap '' TERM; sleep 1000) & done; wait"));
    const cgroup = cgroupOf(b);
    mustSucceed(remove(b, { ...(who === "root" ? {} : delegated), flags: ["--force"] }));
    until(() => !existsSync(cgroup), "the cgroup to be gone");
  });
}

test("--systemd-cgroup: a scope of the user's systemd, with the limits as its properties", () => {
  const b = bundle(waiting((config) => (config.linux.resources = LIMITS)));
  const options: RunOptions = { ...delegated, global: ["--systemd-cgroup"] };
  mustSucceed(create(b, options));
  mustSucceed(start(b, options));
  expect(cgroupOf(b)).toMatch(/\/user@1000\.service\/user\.slice\/tsrun-.*\.scope$/);
  expect(limit(b, "memory.max")).toBe(`${64 * M}`);
  expect(limit(b, "pids.max")).toBe("50");
  const unit = cgroupOf(b).split("/").at(-1)!;
  const shown = command(["as-someone", "systemctl", "--user", "show", unit, "--property", "MemoryMax,TasksMax"]);
  expect(mustSucceed(shown).stdout.trim().split("\n").sort()).toEqual([`MemoryMax=${64 * M}`, "TasksMax=50"]);
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  mustSucceed(remove(b, options));
  const left = command(["as-someone", "systemctl", "--user", "list-units", "--all", "--no-legend", unit]);
  expect(mustSucceed(left).stdout).toBe("");
});

test("try, as the user, with limits", () => {
  const id = `try-${process.pid}`;
  after(() => command([RUNTIME, "--root", root, "delete", "--force", id]));
  const words = ["as-someone", RUNTIME, "--root", root, "try", "--memory", "64m", "--pids", "33"];
  const shown = "cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/memory.max; id -u";
  const result = mustSucceed(command([...words, "--", "sh", "-c", shown]));
  expect(result.stdout).toContain(`${64 * M}`);
  const other = mustSucceed(
    command([...words, "--user", "5:6", "--", "sh", "-c", "id -u; id -g; cat /proc/self/uid_map"]),
  );
  expect(other.stdout.trim().split(/\s+/)).toEqual(["5", "6", "0", `${USER}`, "1", "1", "100000", "65536"]);
});
