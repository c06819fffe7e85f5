/** Every property of linux.resources (config-linux.md, "Control groups"), but for devices: tests/device-rules.test.ts. */
import { blockCases, type Disk } from "./block-cases.ts";
import { cpuCases, cpusetCases, pidsCases } from "./cpu-cases.ts";
import { memoryCases } from "./memory-cases.ts";

/**
 * File → what it says: every line of the text must be a line of the file; "" is an empty file. The controller is the part of
 * the name before the first dot.
 */
export type Files = Readonly<Record<string, string>>;

export type Resources = Readonly<Record<string, unknown>>;

export interface ResourceCase {
  /** The property below linux.resources, and what is special. */
  readonly title: string;
  readonly resources: Resources;
  /** Absent where the property means nothing on that version. */
  readonly v1?: Files;
  readonly v2?: Files;
  /** What systemd says of the scope, on v2. */
  readonly unit?: Readonly<Record<string, string>>;
  readonly update?: {
    readonly resources: Resources;
    readonly v1?: Files;
    readonly v2?: Files;
    readonly unit?: Readonly<Record<string, string>>;
  };
}

const M = 1024 * 1024;

const otherCases: readonly ResourceCase[] = [
  {
    title: "hugepageLimits, reserved pages too",
    resources: { hugepageLimits: [{ pageSize: "2MB", limit: 4 * M }] },
    v1: { "hugetlb.2MB.limit_in_bytes": "4194304", "hugetlb.2MB.rsvd.limit_in_bytes": "4194304" },
    v2: { "hugetlb.2MB.max": "4194304", "hugetlb.2MB.rsvd.max": "4194304" },
    update: {
      resources: { hugepageLimits: [{ pageSize: "2MB", limit: 8 * M }] },
      v1: { "hugetlb.2MB.limit_in_bytes": "8388608", "hugetlb.2MB.rsvd.limit_in_bytes": "8388608" },
      v2: { "hugetlb.2MB.max": "8388608", "hugetlb.2MB.rsvd.max": "8388608" },
    },
  },
  {
    title: "hugepageLimits of two sizes",
    resources: {
      hugepageLimits: [
        { pageSize: "2MB", limit: 2 * M },
        { pageSize: "1GB", limit: 1024 * M },
      ],
    },
    v1: { "hugetlb.2MB.limit_in_bytes": "2097152", "hugetlb.1GB.limit_in_bytes": "1073741824" },
    v2: { "hugetlb.2MB.max": "2097152", "hugetlb.1GB.max": "1073741824" },
  },
  {
    title: "network.classID and network.priorities",
    resources: { network: { classID: 1_048_577, priorities: [{ name: "lo", priority: 5 }] } },
    v1: { "net_cls.classid": "1048577", "net_prio.ifpriomap": "lo 5" },
    update: {
      resources: { network: { classID: 2_097_153, priorities: [{ name: "lo", priority: 6 }] } },
      v1: { "net_cls.classid": "2097153", "net_prio.ifpriomap": "lo 6" },
    },
  },
  {
    title: "unified",
    resources: { unified: { "memory.high": "33554432", "pids.max": "33" } },
    v2: { "memory.high": "33554432", "pids.max": "33" },
    unit: { MemoryHigh: "33554432", TasksMax: "33" },
    update: {
      resources: { unified: { "memory.high": "max", "pids.max": "44" } },
      v2: { "memory.high": "max", "pids.max": "44" },
      unit: { MemoryHigh: "infinity", TasksMax: "44" },
    },
  },
  {
    title: "unified comes after the properties of v1",
    resources: { pids: { limit: 20 }, cpu: { shares: 2048 }, unified: { "pids.max": "10", "cpu.weight": "7" } },
    v2: { "pids.max": "10", "cpu.weight": "7" },
    update: {
      resources: { pids: { limit: 30 }, unified: { "pids.max": "11" } },
      v2: { "pids.max": "11", "cpu.weight": "7" },
    },
  },
  {
    title: "unified: files of every controller",
    resources: {
      unified: {
        "memory.min": "1048576",
        "memory.oom.group": "1",
        "cpu.max": "40000 80000",
        "cpu.weight.nice": "5",
        "cpuset.cpus": "0",
        "cgroup.max.depth": "9",
      },
    },
    v2: {
      "memory.min": "1048576",
      "memory.oom.group": "1",
      "cpu.max": "40000 80000",
      "cpu.weight.nice": "5",
      "cpuset.cpus": "0",
      "cgroup.max.depth": "9",
    },
  },
];

/** Everything at once, as an engine asks for it; `update` changes some of it, and leaves the rest. */
export const fullSet: ResourceCase = {
  title: "a full set; update of one leaves the others",
  resources: {
    memory: { limit: 128 * M, reservation: 64 * M, swap: 256 * M },
    cpu: { shares: 2048, quota: 50_000, period: 100_000, cpus: "0-1", mems: "0" },
    pids: { limit: 100 },
  },
  v1: {
    "memory.limit_in_bytes": "134217728",
    "memory.soft_limit_in_bytes": "67108864",
    "memory.memsw.limit_in_bytes": "268435456",
    "cpu.shares": "2048",
    "cpu.cfs_quota_us": "50000",
    "cpuset.cpus": "0-1",
    "pids.max": "100",
  },
  v2: {
    "memory.max": "134217728",
    "memory.low": "67108864",
    "memory.swap.max": "134217728",
    "cpu.max": "50000 100000",
    "cpuset.cpus": "0-1",
    "pids.max": "100",
  },
  update: {
    resources: { pids: { limit: 50 } },
    v1: {
      "memory.limit_in_bytes": "134217728",
      "memory.soft_limit_in_bytes": "67108864",
      "memory.memsw.limit_in_bytes": "268435456",
      "cpu.shares": "2048",
      "cpu.cfs_quota_us": "50000",
      "cpuset.cpus": "0-1",
      "pids.max": "50",
    },
    v2: {
      "memory.max": "134217728",
      "memory.low": "67108864",
      "memory.swap.max": "134217728",
      "cpu.max": "50000 100000",
      "cpuset.cpus": "0-1",
      "pids.max": "50",
    },
  },
};

/** The one list that every manager and every runtime is held to. */
export function resourceCases(disk: Disk, hasBfq: boolean): readonly ResourceCase[] {
  return [
    ...memoryCases,
    ...cpuCases,
    ...cpusetCases,
    ...pidsCases,
    ...blockCases(disk, hasBfq),
    ...otherCases,
    fullSet,
  ];
}
