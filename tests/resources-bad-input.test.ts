/**
 * Limits that cannot be: each is refused by name, with the property, the file and the value where the kernel refuses it,
 * and leaves nothing behind, which the suite looks for after each test.
 */
import { expect } from "bun:test";
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { cgroupFile, controllerPlace, LANE, missingController, missingFile, onlyV2 } from "./helpers/cgroup-files.ts";
import { MANAGER } from "./helpers/manager.ts";
import type { Resources } from "./helpers/resource-cases.ts";
import { type Bundle, type Change, mustFail, mustSucceed, type RunOptions, suite, until } from "./helpers/suite.ts";

const { test, bundle, create, started, runtime, refusal, kill, untilStatus, after, mountHere } = suite(
  `resources-bad-input-${LANE}`,
);

const M = 1024 * 1024;

const limited =
  (resources: Resources): Change =>
  (config) => {
    config.linux.resources = { ...resources };
  };

/** `value` at `memory.limit` or `blockIO.throttleReadBpsDevice.0.rate` of what is otherwise in order. */
function resourcesWith(property: string, value: unknown): string {
  const [group, name, ...rest] = property.split(".") as [string, string, ...string[]];
  if (rest.length > 0) {
    const device = { major: 7, minor: 0, rate: 1, weight: 100, name: "lo", priority: 1 };
    return JSON.stringify({ [group]: { [name]: [{ ...device, [rest.at(-1)!]: PLACE }] } }).replace(
      `"${PLACE}"`,
      text(value),
    );
  }
  if (group === "hugepageLimits") {
    return JSON.stringify({ [group]: [{ pageSize: "2MB", limit: M, [name]: PLACE }] }).replace(
      `"${PLACE}"`,
      text(value),
    );
  }
  return JSON.stringify({ [group]: { [name]: PLACE } }).replace(`"${PLACE}"`, text(value));
}

const PLACE = "@value@";

/** Numbers that JavaScript cannot hold are given as they are to be written. */
function text(value: unknown): string {
  return typeof value === "bigint" ? String(value) : JSON.stringify(value);
}

/** The standard error of `run` with these resources, which may have numbers beyond JavaScript's. */
function refusalOf(resources: string): string {
  const b = bundle((config) => (config.linux.resources = { place: PLACE }));
  const config = readFileSync(`${b.dir}/config.json`, "utf8");
  writeFileSync(`${b.dir}/config.json`, config.replace(/\{\s*"place": "@value@"\s*\}/, resources));
  const result = runtime(["run", "--bundle", b.dir, b.id]);
  expect([result.status, result.stdout]).toEqual([1, ""]);
  return result.stderr;
}

/** What no version of cgroups and no kernel takes: the property is named, whatever finds it out. */
const NUMBERS: readonly (readonly [property: string, value: unknown])[] = [
  ["memory.limit", 2n ** 63n],
  ["memory.limit", -(2n ** 63n) - 1n],
  ["memory.limit", 1.5],
  ["memory.limit", "64M"],
  ["memory.reservation", 2n ** 64n],
  ["memory.swap", 2n ** 63n],
  ["memory.swappiness", -1],
  ["memory.swappiness", 2n ** 64n],
  ["cpu.shares", -1],
  ["cpu.shares", 2n ** 64n],
  ["cpu.quota", 2n ** 63n],
  ["cpu.period", -1],
  ["cpu.period", 2n ** 64n],
  ["cpu.burst", -1],
  ["cpu.burst", 2n ** 64n],
  ["cpu.realtimePeriod", -1],
  ["cpu.realtimeRuntime", 2n ** 63n],
  ["cpu.idle", 2n ** 63n],
  ["cpu.cpus", 1],
  ["cpu.mems", 1],
  ["pids.limit", 2n ** 63n],
  ["pids.limit", "many"],
  ["blockIO.weight", -1],
  ["blockIO.weight", 65_536],
  ["blockIO.leafWeight", 65_536],
  ["blockIO.weightDevice.0.weight", -1],
  ["blockIO.weightDevice.0.major", 2n ** 32n],
  ["blockIO.throttleReadBpsDevice.0.rate", -1],
  ["blockIO.throttleWriteBpsDevice.0.rate", 2n ** 64n],
  ["blockIO.throttleReadIOPSDevice.0.minor", -1],
  ["blockIO.throttleWriteIOPSDevice.0.rate", 0.5],
  ["hugepageLimits.limit", -1],
  ["hugepageLimits.limit", 2n ** 64n],
  ["hugepageLimits.pageSize", "2 MB"],
  ["hugepageLimits.pageSize", "../2MB"],
  ["network.classID", -1],
  ["network.classID", 2n ** 32n],
  ["network.priorities.0.priority", -1],
];

for (const [property, value] of NUMBERS) {
  test(`${property} ${text(value)} is refused by name`, () => {
    const name = property.split(".").at(-1)!;
    expect(refusalOf(resourcesWith(property, value))).toMatch(new RegExp(`linux\\.resources\\..*${name}`));
  });
}

/** What contradicts the specification, or itself. */
const WRONG: readonly (readonly [property: string, resources: Resources])[] = [
  ["memory.limit", { memory: { limit: -2 } }],
  ["memory.reservation", { memory: { reservation: -2 } }],
  ["memory.swap", { memory: { limit: 64 * M, swap: M } }],
  ["memory.swap", { memory: { swap: M } }],
  ["memory.swappiness", { memory: { swappiness: 101 } }],
  ["cpu.burst", { cpu: { quota: 50_000, burst: 70_000 } }],
  ["blockIO.weight", { blockIO: { weight: 9 } }],
  ["blockIO.weight", { blockIO: { weight: 1001 } }],
  ["blockIO.weightDevice[0].weight", { blockIO: { weightDevice: [{ major: 7, minor: 0, weight: 1001 }] } }],
];

for (const [property, resources] of WRONG) {
  test(`${property} of ${JSON.stringify(resources)} is refused by name`, () => {
    expect(refusal(limited(resources))).toContain(`linux.resources.${property}`);
  });
}

/** What the kernel does not take. `v1` and `v2` are the files that it does not take it in. */
const REFUSED: readonly (readonly [property: string, value: string | number, v1: string, v2?: string])[] = [
  ["cpu.cpus", "999", "cpuset.cpus", "cpuset.cpus"],
  ["cpu.cpus", "zero", "cpuset.cpus", "cpuset.cpus"],
  ["cpu.mems", "77", "cpuset.mems", "cpuset.mems"],
  ["cpu.period", 1, "cpu.cfs_period_us", "cpu.max"],
  ["cpu.period", 2_000_000, "cpu.cfs_period_us", "cpu.max"],
  ["cpu.quota", 1, "cpu.cfs_quota_us", "cpu.max"],
  ["cpu.idle", 2, "cpu.idle", "cpu.idle"],
  ["cpu.realtimeRuntime", 2_000_000, "cpu.rt_runtime_us"],
  ["pids.limit", 5_000_000, "pids.max", "pids.max"],
];

for (const [property, value, v1, v2] of REFUSED) {
  const [group, name] = property.split(".") as [string, string];
  const file = onlyV2 ? v2 : v1;
  if (file === undefined) continue;
  test(
    `${property} ${JSON.stringify(value)} is refused with the file, the value and the kernel's reason`,
    () => {
      const message = refusal(limited({ [group]: { [name]: value } }));
      expect(message).toMatch(/invalid argument|numerical result out of range/);
      for (const part of [`linux.resources.${property}`, file, String(value)]) expect(message).toContain(part);
    },
    { skip: missingFile(file) },
  );
}

for (const shares of [1, 262_145]) {
  test(
    `cpu.shares ${shares}, out of the range of v1, is refused by name`,
    () => expect(refusal(limited({ cpu: { shares } }))).toContain("linux.resources.cpu.shares"),
    { skip: missingController("cpu") ?? (onlyV2 && "cgroup v2 has the nearest weight for it") },
  );
}

test("a size of huge pages that the kernel does not have is refused by name", () => {
  const message = refusal(limited({ hugepageLimits: [{ pageSize: "3MB", limit: M }] }));
  expect(message).toContain("linux.resources.hugepageLimits[0]");
  expect(message).toContain("3MB");
});

test("rdma for a device that is not there, or without the controller, is refused by name", () => {
  const message = refusal(limited({ rdma: { no_such_device: { hcaHandles: 3 } } }));
  for (const part of ["linux.resources.rdma", "no_such_device"]) expect(message).toContain(part);
});

test(
  "unified on cgroup v1 is refused by name",
  () => {
    const message = refusal(limited({ unified: { "memory.high": "1000000" } }));
    expect(message).toContain("cannot use unified on cgroup v1");
    expect(message).toContain("linux.resources.unified");
  },
  { skip: onlyV2 && "cgroup v2 is for it" },
);

const v2View: RunOptions = onlyV2 ? {} : { view: "v2" };

for (const key of [
  "../cgroup.max.depth",
  "cgroup.max.depth/",
  "memory.max/../../x",
  "/sys/fs/cgroup/cgroup.max.depth",
  "..",
  "",
]) {
  test(`unified: the key ${JSON.stringify(key)} is no name of a file: refused`, () => {
    const message = refusal(limited({ unified: { [key]: "1" } }), v2View);
    expect(message).toContain("linux.resources.unified");
    expect(message).toContain(key);
  });
}

test("unified: a file that the kernel does not have is refused by name", () => {
  const message = refusal(limited({ unified: { "cgroup.no-such-file": "1" } }), v2View);
  for (const part of ["linux.resources.unified", "cgroup.no-such-file"]) expect(message).toContain(part);
});

test("unified: a controller that the kernel does not have is refused by name, with what to do", () => {
  const message = refusal(limited({ unified: { "nosuch.max": "1" } }), v2View);
  for (const part of ["linux.resources.unified", '"nosuch"']) expect(message).toContain(part);
});

test("unified: a value that the kernel does not take is refused with the file, the value and the reason", () => {
  const message = refusal(limited({ unified: { "cgroup.max.depth": "deep" } }), v2View);
  for (const part of ["linux.resources.unified", "cgroup.max.depth", "deep", "invalid argument"]) {
    expect(message).toContain(part);
  }
});

test(
  "a controller that the kernel does not have is named, with what to do",
  () => {
    const message = refusal(limited({ memory: { limit: 64 * M } }), v2View);
    for (const part of ["linux.resources.memory.limit", "memory", "controller"]) expect(message).toContain(part);
  },
  { skip: onlyV2 && missingController("memory") === undefined && "cgroup v2 has the memory controller" },
);

test(
  "a controller that cannot be handed down, for processes in the way: named, with what to do",
  () => {
    const top = onlyV2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
    let parent = "";
    let inside: Bun.Subprocess | undefined;
    after(() => {
      inside?.kill("SIGKILL");
      until(() => readFileSync(`${parent}/cgroup.procs`, "utf8") === "", "the cgroup to be empty");
      rmdirSync(parent);
    });
    const message = refusal((config, { id }) => {
      parent = `${top}/${id}-above`;
      mkdirSync(parent);
      inside = Bun.spawn(["/bin/sleep", "100"]);
      writeFileSync(`${parent}/cgroup.procs`, String(inside.pid));
      config.linux.cgroupsPath = `/${id}-above/${id}`;
      config.linux.resources = { hugepageLimits: [{ pageSize: "2MB", limit: 4 * M }] };
    }, v2View);
    for (const part of ["linux.resources.hugepageLimits[0]", "hugetlb", "subtree_control", "processes"])
      expect(message).toContain(part);
  },
  {
    skip:
      (MANAGER === "systemd" && "systemd makes the parents") ||
      (controllerPlace("hugetlb")?.version !== 2 && "the kernel has no hugetlb for v2"),
  },
);

for (const hierarchy of onlyV2 ? [""] : ["/pids", "/memory"]) {
  test(
    `a cgroup root that cannot be written${hierarchy} is named`,
    () => {
      const path = `/sys/fs/cgroup${hierarchy}`;
      mountHere("--bind", path, path);
      mountHere("-o", "remount,bind,ro", path);
      const message = refusal(limited({ pids: { limit: 10 }, memory: { limit: 64 * M } }));
      expect(message).toContain("read-only file system");
      expect(message).toContain(path);
    },
    { skip: MANAGER === "systemd" && "systemd writes there" },
  );
}

if (MANAGER === "systemd") {
  const wrong: readonly (readonly [title: string, path: (id: string) => string])[] = [
    ["a path", (id) => `/${id}`],
    ["two parts", (id) => `system.slice:${id}`],
    ["four parts", (id) => `system.slice:tsrun:a:${id}`],
    ["the name of a slice", (id) => `system.slice:tsrun:${id}.slice`],
    ["a slice that is none", (id) => `system:tsrun:${id}`],
    ["a slice with a slash", (id) => `a/b.slice:tsrun:${id}`],
    ["a slice of nothing", (id) => `.slice:tsrun:${id}`],
    ["an empty part of a slice", (id) => `a--b.slice:tsrun:${id}`],
    ["a slice that begins with a dash", (id) => `-a.slice:tsrun:${id}`],
    ["a slice that leads out", (id) => `../x.slice:tsrun:${id}`],
    ["a name with a slash", (id) => `system.slice:tsrun:../${id}`],
  ];
  for (const [title, path] of wrong) {
    test(`cgroupsPath with ${title} is refused by name`, () => {
      const message = refusal((config, { id }) => (config.linux.cgroupsPath = path(id)));
      expect(message).toContain("linux.cgroupsPath");
    });
  }
}

/** What `update` says when it fails; the container is as before. */
function refusedUpdate(b: Bundle, resources: string, status = 1): string {
  const result = runtime(["update", "--resources", "-", b.id], { stdin: resources });
  expect([result.status, result.stdout]).toEqual([status, ""]);
  return result.stderr;
}

const JSONS: readonly (readonly [title: string, text: string, says: RegExp])[] = [
  ["nothing", "", /JSON/],
  ["half an object", '{"pids": {"limit"', /JSON/],
  ["two objects", '{"pids": {"limit": 5}} {}', /JSON/],
  ["a list", "[]", /object/],
  ["null", "null", /object/],
  ["a number", "7", /object/],
  ["a wrong type", '{"pids": {"limit": "five"}}', /pids.limit/],
  ["a number that is too great", '{"pids": {"limit": 99999999999999999999}}', /pids.limit/],
  ["no group but a value", '{"pids": 5}', /pids/],
];

for (const [title, text, says] of JSONS) {
  test(
    `update --resources - with ${title} is refused`,
    () => {
      const b = started(limited({ pids: { limit: 20 } }));
      expect(refusedUpdate(b, text)).toMatch(says);
    },
    { skip: missingController("pids") },
  );
}

test(
  "update --resources with a __proto__ key changes nothing",
  () => {
    const b = started(limited({ pids: { limit: 20 } }));
    mustSucceed(runtime(["update", "--resources", "-", b.id], { stdin: '{"__proto__": {"pids": {"limit": 3}}}' }));
    const pid = JSON.parse(mustSucceed(runtime(["state", b.id])).stdout).pid as number;
    expect(cgroupFile(pid, "pids.max")).toBe("20");
  },
  { skip: missingController("pids") },
);

test("update --resources of a file that does not exist is refused by name", () => {
  const b = started();
  mustFail(runtime(["update", "--resources", "/no/such/file", b.id]), /\/no\/such\/file.*no such file or directory/);
});

test("update of a container that does not exist is refused", () => {
  mustFail(runtime(["update", "--resources", "-", "no-such-container"], { stdin: "{}" }), "does not exist");
});

test(
  "update of a stopped container is refused",
  () => {
    const b = started(limited({}));
    mustSucceed(kill(b, "KILL"));
    untilStatus(b, "stopped");
    expect(refusedUpdate(b, '{"pids": {"limit": 5}}')).toMatch(/stopped|not running/);
  },
  { skip: missingController("pids") },
);

test(
  "update of a created container works",
  () => {
    const b = bundle(limited({ pids: { limit: 20 } }));
    mustSucceed(create(b, { flags: ["--pid-file", `${b.dir}/pid`] }));
    mustSucceed(runtime(["update", "--resources", "-", b.id], { stdin: '{"pids": {"limit": 30}}' }));
    expect(cgroupFile(Number(readFileSync(`${b.dir}/pid`, "utf8")), "pids.max")).toBe("30");
  },
  { skip: missingController("pids") },
);

test(
  "update with a value that the kernel does not take: named, and a later one works",
  () => {
    const b = started(limited({ pids: { limit: 20 } }));
    const message = refusedUpdate(b, '{"cpu": {"cpus": "999"}}');
    for (const part of ["cpu.cpus", "cpuset.cpus", "999"]) expect(message).toContain(part);
    mustSucceed(runtime(["update", "--resources", "-", b.id], { stdin: '{"pids": {"limit": 30}}' }));
  },
  { skip: missingController("cpuset") ?? missingController("pids") },
);

test(
  "update to less memory than is in use, with checkBeforeUpdate: refused, and nothing is killed",
  () => {
    const b = bundle((config) => {
      config.process.args = [
        "/bin/sh",
        "-c",
        "dd if=/dev/zero of=/dev/file bs=1M count=32 2>/dev/null; echo > /tmp/ready; sleep 1000",
      ];
      config.linux.resources = { memory: { limit: 64 * M } };
    });
    mustSucceed(create(b, { flags: ["--pid-file", `${b.dir}/pid`] }));
    mustSucceed(runtime(["start", b.id]));
    const pid = Number(readFileSync(`${b.dir}/pid`, "utf8"));
    until(() => Bun.file(`${b.rootfs}/tmp/ready`).size > 0, "the memory to be in use");
    const message = refusedUpdate(
      b,
      JSON.stringify({ memory: { limit: 8 * M, swap: 8 * M, checkBeforeUpdate: true } }),
    );
    expect(message).toContain("rejecting memory");
    expect(cgroupFile(pid, onlyV2 ? "memory.max" : "memory.limit_in_bytes")).toBe(String(64 * M));
    expect(readFileSync(`/proc/${pid}/cmdline`, "utf8")).toContain("sleep");
  },
  { skip: missingController("memory") },
);
