import { describe, expect, test } from "bun:test";
import type { Resources } from "../spec/types.ts";
import { type CgroupPaths, resourceFiles } from "./resources.ts";
import { cpuWeight, ioWeight, swapMax } from "./resources-v2.ts";

const V1: CgroupPaths = Object.fromEntries(
  ["memory", "cpu", "cpuset", "pids", "blkio", "hugetlb", "rdma", "net_cls", "net_prio"].map((name) => [
    name,
    `/${name}`,
  ]),
);
const V2: CgroupPaths = { "": "/v2" };

/** `file value`, with what may be different: "?" the file may be missing, "~" may be refused, "|" what to write instead. */
function filesOf(resources: Resources, cgroups: CgroupPaths): string[] {
  return resourceFiles(resources, cgroups).files.map(({ file, value, optional, early, otherwise }) => {
    const instead = otherwise === undefined ? "" : ` | ${otherwise.file} ${otherwise.value}`;
    return `${file} ${value}${optional ? " ?" : ""}${early ? " ~" : ""}${instead}`;
  });
}

/** What is warned of: `memory.swappiness`. */
function warned(resources: Resources, cgroups: CgroupPaths): string[] {
  return resourceFiles(resources, cgroups).warnings.map((text) => {
    expect(text).toMatch(/^linux\.resources\.\S+ has no effect: /);
    return text.slice("linux.resources.".length, text.indexOf(" "));
  });
}

type Row = [resources: Resources, v1: string[], v2: string[] | "no effect", v1Pointer?: string];

const disk = { major: 8, minor: 16 };

/** Every property alone and with those it depends on; "no effect" on v2 is a warning that names it. */
const rows: Row[] = [
  [{ memory: { limit: 4096 } }, ["memory.limit_in_bytes 4096"], ["memory.max 4096"], "/memory/limit"],
  [
    { memory: { limit: -1 } },
    ["memory.limit_in_bytes -1 ~", "memory.memsw.limit_in_bytes -1 ?", "memory.limit_in_bytes -1"],
    ["memory.swap.max max ?", "memory.max max"],
  ],
  [
    { memory: { limit: 4096, swap: 8192 } },
    ["memory.limit_in_bytes 4096 ~", "memory.memsw.limit_in_bytes 8192", "memory.limit_in_bytes 4096"],
    ["memory.swap.max 4096", "memory.max 4096"],
  ],
  [
    { memory: { limit: 4096, swap: 4096 } },
    ["memory.limit_in_bytes 4096 ~", "memory.memsw.limit_in_bytes 4096 ?", "memory.limit_in_bytes 4096"],
    ["memory.swap.max 0 ?", "memory.max 4096"],
  ],
  [
    { memory: { limit: 4096, swap: -1 } },
    ["memory.limit_in_bytes 4096 ~", "memory.memsw.limit_in_bytes -1 ?", "memory.limit_in_bytes 4096"],
    ["memory.swap.max max ?", "memory.max 4096"],
  ],
  [
    { memory: { limit: -1, swap: 4096 } },
    ["memory.limit_in_bytes -1 ~", "memory.memsw.limit_in_bytes 4096", "memory.limit_in_bytes -1"],
    ["memory.swap.max 4096", "memory.max max"],
  ],
  [{ memory: { swap: -1 } }, ["memory.memsw.limit_in_bytes -1 ?"], ["memory.swap.max max ?"], "/memory/swap"],
  [
    { memory: { limit: 9223372036854775807n as never, swap: 9223372036854775807n as never } },
    [
      "memory.limit_in_bytes 9223372036854775807 ~",
      "memory.memsw.limit_in_bytes 9223372036854775807 ?",
      "memory.limit_in_bytes 9223372036854775807",
    ],
    ["memory.swap.max 0 ?", "memory.max 9223372036854775807"],
  ],
  [{ memory: { reservation: 4096 } }, ["memory.soft_limit_in_bytes 4096"], ["memory.low 4096"], "/memory/reservation"],
  [{ memory: { reservation: -1 } }, ["memory.soft_limit_in_bytes -1"], ["memory.low max"]],
  [{ memory: { kernelTCP: 4096 } }, ["memory.kmem.tcp.limit_in_bytes 4096"], "no effect", "/memory/kernelTCP"],
  [{ memory: { swappiness: 0 } }, ["memory.swappiness 0"], "no effect", "/memory/swappiness"],
  [{ memory: { disableOOMKiller: true } }, ["memory.oom_control 1"], "no effect", "/memory/disableOOMKiller"],
  [{ memory: { disableOOMKiller: false } }, ["memory.oom_control 0"], []],
  [{ memory: { useHierarchy: true } }, ["memory.use_hierarchy 1"], "no effect", "/memory/useHierarchy"],
  [{ memory: { checkBeforeUpdate: true } }, [], []],
  [{ cpu: { shares: 512 } }, ["cpu.shares 512"], ["cpu.weight 59"], "/cpu/shares"],
  [{ cpu: { quota: 50_000 } }, ["cpu.cfs_quota_us 50000"], ["cpu.max 50000"], "/cpu/quota"],
  [{ cpu: { quota: -7 } }, ["cpu.cfs_quota_us -1"], ["cpu.max max"]],
  [{ cpu: { period: 50_000 } }, ["cpu.cfs_period_us 50000"], ["cpu.max max 50000"], "/cpu/period"],
  [
    { cpu: { quota: 20_000, period: 50_000, burst: 10_000 } },
    [
      "cpu.cfs_period_us 50000 ~",
      "cpu.cfs_burst_us 10000 ~",
      "cpu.cfs_quota_us 20000",
      "cpu.cfs_period_us 50000",
      "cpu.cfs_burst_us 10000",
    ],
    ["cpu.max.burst 10000 ~", "cpu.max 20000 50000", "cpu.max.burst 10000"],
  ],
  [{ cpu: { burst: 0 } }, ["cpu.cfs_burst_us 0"], ["cpu.max.burst 0"], "/cpu/burst"],
  [{ cpu: { idle: 1 } }, ["cpu.idle 1"], ["cpu.idle 1"], "/cpu/idle"],
  [{ cpu: { idle: 0, shares: 1024 } }, ["cpu.idle 0", "cpu.shares 1024"], ["cpu.idle 0", "cpu.weight 100"]],
  [{ cpu: { realtimeRuntime: 5000 } }, ["cpu.rt_runtime_us 5000"], "no effect", "/cpu/realtimeRuntime"],
  [{ cpu: { realtimePeriod: 9000 } }, ["cpu.rt_period_us 9000"], "no effect", "/cpu/realtimePeriod"],
  [{ cpu: { cpus: "0-1" } }, ["cpuset.cpus 0-1"], ["cpuset.cpus 0-1"], "/cpu/cpus"],
  [{ cpu: { mems: "0" } }, ["cpuset.mems 0"], ["cpuset.mems 0"], "/cpu/mems"],
  [{ pids: { limit: 0 } }, ["pids.max 0"], ["pids.max 0"], "/pids/limit"],
  [{ pids: { limit: 7 } }, ["pids.max 7"], ["pids.max 7"]],
  [{ pids: { limit: -1 } }, ["pids.max max"], ["pids.max max"]],
  [{ pids: { limit: -9223372036854775808n as never } }, ["pids.max max"], ["pids.max max"]],
  [
    { blockIO: { weight: 10 } },
    ["blkio.weight 10 | blkio.bfq.weight 10"],
    ["io.bfq.weight 10 | io.weight 1"],
    "/blockIO/weight",
  ],
  [{ blockIO: { leafWeight: 10 } }, ["blkio.leaf_weight 10"], "no effect", "/blockIO/leafWeight"],
  [
    { blockIO: { weightDevice: [{ ...disk, weight: 1000 }] } },
    ["blkio.weight_device 8:16 1000 | blkio.bfq.weight_device 8:16 1000"],
    ["io.bfq.weight 8:16 1000 | io.weight 8:16 10000"],
    "/blockIO/weightDevice/0/weight",
  ],
  [
    { blockIO: { weightDevice: [{ ...disk, leafWeight: 20 }] } },
    ["blkio.leaf_weight_device 8:16 20"],
    "no effect",
    "/blockIO/weightDevice/0/leafWeight",
  ],
  [
    { blockIO: { throttleReadBpsDevice: [{ ...disk, rate: 18446744073709551615n as never }] } },
    ["blkio.throttle.read_bps_device 8:16 18446744073709551615"],
    ["io.max 8:16 rbps=18446744073709551615"],
    "/blockIO/throttleReadBpsDevice/0/rate",
  ],
  [
    { blockIO: { throttleWriteBpsDevice: [{ ...disk, rate: 0 }] } },
    ["blkio.throttle.write_bps_device 8:16 0"],
    ["io.max 8:16 wbps=max"],
  ],
  [
    { blockIO: { throttleReadIOPSDevice: [disk, { ...disk, rate: 5 }] } },
    ["blkio.throttle.read_iops_device 8:16 5"],
    ["io.max 8:16 riops=5"],
    "/blockIO/throttleReadIOPSDevice/1/rate",
  ],
  [
    { blockIO: { throttleWriteIOPSDevice: [{ ...disk, rate: 6 }] } },
    ["blkio.throttle.write_iops_device 8:16 6"],
    ["io.max 8:16 wiops=6"],
  ],
  [
    { hugepageLimits: [{ pageSize: "2MB", limit: 0 }] },
    ["hugetlb.2MB.limit_in_bytes 0", "hugetlb.2MB.rsvd.limit_in_bytes 0 ?"],
    ["hugetlb.2MB.max 0", "hugetlb.2MB.rsvd.max 0 ?"],
    "/hugepageLimits/0/limit",
  ],
  [
    { rdma: { mlx5_1: { hcaHandles: 3, hcaObjects: 4 }, ["__proto__"]: { hcaObjects: 0 } } },
    ["rdma.max mlx5_1 hca_handle=3 hca_object=4", "rdma.max __proto__ hca_object=0"],
    ["rdma.max mlx5_1 hca_handle=3 hca_object=4", "rdma.max __proto__ hca_object=0"],
    "/rdma/mlx5_1",
  ],
  [{ network: { classID: 1_048_577 } }, ["net_cls.classid 1048577"], "no effect", "/network/classID"],
  [
    { network: { priorities: [{ name: "eth0", priority: 0 }] } },
    ["net_prio.ifpriomap eth0 0"],
    "no effect",
    "/network/priorities/0",
  ],
];

/** Bun's %j knows no bigint. */
function titled<T extends readonly unknown[]>(list: readonly T[]): (readonly [string, ...T])[] {
  const digits = (_: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);
  return list.map((row) => [JSON.stringify(row[0], digits), ...row] as const);
}

describe.each(titled(rows))("%s", (_, resources, v1, v2, pointer) => {
  test("on v1", () => {
    expect(filesOf(resources, V1)).toEqual(v1);
    expect(warned(resources, V1)).toEqual([]);
    if (pointer !== undefined) {
      expect(resourceFiles(resources, V1).files[0]!.pointer).toBe(`/linux/resources${pointer}`);
    }
  });

  test("on v2", () => {
    if (v2 !== "no effect") {
      expect(filesOf(resources, V2)).toEqual(v2);
      expect(warned(resources, V2)).toEqual([]);
      return;
    }
    expect(filesOf(resources, V2)).toEqual([]);
    const property = pointer!
      .slice(1)
      .replace(/\/(\d+)/g, "[$1]")
      .replaceAll("/", ".")
      .replace("priorities[0]", "priorities");
    expect(warned(resources, V2)).toEqual([property]);
  });
});

test.each([
  {},
  { memory: {}, cpu: {}, blockIO: {}, network: {}, hugepageLimits: [], rdma: { a: {} }, unified: {} },
  { memory: { limit: 0, swap: 0, reservation: 0, kernel: 0, kernelTCP: 0 } },
  { cpu: { shares: 0, quota: 0, period: 0, realtimePeriod: 0, realtimeRuntime: 0, cpus: "", mems: "" } },
  {
    blockIO: { weight: 0, leafWeight: 0, weightDevice: [{ ...disk, weight: 0 }, disk], throttleReadBpsDevice: [disk] },
  },
  { network: { classID: 0, priorities: [] } },
] as Resources[])("%j asks for nothing", (resources) => {
  for (const cgroups of [V1, V2, {}]) expect(resourceFiles(resources, cgroups)).toEqual({ files: [], warnings: [] });
});

test("what the kernel has given up is warned of on v1 too", () => {
  expect(warned({ memory: { kernel: 4096, useHierarchy: false } }, V1)).toEqual([
    "memory.kernel",
    "memory.useHierarchy",
  ]);
  expect(warned({ memory: { kernel: 4096, useHierarchy: false } }, V2)).toEqual([
    "memory.kernel",
    "memory.useHierarchy",
  ]);
});

test("what is idle has no shares", () => {
  for (const cgroups of [V1, V2]) {
    expect(filesOf({ cpu: { idle: 1, shares: 512 } }, cgroups)).toEqual(["cpu.idle 1"]);
    expect(warned({ cpu: { idle: 1, shares: 512 } }, cgroups)).toEqual(["cpu.shares"]);
  }
});

test("real-time period and runtime on v1: the one the kernel refuses first is written again", () => {
  expect(filesOf({ cpu: { realtimeRuntime: 5, realtimePeriod: 9 } }, V1)).toEqual([
    "cpu.rt_period_us 9 ~",
    "cpu.rt_runtime_us 5",
    "cpu.rt_period_us 9",
  ]);
});

test.each([
  [1, "the minimum allowed cpu-shares is 2"],
  [262_145, "the maximum allowed cpu-shares is 262144"],
  [18446744073709551615n, "the maximum allowed cpu-shares is 262144"],
])("%d shares are an error on v1, where the kernel would take them for others", (shares, text) => {
  expect(() => resourceFiles({ cpu: { shares: shares as never } }, V1)).toThrow(text);
});

describe("machines with both versions", () => {
  const hybrid: CgroupPaths = { memory: "/memory", blkio: "/blkio", "": "/v2" };

  test("a controller is where it is bound to", () => {
    const resources = { memory: { limit: 1 }, pids: { limit: 2 }, blockIO: { weight: 10 }, cpu: { shares: 2 } };
    expect(filesOf(resources, hybrid)).toEqual([
      "cpu.weight 1",
      "memory.limit_in_bytes 1",
      "blkio.weight 10 | blkio.bfq.weight 10",
      "pids.max 2",
    ]);
  });

  test("what only v1 has is missing, not without effect", () => {
    expect(filesOf({ network: { classID: 3 } }, hybrid)).toEqual(["net_cls.classid 3"]);
    expect(warned({ network: { classID: 3 } }, { "name=systemd": "/systemd", "": "/v2" })).toEqual(["network.classID"]);
  });

  test("unified is for what v2 has", () => {
    expect(filesOf({ unified: { "hugetlb.2MB.max": "1", "cgroup.max.depth": "2" } }, hybrid)).toEqual([
      "hugetlb.2MB.max 1",
      "cgroup.max.depth 2",
    ]);
    for (const file of ["memory.high", "io.max"]) {
      expect(() => resourceFiles({ unified: { [file]: "1" } }, hybrid)).toThrow("cannot use unified on cgroup v1");
    }
  });
});

describe("unified", () => {
  test("a line is a write, after all that v1 has names for", () => {
    const unified = { "io.max": "8:0 rbps=1\n8:16 wbps=2\n", "memory.high": "", "memory.max": "3" };
    expect(filesOf({ unified, memory: { limit: 5 } }, V2)).toEqual([
      "memory.max 5",
      "io.max 8:0 rbps=1",
      "io.max 8:16 wbps=2",
      "memory.high ",
      "memory.max 3",
    ]);
  });

  test("says which controller it needs", () => {
    const unified = { "memory.high": "1", "cgroup.freeze": "0" };
    expect(resourceFiles({ unified }, V2).files.map(({ controller }) => controller)).toEqual(["memory", ""]);
    const own = JSON.parse('{"__proto__.x":"1","constructor.y":"2"}') as Record<string, string>;
    expect(filesOf({ unified: own }, V2)).toEqual(["__proto__.x 1", "constructor.y 2"]);
  });

  test("is nothing for v1", () => {
    const text = "invalid configuration: cannot use unified on cgroup v1 (linux.resources.unified)";
    expect(() => resourceFiles({ unified: { "memory.high": "1" } }, V1)).toThrow(text);
  });
});

/** Ends, defaults, and values that engines and Kubernetes compute; from opencontainers/cgroups#20. */
test.each([
  [1, 1],
  [2, 1],
  [3, 2],
  [102, 17],
  [512, 59],
  [1024, 100],
  [2048, 174],
  [262_143, 10_000],
  [262_144, 10_000],
  [18446744073709551615n, 10_000],
])("%d shares are a weight", (shares, weight) => {
  expect(cpuWeight(shares)).toBe(weight);
});

test("more shares are never less weight, and every weight is one", () => {
  let last = 1;
  for (let shares = 2; shares <= 262_144; shares += shares < 4096 ? 1 : 101) {
    const weight = cpuWeight(shares);
    expect(weight).toBeGreaterThanOrEqual(last);
    last = weight;
  }
  expect(last).toBeLessThanOrEqual(10_000);
});

test.each([
  [10, 1],
  [11, 11],
  [100, 910],
  [500, 4950],
  [1000, 10_000],
])("weight %d of v1 is %d of v2", (v1, v2) => {
  expect(ioWeight(v1)).toBe(v2);
});

test("swap of v2 is what v1's leaves beyond memory", () => {
  expect(swapMax({ limit: 9007199254740993n as never, swap: 9007199254740996n as never })).toBe("3");
  expect(() => swapMax({ swap: 5 })).toThrow("unable to set swap limit without memory limit");
  expect(() => swapMax({ limit: 6, swap: 5 })).toThrow("memory+swap limit should be >= memory limit");
});
