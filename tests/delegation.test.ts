/** Cgroup v2: whose the container's cgroup is, what it can do with it, and what it cannot be made of. */
import { expect } from "bun:test";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { type Config, unshare } from "./helpers/config.ts";
import { cgroupsOf } from "./helpers/leaks.ts";
import { MANAGER } from "./helpers/manager.ts";
import { type Bundle, type Change, mustSucceed, RUNTIME_NAME, type RunOptions, suite } from "./helpers/suite.ts";

const { test, bundle, run, started, see, exec, refusal, after, home, remove } = suite("delegation");

const onlyV2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
/** Where the tests, which may see a mixed hierarchy, find what the runtime sees at /sys/fs/cgroup. */
const TOP = onlyV2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
const V2: RunOptions = onlyV2 ? {} : { view: "v2" };
const available = readFileSync(`${TOP}/cgroup.controllers`, "utf8").trim().split(" ");

const notOurs = RUNTIME_NAME !== "tsrun" && "the texts are tsrun's";
const bySystemd = MANAGER === "systemd" && "about paths that cgroupfs makes";

/** What an engine gives a container that is to manage cgroups. */
function manager(config: Config, ...options: string[]): void {
  unshare(config, "cgroup");
  config.mounts.push({ destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro"] });
  config.mounts.push({ destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options });
}

const MAPPED = 100_000;

function inUserNamespace(config: Config, rootfs: string): void {
  unshare(config, "user");
  config.linux.uidMappings = [{ containerID: 0, hostID: MAPPED, size: 65536 }];
  config.linux.gidMappings = [{ containerID: 0, hostID: MAPPED, size: 65536 }];
  chownSync(rootfs, MAPPED, MAPPED);
}

const SUBDIVIDE = "cd /sys/fs/cgroup && mkdir one && echo $$ > one/cgroup.procs && grep ^0:: /proc/self/cgroup";

/** Owner of the container's cgroup, and of each file in it that is not root's. */
function owners(b: Bundle): { directory: number; files: string[] } {
  const [path = ""] = cgroupsOf(b.id).filter((each) => each.startsWith(TOP));
  const files = [...new Bun.Glob("*").scanSync({ cwd: path, onlyFiles: true })];
  return { directory: statSync(path).uid, files: files.filter((name) => statSync(`${path}/${name}`).uid !== 0).sort() };
}

/** What the kernel lets be given away, of those that exist here. */
function delegable(b: Bundle): string[] {
  const [path = ""] = cgroupsOf(b.id).filter((each) => each.startsWith(TOP));
  const names = readFileSync("/sys/kernel/cgroup/delegate", "utf8").trim().split("\n");
  return names.filter((name) => existsSync(`${path}/${name}`)).sort();
}

test("root of a user namespace can make cgroups in its own and move there", () => {
  const seen = see(
    SUBDIVIDE,
    (config, { rootfs }) => {
      inUserNamespace(config, rootfs);
      manager(config, "rw");
    },
    V2,
  );
  expect(seen).toBe("0::/one");
});

test("so can a user who is not root, without a user namespace", () => {
  const seen = see(
    SUBDIVIDE,
    (config) => {
      config.process.user = { uid: 1000, gid: 1000 };
      manager(config, "rw");
    },
    V2,
  );
  expect(seen).toBe("0::/one");
});

test("the user of the process owns the cgroup and the files that the kernel lists, no others", () => {
  for (const uid of [0, 7]) {
    const b = started((config, { rootfs }) => {
      inUserNamespace(config, rootfs);
      config.process.user = { uid, gid: 0 };
      manager(config, "rw");
    }, V2);
    expect(owners(b)).toEqual({ directory: MAPPED + uid, files: delegable(b) });
  }
});

for (const [title, change] of [
  ["/sys/fs/cgroup is read-only", (config) => manager(config, "ro")],
  ["/sys/fs/cgroup is not a mount of the config", (config) => unshare(config, "cgroup")],
  [
    "there is no cgroup namespace",
    (config) => {
      manager(config);
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== "cgroup");
    },
  ],
  [
    "the cgroup namespace is another's",
    (config) => {
      manager(config);
      unshare(config, "cgroup", "/proc/self/ns/cgroup");
    },
  ],
] as [string, (config: Config) => void][]) {
  test(`the cgroup stays root's when ${title}`, () => {
    const b = started((config) => {
      config.process.user = { uid: 1000, gid: 1000 };
      change(config);
    }, V2);
    expect(owners(b)).toEqual({ directory: 0, files: [] });
  });
}

test("the host's cgroup namespace by its path is none: nothing of the host's mount changes, and who is not root may not write", () => {
  const before = mountOptions();
  const script = "ls /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/$0 2> /dev/null || echo refused";
  const seen = see(
    script,
    (config, { rootfs }) => {
      inUserNamespace(config, rootfs);
      manager(config, "rw");
      unshare(config, "cgroup", "/proc/self/ns/cgroup");
      config.process.args.push("tsrun-none");
    },
    V2,
  );
  expect(seen).toBe("/sys/fs/cgroup/cgroup.procs\nrefused");
  expect(mountOptions()).toBe(before);
});

/** The options of the one cgroup2 file system that there is. */
function mountOptions(): string {
  const line = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .find((each) => each.includes(" - cgroup2 "));
  return line?.split(" ").at(-1) ?? "";
}

const nsdelegate = /^\S+ \S+ cgroup2 \S*nsdelegate/m.test(readFileSync("/proc/self/mounts", "utf8"));

test(
  "the host's root in a container cannot lift its own limits, where cgroup v2 is mounted with nsdelegate",
  () => {
    const script = "echo 1 > /sys/fs/cgroup/cgroup.max.depth || echo refused; mkdir /sys/fs/cgroup/one && echo made";
    expect(see(`(${script}) 2> /dev/null`, (config) => manager(config, "rw"), V2)).toBe("refused\nmade");
  },
  { skip: !nsdelegate && "cgroup v2 is mounted without nsdelegate here" },
);

/** A controller that only domains can have: a cgroup that hands it down can have no processes. */
const domainController = ["memory", "io", "hugetlb"].find((name) => available.includes(name));
const noController = domainController === undefined && "no controller of this kind is v2's here";

/** A container that has moved its processes into a cgroup inside its own, and hands a controller down. */
function subdivided(): Bundle {
  const b = started((config) => manager(config, "rw"), V2);
  const script = `cd /sys/fs/cgroup && mkdir in other && echo 1 > in/cgroup.procs && echo $$ > in/cgroup.procs &&
    echo +${domainController} > cgroup.subtree_control`;
  mustSucceed(exec(b, ["/bin/sh", "-c", script]));
  return b;
}

const WHERE = ["/bin/grep", "^0::", "/proc/self/cgroup"];

test(
  "exec goes where the first process is, when the container's cgroup has room for none",
  () => {
    expect(mustSucceed(exec(subdivided(), WHERE)).stdout).toBe("0::/in\n");
  },
  { skip: noController },
);

test(
  "exec --cgroup goes where it is told to",
  () => {
    const b = subdivided();
    for (const path of ["other", "/other", "in/../other"]) {
      expect(mustSucceed(exec(b, WHERE, { flags: ["--cgroup", path] })).stdout).toBe("0::/other\n");
    }
  },
  { skip: noController },
);

test(
  "exec --cgroup / is the container's own cgroup, and nowhere else",
  () => {
    const plain = started((config) => manager(config, "rw"), V2);
    expect(mustSucceed(exec(plain, WHERE, { flags: ["--cgroup", "/"] })).stdout).toBe("0::/\n");
    const refused = exec(subdivided(), WHERE, { flags: ["--cgroup", "/"] });
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toMatch(/hands controllers down|device or resource busy/i);
  },
  { skip: noController },
);

test("exec --cgroup with what is no cgroup of the container is refused", () => {
  const b = started((config) => manager(config, "rw"), V2);
  for (const path of ["../x", "..", "a/../../x", "none", "memory:none", "nothing:none", ":none"]) {
    const refused = exec(b, WHERE, { flags: ["--cgroup", path] });
    expect([path, refused.status === 0, refused.stdout]).toEqual([path, false, ""]);
    expect(refused.stderr).toMatch(/cgroup|controller/);
  }
  expect(exec(b, WHERE, { flags: ["--cgroup", "a", "--cgroup", "b"] }).status).not.toBe(0);
});

test(
  "v1: exec --cgroup chooses a cgroup for some controllers",
  () => {
    const b = started();
    const made = ["memory", "pids"].map((controller) => `/sys/fs/cgroup/${controller}/${b.id}/inside`);
    for (const path of made) mkdirSync(path);
    const lines = (...flags: string[]) =>
      mustSucceed(exec(b, ["/bin/cat", "/proc/self/cgroup"], { flags }))
        .stdout.split("\n")
        .filter((line) => line.endsWith("/inside"))
        .map((line) => line.split(":")[1]);
    expect(lines("--cgroup", "memory:inside")).toEqual(["memory"]);
    expect(lines("--cgroup", "memory,pids:inside").sort()).toEqual(["memory", "pids"]);
    expect(lines("--cgroup", "memory:inside", "--cgroup", "pids:/inside").sort()).toEqual(["memory", "pids"]);
    expect(exec(b, WHERE, { flags: ["--cgroup", "inside"] }).status).not.toBe(0);
    expect(exec(b, WHERE, { flags: ["--cgroup", "memory:../.."] }).status).not.toBe(0);
  },
  { skip: onlyV2 && "there is no v1 here" },
);

/** A cgroup of the test's own, with the id of the container in its name; gone after the test. */
function newCgroup(id: string, ...below: string[]): string {
  const path = [`${TOP}/${id}-above`, ...below].join("/");
  mkdirSync(path, { recursive: true });
  after(() => {
    for (const each of cgroupsOf(`${id}-above`)) rmdirSync(each);
  });
  return path;
}

const placed =
  (path: (id: string) => string, change?: Change): Change =>
  (config, at) => {
    config.linux.cgroupsPath = path(at.id);
    change?.(config, at);
  };

test(
  "below a threaded cgroup, and beside one, there is no place: the type is named",
  () => {
    for (const [below, type] of [
      ["thread/box", "domain threaded"],
      ["box", "domain threaded"],
      ["thread", "threaded"],
    ] as const) {
      const text = refusal(
        placed(
          (id) => `/${id}-above/${below}`,
          (_, { id }) => writeFileSync(`${newCgroup(id, "thread")}/cgroup.type`, "threaded"),
        ),
        V2,
      );
      expect(text).toContain(`its type is "${type}" (linux.cgroupsPath)`);
    }
  },
  { skip: notOurs || bySystemd },
);

/** A process in a cgroup, which ends with the test. */
function occupy(cgroup: string): void {
  const child = Bun.spawn(["sleep", "1000"]);
  writeFileSync(`${cgroup}/cgroup.procs`, String(child.pid));
  after(() => {
    child.kill(9);
    for (let wait = 0; wait < 100 && readFileSync(`${cgroup}/cgroup.procs`, "utf8") !== ""; wait++) Bun.sleepSync(10);
  });
}

const pages = existsSync("/sys/kernel/mm/hugepages/hugepages-2048kB") && available.includes("hugetlb");

test(
  "a cgroup with processes cannot hand down what a limit needs: the error names both, and what to do",
  () => {
    const text = refusal(
      placed(
        (id) => `/${id}-above/box`,
        (config, { id }) => {
          occupy(newCgroup(id));
          config.linux.resources = { hugepageLimits: [{ pageSize: "2MB", limit: 4 << 20 }] };
        },
      ),
      V2,
    );
    expect(text).toMatch(/cannot use the cgroup controller "hugetlb": cgroup "[^"]+-above" has processes of its own/);
    expect(text).toContain("linux.resources.hugepageLimits");
    expect(text).toContain("echo +hugetlb > ");
  },
  { skip: notOurs || bySystemd || (!pages && "no 2 MB pages in v2 here") },
);

test(
  "without limits a container runs there all the same, and what is above it is not made threaded",
  () => {
    let above = "";
    const b = bundle(
      placed(
        (id) => `/${id}-above/box`,
        (config, { id }) => {
          above = newCgroup(id);
          occupy(above);
          config.process.args = WHERE;
        },
      ),
    );
    expect(mustSucceed(run(b, V2)).stdout).toBe(`0::/${b.id}-above/box\n`);
    expect(readFileSync(`${above}/cgroup.type`, "utf8").trim()).toBe("domain");
  },
  { skip: bySystemd },
);

test(
  "a limit whose controller is not there: the error names it and the property",
  () => {
    const text = refusal((config) => (config.linux.resources = { pids: { limit: 10 } }), V2);
    expect(text).toContain('cannot use the cgroup controller "pids"');
    expect(text).toContain("(linux.resources.pids.limit)");
    expect(text).toContain("cgroup.controllers");
  },
  { skip: notOurs || (available.includes("pids") && "v2 has all controllers here") },
);

test(
  "a controller that was not handed down is, for a limit that needs it",
  () => {
    const b = started(
      placed(
        (id) => `/${id}-above/box`,
        (config, { id }) => {
          newCgroup(id);
          config.linux.resources = { hugepageLimits: [{ pageSize: "2MB", limit: 4 << 20 }] };
        },
      ),
      V2,
    );
    expect(readFileSync(`${TOP}/${b.id}-above/box/hugetlb.2MB.max`, "utf8").trim()).toBe(String(4 << 20));
    mustSucceed(remove(b, { ...V2, flags: ["--force"] }));
  },
  { skip: bySystemd || (!pages && "no 2 MB pages in v2 here") },
);

test(
  "a slice is no container's",
  () => {
    const text = refusal(
      placed((id) => `/${id}.slice`),
      V2,
    );
    expect(text).toContain("a slice holds others' cgroups (linux.cgroupsPath)");
  },
  { skip: notOurs || bySystemd },
);

/** The runtime sees its cgroups read-only. */
const READ_ONLY: RunOptions = {
  through: [
    "unshare",
    "-m",
    "--propagation",
    "private",
    "sh",
    "-c",
    `mount -o remount,bind,ro ${TOP}; exec "$@"`,
    "ro",
  ],
};

test(
  "an unwritable cgroup root: named, or done without",
  () => {
    const view: RunOptions = onlyV2
      ? READ_ONLY
      : { ...V2, through: ["sh", "-c", `mount -o remount,bind,ro /sys/fs/cgroup; exec "$@"`, "ro"] };
    const text = refusal(() => {}, view);
    expect(text).toMatch(
      /cannot create cgroup "\/sys\/fs\/cgroup\/[^"]+": read-only file system \(linux\.cgroupsPath\)/,
    );
    const b = bundle((config) => (config.process.args = ["/bin/echo", "ran"]));
    const result = mustSucceed(run(b, { ...view, global: ["--rootless=true"] }));
    expect(result.stdout).toBe("ran\n");
    expect(result.stderr).toContain("no permission to make cgroups in /sys/fs/cgroup: going on without");
  },
  { skip: notOurs || bySystemd },
);

const SOMEONE = 54_321;

/** A bundle for a user without privileges: a user namespace of their own, and a relative cgroupsPath. */
function rootless(config: Config): void {
  unshare(config, "user");
  config.linux.uidMappings = [{ containerID: 0, hostID: SOMEONE, size: 1 }];
  config.linux.gidMappings = [{ containerID: 0, hostID: SOMEONE, size: 1 }];
  config.process.args = WHERE;
}

/** Gives a cgroup to the user, as systemd does with Delegate=. */
function delegate(path: string): void {
  for (const file of ["", "/cgroup.procs", "/cgroup.subtree_control", "/cgroup.threads"]) {
    chownSync(path + file, SOMEONE, SOMEONE);
  }
}

/** As the user, in this cgroup. `own`: the state root. */
function asSomeone(cgroup: string, wish: string): RunOptions {
  const state = `${home}/someone`;
  mkdirSync(state, { recursive: true });
  chownSync(state, SOMEONE, SOMEONE);
  chmodSync(state, 0o700);
  const enter = `echo $$ > ${cgroup.replace(TOP, "/sys/fs/cgroup")}/cgroup.procs; exec setpriv --reuid ${SOMEONE} --regid ${SOMEONE} --clear-groups "$@"`;
  return { ...V2, through: ["sh", "-c", enter, "as"], global: ["--root", state, `--rootless=${wish}`] };
}

for (const [title, own, expected] of [
  ["beside its own, where everything above is the user's", "", /^0::\/[^/]+-above\/[^/]+x$/],
  ["below its own, where only that is the user's", "session", /^0::\/[^/]+-above\/session\/[^/]+x$/],
] as const) {
  for (const wish of ["auto", "true"]) {
    test(
      `--rootless=${wish}: a user's container gets a cgroup ${title}`,
      () => {
        let session = "";
        const b = bundle((config, { id }) => {
          session = newCgroup(id, "session");
          delegate(own === "" ? `${TOP}/${id}-above` : session);
          if (own === "") delegate(session);
          config.linux.cgroupsPath = id;
          rootless(config);
        });
        const result = mustSucceed(run(b, asSomeone(session, wish)));
        expect(result.stdout.trim()).toMatch(expected);
        expect(result.stderr).toBe("");
      },
      { skip: notOurs || bySystemd },
    );
  }
}

test(
  "a user who was given no cgroup: --rootless=auto and true go on without and say so, false does not",
  () => {
    for (const [wish, status] of [
      ["auto", 0],
      ["true", 0],
      ["false", 1],
    ] as const) {
      let session = "";
      const b = bundle((config, { id }) => {
        session = newCgroup(id, "session");
        config.linux.cgroupsPath = id;
        rootless(config);
      });
      const result = run(b, asSomeone(session, wish));
      expect([wish, result.status]).toEqual([wish, status]);
      expect(result.stderr).toContain(status === 0 ? "no permission to make cgroups" : "permission denied");
    }
  },
  { skip: notOurs || bySystemd },
);

test(
  "a user's limits without a cgroup are an error that says so",
  () => {
    let session = "";
    const b = bundle((config, { id }) => {
      session = newCgroup(id, "session");
      config.linux.cgroupsPath = id;
      rootless(config);
      config.linux.resources = { hugepageLimits: [{ pageSize: "2MB", limit: 4 << 20 }] };
    });
    const result = run(b, asSomeone(session, "auto"));
    expect(result.status).toBe(1);
    expect(result.stderr).toMatch(/hugetlb/);
  },
  { skip: notOurs || bySystemd || (!pages && "no 2 MB pages in v2 here") },
);
