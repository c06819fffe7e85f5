import type { ResourceCase } from "./resource-cases.ts";

const M = 1024 * 1024;
const MAX_V1 = "9223372036854771712";

export const memoryCases: readonly ResourceCase[] = [
  {
    title: "memory.limit",
    resources: { memory: { limit: 64 * M } },
    v1: { "memory.limit_in_bytes": "67108864" },
    v2: { "memory.max": "67108864" },
    unit: { MemoryMax: "67108864" },
    update: {
      resources: { memory: { limit: 128 * M } },
      v1: { "memory.limit_in_bytes": "134217728" },
      v2: { "memory.max": "134217728" },
      unit: { MemoryMax: "134217728" },
    },
  },
  {
    title: "memory.limit -1, then a limit, is no limit",
    resources: { memory: { limit: -1 } },
    v1: { "memory.limit_in_bytes": MAX_V1 },
    v2: { "memory.max": "max" },
    update: {
      resources: { memory: { limit: 64 * M } },
      v1: { "memory.limit_in_bytes": "67108864" },
      v2: { "memory.max": "67108864" },
    },
  },
  {
    title: "memory.limit, then -1",
    resources: { memory: { limit: 64 * M, swap: 128 * M } },
    v1: { "memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": "134217728" },
    v2: { "memory.max": "67108864", "memory.swap.max": "67108864" },
    update: {
      // Without -1 for both the old limit of swap would be below the new one of memory: as runc, no limit is for both.
      resources: { memory: { limit: -1 } },
      v1: { "memory.limit_in_bytes": MAX_V1, "memory.memsw.limit_in_bytes": MAX_V1 },
      v2: { "memory.max": "max", "memory.swap.max": "max" },
      unit: { MemoryMax: "infinity" },
    },
  },
  {
    title: "memory.reservation",
    resources: { memory: { reservation: 32 * M } },
    v1: { "memory.soft_limit_in_bytes": "33554432" },
    v2: { "memory.low": "33554432" },
    unit: { MemoryLow: "33554432" },
    update: {
      resources: { memory: { reservation: 16 * M } },
      v1: { "memory.soft_limit_in_bytes": "16777216" },
      v2: { "memory.low": "16777216" },
      unit: { MemoryLow: "16777216" },
    },
  },
  {
    title: "memory.swap counts memory and swap; update to more",
    resources: { memory: { limit: 64 * M, swap: 96 * M } },
    v1: { "memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": "100663296" },
    v2: { "memory.max": "67108864", "memory.swap.max": "33554432" },
    unit: { MemorySwapMax: "33554432" },
    update: {
      resources: { memory: { limit: 256 * M, swap: 512 * M } },
      v1: { "memory.limit_in_bytes": "268435456", "memory.memsw.limit_in_bytes": "536870912" },
      v2: { "memory.max": "268435456", "memory.swap.max": "268435456" },
      unit: { MemorySwapMax: "268435456" },
    },
  },
  {
    title: "memory.swap; update to less",
    resources: { memory: { limit: 256 * M, swap: 512 * M } },
    v1: { "memory.limit_in_bytes": "268435456", "memory.memsw.limit_in_bytes": "536870912" },
    v2: { "memory.max": "268435456", "memory.swap.max": "268435456" },
    update: {
      resources: { memory: { limit: 32 * M, swap: 64 * M } },
      v1: { "memory.limit_in_bytes": "33554432", "memory.memsw.limit_in_bytes": "67108864" },
      v2: { "memory.max": "33554432", "memory.swap.max": "33554432" },
    },
  },
  {
    title: "memory.swap equal to the limit is no swap; -1 is no limit",
    resources: { memory: { limit: 64 * M, swap: 64 * M } },
    v1: { "memory.memsw.limit_in_bytes": "67108864" },
    v2: { "memory.swap.max": "0" },
    unit: { MemorySwapMax: "0" },
    update: {
      resources: { memory: { limit: 64 * M, swap: -1 } },
      v1: { "memory.limit_in_bytes": "67108864", "memory.memsw.limit_in_bytes": MAX_V1 },
      v2: { "memory.max": "67108864", "memory.swap.max": "max" },
    },
  },
  {
    title: "memory.swappiness",
    resources: { memory: { limit: 64 * M, swappiness: 30 } },
    v1: { "memory.swappiness": "30" },
    update: { resources: { memory: { swappiness: 0 } }, v1: { "memory.swappiness": "0" } },
  },
  {
    title: "memory.disableOOMKiller",
    resources: { memory: { limit: 64 * M, disableOOMKiller: true } },
    v1: { "memory.oom_control": "oom_kill_disable 1" },
    update: {
      resources: { memory: { disableOOMKiller: false } },
      v1: { "memory.oom_control": "oom_kill_disable 0" },
    },
  },
  {
    title: "memory.useHierarchy",
    resources: { memory: { limit: 64 * M, useHierarchy: true } },
    v1: { "memory.use_hierarchy": "1", "memory.limit_in_bytes": "67108864" },
  },
  {
    title: "memory.kernel is passed over: kernels of today have none",
    resources: { memory: { kernel: 64 * M } },
    v1: { "memory.limit_in_bytes": MAX_V1 },
    v2: { "memory.max": "max" },
  },
  {
    title: "memory.checkBeforeUpdate is for update alone",
    resources: { memory: { limit: 64 * M, checkBeforeUpdate: true } },
    v1: { "memory.limit_in_bytes": "67108864" },
    v2: { "memory.max": "67108864" },
    update: {
      resources: { memory: { limit: 48 * M, checkBeforeUpdate: true } },
      v1: { "memory.limit_in_bytes": "50331648" },
      v2: { "memory.max": "50331648" },
    },
  },
];
