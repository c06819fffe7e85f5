import { describe, expect, test } from "bun:test";
import type { Resources } from "../spec/types.ts";
import { deviceModel } from "./device-rules.ts";
import { resourceFiles } from "./resources.ts";
import { deviceProperties, resourceProperties } from "./systemd-properties.ts";
import { INFINITY, propertyText } from "./unit-property.ts";

const V2 = { "": "/c/x" };
const V1 = { memory: "/m/x", cpu: "/p/x", cpuset: "/s/x", pids: "/i/x", blkio: "/b/x" };

/** The properties of these resources as text. */
function texts(resources: Resources, cgroups: Record<string, string> = V2, version = 257): string[] {
  return resourceProperties(resourceFiles(resources, cgroups).files, version).map(propertyText);
}

/** The properties for one file. */
function of(file: string, value: string, version = 257) {
  return resourceProperties([{ file, value }], version).map(({ name, value }) => [name, value] as const);
}

const MIB = 1024 * 1024;

describe("v2", () => {
  test("memory, swap and reservation", () => {
    const memory = { limit: 64 * MIB, swap: 96 * MIB, reservation: 32 * MIB };
    expect(texts({ memory }).sort()).toEqual([
      "MemoryLow=uint64 33554432",
      "MemoryMax=uint64 67108864",
      "MemorySwapMax=uint64 33554432",
    ]);
    expect(texts({ memory: { limit: -1 } }).sort()).toEqual([
      `MemoryMax=uint64 ${INFINITY}`,
      `MemorySwapMax=uint64 ${INFINITY}`,
    ]);
  });

  test("shares become a weight, idle is weight 0", () => {
    expect(texts({ cpu: { shares: 1024 } })).toEqual(["CPUWeight=uint64 100"]);
    expect(texts({ cpu: { idle: 1 } })).toEqual(["CPUWeight=uint64 0"]);
    expect(texts({ cpu: { idle: 1 } }, V2, 251)).toEqual([]);
    expect(texts({ cpu: { idle: 0 } })).toEqual([]);
  });

  test("quotas are rounded up to whole percents", () => {
    expect(texts({ cpu: { quota: 50_000, period: 100_000 } })).toEqual([
      "CPUQuotaPeriodUSec=uint64 100000",
      "CPUQuotaPerSecUSec=uint64 500000",
    ]);
    expect(texts({ cpu: { quota: 12_345, period: 100_000 } })[1]).toBe("CPUQuotaPerSecUSec=uint64 130000");
    expect(texts({ cpu: { quota: 33_000 } })).toEqual(["CPUQuotaPerSecUSec=uint64 330000"]);
    expect(texts({ cpu: { quota: 33_001 } })).toEqual(["CPUQuotaPerSecUSec=uint64 340000"]);
    expect(texts({ cpu: { quota: -1 } })).toEqual([`CPUQuotaPerSecUSec=uint64 ${INFINITY}`]);
    expect(texts({ cpu: { period: 50_000 } })).toEqual([
      "CPUQuotaPeriodUSec=uint64 50000",
      `CPUQuotaPerSecUSec=uint64 ${INFINITY}`,
    ]);
    expect(texts({ cpu: { quota: 1, period: 1_000_000 } })[1]).toBe("CPUQuotaPerSecUSec=uint64 10000");
  });

  test("cpuset lists become bit masks", () => {
    expect(texts({ cpu: { cpus: "0-1,9", mems: "0" } })).toEqual([
      "AllowedCPUs=@ay [3, 2, 0, 0, 0, 0, 0, 0]",
      "AllowedMemoryNodes=@ay [1, 0, 0, 0, 0, 0, 0, 0]",
    ]);
    expect(texts({ cpu: { cpus: "0", mems: "0" } }, V2, 243)).toEqual([]);
    expect(texts({ cpu: { cpus: "0-7:2/4" } })).toEqual([]);
  });

  test("pids", () => {
    expect(texts({ pids: { limit: 5 } })).toEqual(["TasksMax=uint64 5"]);
    expect(texts({ pids: { limit: -1 } })).toEqual([`TasksMax=uint64 ${INFINITY}`]);
    for (const limit of [0, 1, 2]) expect(texts({ pids: { limit } })).toEqual(["TasksMax=uint64 2"]);
  });

  test("block devices", () => {
    const blockIO = {
      weight: 100,
      weightDevice: [{ major: 8, minor: 0, weight: 10 }],
      throttleReadBpsDevice: [
        { major: 8, minor: 0, rate: 1000 },
        { major: 8, minor: 16, rate: 2000 },
      ],
      throttleWriteIOPSDevice: [{ major: 8, minor: 0, rate: 7 }],
    };
    expect(texts({ blockIO })).toEqual([
      "IOWeight=uint64 910",
      'IODeviceWeight=@a(st) [("/dev/block/8:0", 1)]',
      'IOReadBandwidthMax=@a(st) [("/dev/block/8:0", 1000), ("/dev/block/8:16", 2000)]',
      'IOWriteIOPSMax=@a(st) [("/dev/block/8:0", 7)]',
    ]);
  });

  test("unified", () => {
    const unified = {
      "memory.high": "1048576",
      "memory.min": "4096",
      "memory.max": "max",
      "memory.oom.group": "1",
      "cpu.weight": "50",
      "cpu.max": "20000 40000",
      "io.weight": "default 300",
      "io.max": "8:0 rbps=1 wbps=2 riops=3 wiops=max",
      "pids.max": "9",
      "cpuset.cpus": "0",
      "hugetlb.2MB.max": "0",
      "memory.swap.high": "1",
    };
    expect(texts({ unified }).map((text) => text.split("=")[0])).toEqual([
      "MemoryHigh",
      "MemoryMin",
      "MemoryMax",
      "OOMPolicy",
      "CPUWeight",
      "IOWeight",
      "TasksMax",
      "AllowedCPUs",
      "CPUQuotaPeriodUSec",
      "CPUQuotaPerSecUSec",
      "IOReadBandwidthMax",
      "IOWriteBandwidthMax",
      "IOReadIOPSMax",
      "IOWriteIOPSMax",
    ]);
    expect(texts({ unified: { "memory.max": "1", "cpu.max": "max" } })).toEqual([
      "MemoryMax=uint64 1",
      `CPUQuotaPerSecUSec=uint64 ${INFINITY}`,
    ]);
  });

  test("unified comes last, as its files do", () => {
    expect(texts({ pids: { limit: 5 }, unified: { "pids.max": "6" } })).toEqual(["TasksMax=uint64 6"]);
  });
});

test("v1 has properties of its own", () => {
  const resources: Resources = {
    memory: { limit: MIB, swap: 2 * MIB, reservation: 4096 },
    cpu: { shares: 512, quota: 25_000, period: 50_000 },
    pids: { limit: 7 },
    blockIO: { weight: 500, throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 9 }] },
  };
  expect(texts(resources, V1)).toEqual([
    "CPUShares=uint64 512",
    "MemoryLimit=uint64 1048576",
    "BlockIOWeight=uint64 500",
    "TasksMax=uint64 7",
    "CPUQuotaPeriodUSec=uint64 50000",
    "CPUQuotaPerSecUSec=uint64 500000",
    'BlockIOReadBandwidth=@a(st) [("/dev/block/8:0", 9)]',
  ]);
});

test("what systemd would refuse is left to the kernel", () => {
  for (const [file, value] of [
    ["memory.max", "0"],
    ["memory.max", "-5"],
    ["memory.max", "1G"],
    ["cpu.weight", "0"],
    ["cpu.weight", "10001"],
    ["cpu.max", "0 100000"],
    ["cpu.max", "50000 0"],
    ["cpu.max", "x"],
    ["io.max", "8:0 rbps"],
    ["io.max", "rbps=5"],
    ["pids.max", "many"],
    ["memory.oom.group", "2"],
    ["cpuset.cpus", "all"],
    ["misc.max", "1"],
  ] as const) {
    expect([file, value, of(file, value)]).toEqual([file, value, []]);
  }
});

test("older systemds are not told what they do not know", () => {
  const cases = [
    ["memory.min", "1", 240],
    ["memory.zswap.max", "1", 253],
    ["memory.oom.group", "1", 253],
    ["cpuset.mems", "0", 244],
  ] as const;
  for (const [file, value, since] of cases) {
    expect(of(file, value, since)).toHaveLength(1);
    expect(of(file, value, since - 1)).toEqual([]);
  }
  expect(of("cpu.max", "5000 10000", 241)).toEqual([["CPUQuotaPerSecUSec", 500_000n]]);
});

test("device rules are for v1", () => {
  const { model } = deviceModel([
    { allow: false, access: "rwm" },
    { allow: true, type: "b", major: 8, access: "r" },
  ]);
  const [policy, allow] = deviceProperties(model, 240);
  expect(policy).toEqual({ name: "DevicePolicy", signature: "s", value: "strict" });
  expect(allow!.value).toContainEqual(["block-8", "r"]);
  expect(allow!.value).toContainEqual(["/dev/char/1:3", "rwm"]);
  expect(deviceProperties(model, 239)[1]!.value).not.toContainEqual(["block-8", "r"]);
  const all = deviceProperties(deviceModel([{ allow: true, access: "rwm" }]).model, 240);
  expect(all.map(propertyText)).toEqual(['DevicePolicy="auto"', "DeviceAllow=@a(ss) []"]);
});
