/** The systemd driver: scopes and what they hold, whose they are, and what happens when systemd does not help. */
import { expect } from "bun:test";
import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { command, commandBeside, PLAIN_ENV } from "./helpers/command.ts";
import { type Config, unshare, waiting } from "./helpers/config.ts";
import { removeUnit, scopeOf, unitProperty } from "./helpers/manager.ts";
import {
  type Bundle,
  type Change,
  mustFail,
  mustSucceed,
  RUNTIME_NAME,
  type RunOptions,
  suite,
  until,
} from "./helpers/suite.ts";
import { slow } from "./helpers/time.ts";

const { test, bundle, create, start, run, exec, remove, runtime, runtimeBeside, after, home, root, mark } =
  suite("systemd");

const hasSystemd = existsSync("/run/systemd/system");
const noSystemd = !hasSystemd && "systemd does not run here; the guest has it (make test-guest)";
const notOurs = RUNTIME_NAME !== "tsrun" && "the texts, or what is done, are tsrun's own";
const onlyV2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
const noV2 = !onlyV2 && "about files of cgroup v2";

const SYSTEMD: RunOptions = { global: ["--systemd-cgroup"] };

/** A bundle in a scope that `scopeOf` names. */
function scoped(change?: Change): Bundle {
  return bundle((config, at) => {
    config.linux.cgroupsPath = `system.slice:tsrun:${at.id}`;
    waiting(config);
    change?.(config, at);
  });
}

function running(change?: Change): Bundle {
  const b = scoped(change);
  mustSucceed(create(b, SYSTEMD));
  mustSucceed(start(b, SYSTEMD));
  return b;
}

/** A file of the cgroup that systemd says the scope has. */
function cgroupFile(b: Bundle, name: string): string {
  const path = unitProperty(scopeOf(b.id), "ControlGroup");
  return readFileSync(`/sys/fs/cgroup${path}/${name}`, "utf8").trim();
}

function units(): string[] {
  const list = command(["systemctl", "list-units", "--all", "--plain", "--no-legend", `*${mark}*`]);
  return list.stdout.split("\n").filter((line) => line !== "");
}

const MIB = 1024 * 1024;

/** Limits that systemd has properties for; all runtimes make the same weight of the most shares. */
function limit(config: Config): void {
  config.linux.resources = {
    memory: { limit: 64 * MIB, reservation: 32 * MIB },
    cpu: { shares: 262_144, quota: 25_000, period: 100_000, cpus: "0" },
    pids: { limit: 20 },
  };
}

test(
  "a container is a scope in its slice, with its limits as properties",
  () => {
    const b = running((config, { id }) => {
      config.linux.cgroupsPath = `tsrun-test.slice:tsrun:${id}`;
      limit(config);
    });
    after(() => command(["systemctl", "stop", "tsrun-test.slice"]));
    const unit = scopeOf(b.id);
    const expected = {
      ActiveState: "active",
      Slice: "tsrun-test.slice",
      ControlGroup: `/tsrun.slice/tsrun-test.slice/${unit}`,
      Delegate: "yes",
      DefaultDependencies: "no",
      MemoryMax: String(64 * MIB),
      MemoryLow: String(32 * MIB),
      CPUWeight: "10000",
      CPUQuotaPerSecUSec: "250ms",
      AllowedCPUs: "0",
      TasksMax: "20",
      MemoryAccounting: "yes",
      CPUAccounting: "yes",
      IOAccounting: "yes",
      TasksAccounting: "yes",
    };
    const found = Object.fromEntries(Object.keys(expected).map((name) => [name, unitProperty(unit, name)]));
    expect(found).toEqual(expected);
    const inside = mustSucceed(exec(b, ["/bin/cat", "/proc/self/cgroup"])).stdout.trim();
    expect(inside).toBe(`0::${expected.ControlGroup}`);
  },
  { skip: noSystemd || noV2 },
);

test(
  "a scope that nobody needs goes, also when it has failed",
  () => {
    const b = running();
    expect(unitProperty(scopeOf(b.id), "CollectMode")).toBe("inactive-or-failed");
  },
  { skip: noSystemd || notOurs },
);

test(
  "no path at all is a scope of system.slice",
  () => {
    const b = bundle((config) => {
      delete config.linux.cgroupsPath;
      waiting(config);
    });
    mustSucceed(create(b, SYSTEMD));
    expect(unitProperty(scopeOf(b.id), "Slice")).toBe("system.slice");
    expect(unitProperty(scopeOf(b.id), "ActiveState")).toBe("active");
  },
  { skip: noSystemd || notOurs },
);

const LIMITS = ["memory.max", "memory.low", "cpu.weight", "cpu.max", "cpuset.cpus", "pids.max"];

test(
  "daemon-reload undoes neither limits nor device rules",
  () => {
    const b = running((config) => {
      limit(config);
      config.linux.resources!.devices = [{ allow: false, access: "rwm" }];
      config.linux.devices = [{ type: "c", path: "/dev/kmsg", major: 1, minor: 11, fileMode: 0o666 }];
    });
    const before = LIMITS.map((name) => cgroupFile(b, name));
    expect(before).toEqual([String(64 * MIB), String(32 * MIB), "10000", "25000 100000", "0", "20"]);
    mustFail(exec(b, ["/bin/head", "-c1", "/dev/kmsg"]), /not permitted/);
    mustSucceed(exec(b, ["/bin/head", "-c1", "/dev/zero"]));
    mustSucceed(command(["systemctl", "daemon-reload"]));
    expect(LIMITS.map((name) => cgroupFile(b, name))).toEqual(before);
    mustFail(exec(b, ["/bin/head", "-c1", "/dev/kmsg"]), /not permitted/);
    mustSucceed(exec(b, ["/bin/head", "-c1", "/dev/zero"]));
  },
  { skip: noSystemd || noV2, limit: 30_000 },
);

test(
  "a quota between two percents is exact until a reload, and never less than asked for",
  () => {
    const b = running((config) => {
      config.linux.resources = { cpu: { quota: 12_345, period: 100_000 } };
    });
    expect(unitProperty(scopeOf(b.id), "CPUQuotaPerSecUSec")).toBe("130ms");
    expect(cgroupFile(b, "cpu.max")).toBe("12345 100000");
    mustSucceed(command(["systemctl", "daemon-reload"]));
    const [quota] = cgroupFile(b, "cpu.max").split(" ");
    expect(Number(quota)).toBeGreaterThanOrEqual(12_345);
  },
  { skip: noSystemd || noV2 },
);

test(
  "what update changes survives a reload",
  () => {
    const b = running(limit);
    const flags = ["--memory", String(48 * MIB), "--memory-swap", String(96 * MIB), "--pids-limit", "33"];
    mustSucceed(runtime(["update", ...flags, b.id], SYSTEMD));
    expect(unitProperty(scopeOf(b.id), "MemoryMax")).toBe(String(48 * MIB));
    expect(unitProperty(scopeOf(b.id), "TasksMax")).toBe("33");
    mustSucceed(command(["systemctl", "daemon-reload"]));
    expect(LIMITS.map((name) => cgroupFile(b, name))).toEqual([
      String(48 * MIB),
      String(32 * MIB),
      "10000",
      "25000 100000",
      "0",
      "33",
    ]);
  },
  { skip: noSystemd || noV2 },
);

test(
  "unified keys become properties",
  () => {
    const b = running((config) => {
      config.linux.resources = { unified: { "memory.high": "16777216", "pids.max": "17", "cpu.weight": "123" } };
    });
    expect(unitProperty(scopeOf(b.id), "MemoryHigh")).toBe("16777216");
    expect(unitProperty(scopeOf(b.id), "TasksMax")).toBe("17");
    expect(unitProperty(scopeOf(b.id), "CPUWeight")).toBe("123");
    expect(cgroupFile(b, "memory.high")).toBe("16777216");
  },
  { skip: noSystemd || noV2 },
);

test(
  "annotations set properties",
  () => {
    const b = running((config) => {
      config.annotations = {
        "org.systemd.property.TimeoutStopSec": "7",
        "org.systemd.property.CollectMode": "'inactive'",
        "org.systemd.property.Documentation": "['man:tsrun(1)']",
      };
    });
    expect(unitProperty(scopeOf(b.id), "TimeoutStopUSec")).toBe("7s");
    expect(unitProperty(scopeOf(b.id), "CollectMode")).toBe("inactive");
    expect(unitProperty(scopeOf(b.id), "Documentation")).toContain("man:tsrun(1)");
  },
  { skip: noSystemd || (RUNTIME_NAME === "crun" && "crun 1.8.1 reads fewer types") },
);

test(
  "annotations that systemd does not know, or nobody can read, are refused",
  () => {
    const refused = (name: string, value: string) => {
      const b = scoped((config) => {
        config.annotations = { [`org.systemd.property.${name}`]: value };
      });
      return create(b, SYSTEMD);
    };
    mustFail(refused("CollectMode", "inactive"), 'cannot read "inactive" as a value');
    mustFail(refused("Fo", "1"), "at least 3 letters");
    mustFail(refused("NoSuchProperty", "true"), /cannot start the systemd unit.*NoSuchProperty/);
    mustFail(refused("CollectMode", "'sometimes'"), /cannot start the systemd unit.*CollectMode/);
    mustFail(refused("TasksMax", "'five'"), /cannot start the systemd unit.*\n.*has not the type that systemd wants/);
    expect(units()).toEqual([]);
  },
  { skip: noSystemd || notOurs },
);

/** A scope that has failed: its process has run longer than it may. */
function failedScope(unit: string, slice = "system.slice"): void {
  const properties = ["-p", "RuntimeMaxSec=1", "-p", "CollectMode=inactive", `--slice=${slice}`];
  command(["systemd-run", "--quiet", "--scope", `--unit=${unit}`, ...properties, "sleep", "1000"]);
  until(() => unitProperty(unit, "ActiveState") === "failed", `${unit} to fail`);
}

test(
  "a scope of the same name that has failed is taken over",
  () => {
    const b = scoped();
    failedScope(scopeOf(b.id));
    after(() => removeUnit(scopeOf(b.id)));
    mustSucceed(create(b, SYSTEMD));
    expect(unitProperty(scopeOf(b.id), "ActiveState")).toBe("active");
    expect(unitProperty(scopeOf(b.id), "Description")).toContain(
      RUNTIME_NAME === "tsrun" ? `tsrun container ${b.id}` : b.id,
    );
  },
  { skip: noSystemd || (RUNTIME_NAME === "crun" && "crun 1.8.1 does not take over") },
);

test(
  "a scope of the same name that lives is left alone, in whatever slice it is",
  () => {
    for (const slice of ["system.slice", "tsrun-other.slice"]) {
      const b = scoped();
      const unit = scopeOf(b.id);
      const child = commandBeside([
        "systemd-run",
        "--quiet",
        "--scope",
        `--unit=${unit}`,
        `--slice=${slice}`,
        "sleep",
        "1000",
      ]);
      after(() => {
        removeUnit(unit);
        command(["systemctl", "stop", "tsrun-other.slice"]);
        child.kill("SIGKILL");
      });
      until(() => unitProperty(unit, "ActiveState") === "active", `${unit} to run`);
      mustFail(create(b, SYSTEMD), "container's cgroup is not empty: 1 process(es) found");
      expect(unitProperty(unit, "ActiveState")).toBe("active");
    }
  },
  { skip: noSystemd || notOurs },
);

test(
  "delete takes the unit away: of one that has ended, that waits for start, that runs",
  () => {
    const ended = scoped((config) => {
      config.process.args = ["/bin/true"];
    });
    mustSucceed(run(ended, SYSTEMD));
    const waits = scoped();
    mustSucceed(create(waits, SYSTEMD));
    mustSucceed(remove(waits));
    const runs = running();
    mustSucceed(remove(runs, { flags: ["--force"] }));
    expect(units()).toEqual([]);
  },
  { skip: noSystemd },
);

test(
  "delete --force does not wait for processes that do not want to end",
  () => {
    const b = running((config) => {
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== "pid");
      config.process.args = [
        "/bin/sh",
        "-c",
        "trap '' TERM; (trap '' TERM; sleep 1000; sleep 1000) & sleep 1000; sleep 1000",
      ];
    });
    const began = Date.now();
    mustSucceed(remove(b, { flags: ["--force"] }));
    expect(Date.now() - began).toBeLessThan(slow(3000));
    expect(units()).toEqual([]);
  },
  { skip: noSystemd },
);

test(
  "what a killed create leaves, delete --force finds",
  async () => {
    const b = scoped((config, { dir }) => {
      const script = `echo $$ > ${dir}/hook; exec sleep 1000`;
      config.hooks = { createRuntime: [{ path: "/bin/sh", args: ["sh", "-c", script] }] };
    });
    const creating = runtimeBeside(["create", "--bundle", b.dir, b.id], SYSTEMD);
    const hook = `${b.dir}/hook`;
    until(() => existsSync(hook) && readFileSync(hook, "utf8") !== "", "the hook");
    const pid = Number(readFileSync(hook, "utf8"));
    creating.kill("SIGKILL");
    await creating.finish();
    after(() => process.kill(pid, "SIGKILL"));
    mustSucceed(remove(b, { flags: ["--force"] }));
    expect(units()).toEqual([]);
  },
  { skip: noSystemd || notOurs },
);

test(
  "a container whose state is broken is found by its path",
  () => {
    const b = running();
    writeFileSync(`${root}/${b.id}/state.json`, "{");
    mustSucceed(remove(b, { flags: ["--force"] }));
    expect(units()).toEqual([]);
  },
  { skip: noSystemd || notOurs },
);

test(
  "containers that end leave no unit, whoever deletes them",
  async () => {
    const bundles = Array.from({ length: 16 }, () =>
      scoped((config) => {
        config.process.args = ["/bin/true"];
      }),
    );
    const one = async (b: Bundle) => {
      const beside = (...args: string[]) => runtimeBeside(args, SYSTEMD).finish(30_000).then(mustSucceed);
      await beside("run", "--bundle", b.dir, b.id);
      await beside("create", "--bundle", b.dir, b.id);
      await beside("start", b.id);
      await beside("delete", "--force", b.id);
    };
    while (bundles.length > 0) await Promise.all(bundles.splice(0, 4).map(one));
    expect(units()).toEqual([]);
  },
  { skip: noSystemd, limit: 60_000 },
);

const LANE = 1000;
const session = `/run/user/${LANE}`;
const noSession =
  !existsSync(`${session}/systemd/private`) && `user ${LANE} has no systemd of its own here; in the guest it has`;

/** As an ordinary user, from a cgroup that is not that user's. */
const AS_USER = ["setpriv", "--reuid", String(LANE), "--regid", String(LANE), "--init-groups"];

test(
  "without root the user's systemd makes the scope, with limits, and exec finds in",
  () => {
    const root = `${home}/lane`;
    mkdirSync(root);
    chownSync(root, LANE, LANE);
    const options: RunOptions = {
      global: ["--root", root, "--systemd-cgroup"],
      through: AS_USER,
      env: { ...PLAIN_ENV, XDG_RUNTIME_DIR: session },
    };
    const b = bundle((config) => {
      delete config.linux.cgroupsPath;
      waiting(config);
      unshare(config, "user");
      const mine = [{ containerID: 0, hostID: LANE, size: 1 }];
      config.linux.uidMappings = mine;
      config.linux.gidMappings = mine;
      config.linux.resources = { pids: { limit: 19 }, memory: { limit: 64 * MIB } };
      config.mounts = config.mounts.filter(({ type }) => type !== "devpts");
    });
    const systemctl = (...args: string[]) =>
      command([...AS_USER, "systemctl", "--user", ...args], { env: options.env! });
    const show = (name: string) => systemctl("show", "--property", name, "--value", scopeOf(b.id)).stdout.trim();
    after(() => {
      remove(b, { ...options, flags: ["--force"] });
      rmSync(root, { recursive: true, force: true });
    });
    mustSucceed(create(b, options));
    mustSucceed(start(b, options));
    expect(show("Slice")).toBe("user.slice");
    expect(show("TasksMax")).toBe("19");
    const cgroup = show("ControlGroup");
    expect(cgroup).toBe(`/user.slice/user-${LANE}.slice/user@${LANE}.service/user.slice/${scopeOf(b.id)}`);
    expect(readFileSync(`/sys/fs/cgroup${cgroup}/pids.max`, "utf8").trim()).toBe("19");
    expect(readFileSync(`/sys/fs/cgroup${cgroup}/memory.max`, "utf8").trim()).toBe(String(64 * MIB));
    expect(mustSucceed(exec(b, ["/bin/cat", "/proc/self/cgroup"], options)).stdout.trim()).toBe(`0::${cgroup}`);
    mustSucceed(remove(b, { ...options, flags: ["--force"] }));
    expect(systemctl("list-units", "--all", "--plain", "--no-legend", `*${mark}*`).stdout).toBe("");
  },
  { skip: noSystemd || noSession || notOurs },
);

test(
  "root of a user namespace finds the user's systemd",
  () => {
    const root = `${home}/mapped`;
    mkdirSync(root);
    chownSync(root, LANE, LANE);
    after(() => rmSync(root, { recursive: true, force: true }));
    const b = bundle((config) => {
      delete config.linux.cgroupsPath;
      // What was mounted for the machine's root cannot be mounted anew there.
      config.linux.namespaces = ["pid", "ipc", "uts", "mount"].map((type) => ({ type }));
      config.mounts = config.mounts.filter(({ type }) => type !== "devpts");
      config.process.args = ["/bin/cat", "/proc/self/cgroup"];
      config.linux.resources = { pids: { limit: 19 } };
    });
    const seen = run(b, {
      global: ["--root", root, "--systemd-cgroup"],
      through: [...AS_USER, "unshare", "--user", "--map-root-user", "--mount"],
      env: { ...PLAIN_ENV, XDG_RUNTIME_DIR: session },
    });
    const cgroup = `/user.slice/user-${LANE}.slice/user@${LANE}.service/user.slice/${scopeOf(b.id)}`;
    expect(mustSucceed(seen).stdout.trim()).toBe(`0::${cgroup}`);
    expect(existsSync(`/sys/fs/cgroup${cgroup}`)).toBeFalse();
  },
  { skip: noSystemd || noSession || notOurs },
);
