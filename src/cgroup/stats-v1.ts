import type {
  BlkioEntry,
  BlkioStats,
  BlkioTable,
  CpuStats,
  CpusetStats,
  HugetlbStats,
  MemoryStats,
  MemoryUse,
  PidsStats,
} from "./stats.ts";
import { count, counts, listed, MAX_UINT64, row, type Texts } from "./stats-texts.ts";

/** Files of v1 controllers (kernel: admin-guide/cgroup-v1/) to what runc makes of them. */

/** cpuacct.stat counts in units that are 1/100 s on every architecture (USER_HZ). */
const TICK_NS = 10_000_000n;

/** From the files of two controllers, which mostly share a directory. */
export function cpuStatsV1(cpu: Texts, cpuacct: Texts): CpuStats {
  const stat = counts(cpu("cpu.stat"));
  const ticks = counts(cpuacct("cpuacct.stat"));
  const [percpuUser, percpuKernel] = percpuModes(cpuacct("cpuacct.usage_all"));
  return {
    usage: {
      total: count(cpuacct("cpuacct.usage")),
      percpu: row(cpuacct("cpuacct.usage_percpu")),
      percpuKernel,
      percpuUser,
      kernel: (ticks.get("system") ?? 0n) * TICK_NS,
      user: (ticks.get("user") ?? 0n) * TICK_NS,
    },
    throttling: {
      periods: stat.get("nr_periods") ?? 0n,
      throttledPeriods: stat.get("nr_throttled") ?? 0n,
      throttledTime: stat.get("throttled_time") ?? 0n,
    },
  };
}

/** A heading, `cpu user system`, and a line for each processor. */
function percpuModes(text: string | undefined): [bigint[], bigint[]] {
  const rows = (text ?? "")
    .split("\n")
    .slice(1)
    .map(row)
    .filter((each) => each.length === 3);
  return [rows.map((each) => each[1]!), rows.map((each) => each[2]!)];
}

export function cpusetStatsV1(texts: Texts): CpusetStats {
  const flag = (name: string) => count(texts(`cpuset.${name}`));
  const level = texts("cpuset.sched_relax_domain_level")?.trim() ?? "";
  return {
    cpus: listed(texts("cpuset.cpus")),
    mems: listed(texts("cpuset.mems")),
    cpuExclusive: flag("cpu_exclusive"),
    memHardwall: flag("mem_hardwall"),
    memExclusive: flag("mem_exclusive"),
    memoryMigrate: flag("memory_migrate"),
    memorySpreadPage: flag("memory_spread_page"),
    memorySpreadSlab: flag("memory_spread_slab"),
    memoryPressure: flag("memory_pressure"),
    schedLoadBalance: flag("sched_load_balance"),
    schedRelaxDomainLevel: /^-?\d+$/.test(level) ? BigInt(level) : 0n,
  };
}

export function memoryStatsV1(texts: Texts): MemoryStats {
  const raw = counts(texts("memory.stat"));
  return {
    cache: raw.get("cache") ?? 0n,
    usage: memoryUse(texts, "memory"),
    swap: memoryUse(texts, "memory.memsw"),
    kernel: memoryUse(texts, "memory.kmem"),
    kernelTcp: memoryUse(texts, "memory.kmem.tcp"),
    raw,
  };
}

/** All 0 where the kernel does not count this. */
function memoryUse(texts: Texts, kind: string): MemoryUse {
  return {
    limit: count(texts(`${kind}.limit_in_bytes`)),
    usage: count(texts(`${kind}.usage_in_bytes`)),
    max: count(texts(`${kind}.max_usage_in_bytes`)),
    failcnt: count(texts(`${kind}.failcnt`)),
  };
}

/** The same files in v1 and v2, and without v2's controller a look at who is there. No limit is 0. */
export function pidsStats(texts: Texts): PidsStats {
  const limit = count(texts("pids.max"));
  const current = texts("pids.current");
  return {
    current: current === undefined ? BigInt(row(texts("cgroup.procs")).length) : count(current),
    limit: limit === MAX_UINT64 ? 0n : limit,
  };
}

const DETAILED: readonly (readonly [BlkioTable, string])[] = [
  ["sectorsRecursive", "sectors_recursive"],
  ["ioServiceTimeRecursive", "io_service_time_recursive"],
  ["ioWaitTimeRecursive", "io_wait_time_recursive"],
  ["ioMergedRecursive", "io_merged_recursive"],
  ["ioQueueRecursive", "io_queued_recursive"],
  ["ioTimeRecursive", "time_recursive"],
  ["ioServicedRecursive", "io_serviced_recursive"],
  ["ioServiceBytesRecursive", "io_service_bytes_recursive"],
];
const COUNTED = DETAILED.slice(-2);

/** What the scheduler of a disk counts, best first: BFQ with and without debugging, CFQ of old kernels, the throttle. */
function blkioGroups(): (readonly [BlkioTable, string])[][] {
  const named = (prefix: string, files: typeof DETAILED) =>
    files.map(([table, file]) => [table, `blkio.${prefix}${file}`] as const);
  const own = named("throttle.", COUNTED).map(([table, file]) => [table, file.replace("_recursive", "")] as const);
  return [named("bfq.", DETAILED), named("bfq.", COUNTED), named("", DETAILED), named("throttle.", COUNTED), own];
}

/** The first group whose first file has entries. */
export function blkioStatsV1(texts: Texts): BlkioStats {
  for (const group of blkioGroups()) {
    const tables = new Map(group.map(([table, file]) => [table, blkioEntries(texts(file))]));
    if (tables.get(group[0]![0])!.length > 0) return { tables };
  }
  return { tables: new Map() };
}

/** `8:0 Read 4096`, or `8:0 4096`; the last line is the sum of all devices, `Total 4096`. */
function blkioEntries(text: string | undefined): BlkioEntry[] {
  const entries: BlkioEntry[] = [];
  for (const line of (text ?? "").split("\n")) {
    const match = /^(\d+):(\d+)(?: (\w+))? (\d+)$/.exec(line);
    if (match === null) continue;
    const [, major, minor, op = "", value] = match;
    entries.push({ major: BigInt(major!), minor: BigInt(minor!), op, value: BigInt(value!) });
  }
  return entries;
}

/** Reserved pages where the kernel counts them (Linux 5.7): they are what a limit is usually set on. */
export function hugetlbStatsV1(texts: Texts, sizes: readonly string[]): Map<string, HugetlbStats> {
  const found = new Map<string, HugetlbStats>();
  for (const size of sizes) {
    const reserved = texts(`hugetlb.${size}.rsvd.usage_in_bytes`);
    const prefix = reserved === undefined ? `hugetlb.${size}` : `hugetlb.${size}.rsvd`;
    const usage = reserved ?? texts(`${prefix}.usage_in_bytes`);
    if (usage === undefined) continue;
    const max = count(texts(`${prefix}.max_usage_in_bytes`));
    found.set(size, { usage: count(usage), max, failcnt: count(texts(`${prefix}.failcnt`)) });
  }
  return found;
}
