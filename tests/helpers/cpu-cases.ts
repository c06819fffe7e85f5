import type { ResourceCase } from "./resource-cases.ts";

/** cpu.shares of v1 → cpu.weight of v2: 10^((l² + 125 l) / 612 - 7/34), l = log2(shares); 1024 is 100, the kernel's own. */
export const cpuCases: readonly ResourceCase[] = [
  {
    title: "cpu.shares",
    resources: { cpu: { shares: 512 } },
    v1: { "cpu.shares": "512" },
    v2: { "cpu.weight": "59" },
    unit: { CPUWeight: "59" },
    update: {
      resources: { cpu: { shares: 2048 } },
      v1: { "cpu.shares": "2048" },
      v2: { "cpu.weight": "174" },
      unit: { CPUWeight: "174" },
    },
  },
  {
    title: "cpu.shares: the default and the least",
    resources: { cpu: { shares: 1024 } },
    v1: { "cpu.shares": "1024" },
    v2: { "cpu.weight": "100" },
    update: { resources: { cpu: { shares: 2 } }, v1: { "cpu.shares": "2" }, v2: { "cpu.weight": "1" } },
  },
  {
    title: "cpu.shares: the most",
    resources: { cpu: { shares: 262144 } },
    v1: { "cpu.shares": "262144" },
    v2: { "cpu.weight": "10000" },
  },
  {
    title: "cpu.quota without a period",
    resources: { cpu: { quota: 50_000 } },
    v1: { "cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000" },
    v2: { "cpu.max": "50000 100000" },
    unit: { CPUQuotaPerSecUSec: "500ms" },
    update: {
      resources: { cpu: { quota: 20_000 } },
      v1: { "cpu.cfs_quota_us": "20000" },
      v2: { "cpu.max": "20000 100000" },
      unit: { CPUQuotaPerSecUSec: "200ms" },
    },
  },
  {
    title: "cpu.quota, then -1",
    resources: { cpu: { quota: 50_000 } },
    v1: { "cpu.cfs_quota_us": "50000" },
    v2: { "cpu.max": "50000 100000" },
    update: {
      resources: { cpu: { quota: -1 } },
      v1: { "cpu.cfs_quota_us": "-1" },
      v2: { "cpu.max": "max 100000" },
      unit: { CPUQuotaPerSecUSec: "infinity" },
    },
  },
  {
    title: "cpu.period without a quota",
    resources: { cpu: { period: 50_000 } },
    v1: { "cpu.cfs_period_us": "50000", "cpu.cfs_quota_us": "-1" },
    v2: { "cpu.max": "max 50000" },
    update: {
      resources: { cpu: { period: 200_000 } },
      v1: { "cpu.cfs_period_us": "200000" },
      v2: { "cpu.max": "max 200000" },
    },
  },
  {
    title: "cpu.quota and cpu.period; update of both to less",
    resources: { cpu: { quota: 300_000, period: 200_000 } },
    v1: { "cpu.cfs_quota_us": "300000", "cpu.cfs_period_us": "200000" },
    v2: { "cpu.max": "300000 200000" },
    unit: { CPUQuotaPerSecUSec: "1.500000s" },
    update: {
      resources: { cpu: { quota: 10_000, period: 20_000 } },
      v1: { "cpu.cfs_quota_us": "10000", "cpu.cfs_period_us": "20000" },
      v2: { "cpu.max": "10000 20000" },
      unit: { CPUQuotaPerSecUSec: "500ms" },
    },
  },
  {
    title: "cpu.quota: update of the quota keeps the period",
    resources: { cpu: { quota: 30_000, period: 50_000 } },
    v1: { "cpu.cfs_quota_us": "30000", "cpu.cfs_period_us": "50000" },
    v2: { "cpu.max": "30000 50000" },
    update: {
      resources: { cpu: { quota: 20_000 } },
      v1: { "cpu.cfs_quota_us": "20000", "cpu.cfs_period_us": "50000" },
      v2: { "cpu.max": "20000 50000" },
    },
  },
  {
    title: "cpu.burst",
    resources: { cpu: { quota: 50_000, burst: 10_000 } },
    v1: { "cpu.cfs_burst_us": "10000" },
    v2: { "cpu.max.burst": "10000" },
    update: {
      resources: { cpu: { burst: 20_000 } },
      v1: { "cpu.cfs_burst_us": "20000", "cpu.cfs_quota_us": "50000" },
      v2: { "cpu.max.burst": "20000", "cpu.max": "50000 100000" },
    },
  },
  {
    title: "cpu.burst: update of quota and burst, to more than the quota was and back",
    resources: { cpu: { quota: 20_000, burst: 20_000 } },
    v1: { "cpu.cfs_burst_us": "20000" },
    v2: { "cpu.max.burst": "20000" },
    update: {
      resources: { cpu: { quota: 60_000, burst: 60_000 } },
      v1: { "cpu.cfs_burst_us": "60000", "cpu.cfs_quota_us": "60000" },
      v2: { "cpu.max.burst": "60000", "cpu.max": "60000 100000" },
    },
  },
  {
    title: "cpu.burst: update to less",
    resources: { cpu: { quota: 60_000, burst: 60_000 } },
    v1: { "cpu.cfs_burst_us": "60000" },
    v2: { "cpu.max.burst": "60000" },
    update: {
      resources: { cpu: { quota: 20_000, burst: 10_000 } },
      v1: { "cpu.cfs_burst_us": "10000", "cpu.cfs_quota_us": "20000" },
      v2: { "cpu.max.burst": "10000", "cpu.max": "20000 100000" },
    },
  },
  {
    title: "cpu.realtimeRuntime and cpu.realtimePeriod",
    resources: { cpu: { realtimeRuntime: 10_000, realtimePeriod: 500_000 } },
    v1: { "cpu.rt_runtime_us": "10000", "cpu.rt_period_us": "500000" },
    update: {
      resources: { cpu: { realtimeRuntime: 5_000 } },
      v1: { "cpu.rt_runtime_us": "5000", "cpu.rt_period_us": "500000" },
    },
  },
  {
    title: "cpu.idle",
    resources: { cpu: { idle: 1 } },
    v1: { "cpu.idle": "1" },
    v2: { "cpu.idle": "1" },
    update: { resources: { cpu: { idle: 0 } }, v1: { "cpu.idle": "0" }, v2: { "cpu.idle": "0" } },
  },
];

export const cpusetCases: readonly ResourceCase[] = [
  {
    title: "cpu.cpus",
    resources: { cpu: { cpus: "0" } },
    v1: { "cpuset.cpus": "0" },
    v2: { "cpuset.cpus": "0" },
    unit: { AllowedCPUs: "0" },
    update: {
      resources: { cpu: { cpus: "1" } },
      v1: { "cpuset.cpus": "1" },
      v2: { "cpuset.cpus": "1" },
      unit: { AllowedCPUs: "1" },
    },
  },
  {
    title: "cpu.cpus as a list of ranges",
    resources: { cpu: { cpus: "0-0,1" } },
    v1: { "cpuset.cpus": "0-1" },
    v2: { "cpuset.cpus": "0-1" },
    update: { resources: { cpu: { cpus: "0" } }, v1: { "cpuset.cpus": "0" }, v2: { "cpuset.cpus": "0" } },
  },
  {
    title: "cpu.mems",
    resources: { cpu: { mems: "0" } },
    v1: { "cpuset.mems": "0" },
    v2: { "cpuset.mems": "0" },
    unit: { AllowedMemoryNodes: "0" },
    update: { resources: { cpu: { mems: "0-0" } }, v1: { "cpuset.mems": "0" }, v2: { "cpuset.mems": "0" } },
  },
];

export const pidsCases: readonly ResourceCase[] = [
  {
    title: "pids.limit",
    resources: { pids: { limit: 20 } },
    v1: { "pids.max": "20" },
    v2: { "pids.max": "20" },
    unit: { TasksMax: "20" },
    update: {
      resources: { pids: { limit: 40 } },
      v1: { "pids.max": "40" },
      v2: { "pids.max": "40" },
      unit: { TasksMax: "40" },
    },
  },
  {
    title: "pids.limit 0 is a limit",
    resources: { pids: { limit: 0 } },
    v1: { "pids.max": "0" },
    v2: { "pids.max": "0" },
    update: { resources: { pids: { limit: 5 } }, v1: { "pids.max": "5" }, v2: { "pids.max": "5" } },
  },
  {
    title: "pids.limit, then 0",
    resources: { pids: { limit: 5 } },
    v1: { "pids.max": "5" },
    v2: { "pids.max": "5" },
    update: { resources: { pids: { limit: 0 } }, v1: { "pids.max": "0" }, v2: { "pids.max": "0" } },
  },
  {
    title: "pids.limit -1 is no limit",
    resources: { pids: { limit: -1 } },
    v1: { "pids.max": "max" },
    v2: { "pids.max": "max" },
    unit: { TasksMax: "infinity" },
    update: { resources: { pids: { limit: 7 } }, v1: { "pids.max": "7" }, v2: { "pids.max": "7" } },
  },
  {
    title: "pids.limit, then -1",
    resources: { pids: { limit: 7 } },
    v1: { "pids.max": "7" },
    v2: { "pids.max": "7" },
    update: {
      resources: { pids: { limit: -1 } },
      v1: { "pids.max": "max" },
      v2: { "pids.max": "max" },
      unit: { TasksMax: "infinity" },
    },
  },
];
