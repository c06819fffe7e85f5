/**
 * What `tsrun events` tells of a container, in the shape that runc gave it (runc: types/events.go): programs of engines
 * decode it field by field. Every number is an unsigned 64-bit integer, hence bigint; times are nanoseconds, sizes bytes.
 */
export interface Stats {
  readonly cpu: CpuStats;
  readonly cpuset: CpusetStats;
  readonly memory: MemoryStats;
  readonly pids: PidsStats;
  readonly blkio: BlkioStats;
  /** By size of page: `2MB`. */
  readonly hugetlb: ReadonlyMap<string, HugetlbStats>;
}

export interface CpuStats {
  readonly usage: CpuUsage;
  readonly throttling: Throttling;
  readonly psi?: Pressure | undefined;
}

export interface CpuUsage {
  readonly total: bigint;
  /** One number a processor; none on cgroup v2. */
  readonly percpu: readonly bigint[];
  readonly percpuKernel: readonly bigint[];
  readonly percpuUser: readonly bigint[];
  readonly kernel: bigint;
  readonly user: bigint;
}

export interface Throttling {
  readonly periods: bigint;
  readonly throttledPeriods: bigint;
  readonly throttledTime: bigint;
}

/** Flags and lists of a v1 cpuset; of a v2 one runc tells nothing. */
export interface CpusetStats {
  readonly cpus: readonly bigint[];
  readonly mems: readonly bigint[];
  readonly cpuExclusive: bigint;
  readonly memHardwall: bigint;
  readonly memExclusive: bigint;
  readonly memoryMigrate: bigint;
  readonly memorySpreadPage: bigint;
  readonly memorySpreadSlab: bigint;
  readonly memoryPressure: bigint;
  readonly schedLoadBalance: bigint;
  /** The one number with a sign: -1 is the machine's default. */
  readonly schedRelaxDomainLevel: bigint;
}

export interface MemoryStats {
  readonly cache: bigint;
  readonly usage: MemoryUse;
  /** Memory and swap together, on v2 too. */
  readonly swap: MemoryUse;
  readonly kernel: MemoryUse;
  readonly kernelTcp: MemoryUse;
  /** memory.stat. */
  readonly raw: ReadonlyMap<string, bigint>;
  readonly psi?: Pressure | undefined;
}

export interface MemoryUse {
  readonly limit: bigint;
  readonly usage: bigint;
  readonly max: bigint;
  readonly failcnt: bigint;
}

export interface PidsStats {
  readonly current: bigint;
  /** 0 is none. */
  readonly limit: bigint;
}

/** The tables of the v1 controller. v2 fills the first two. */
export type BlkioTable =
  | "ioServiceBytesRecursive"
  | "ioServicedRecursive"
  | "ioQueueRecursive"
  | "ioServiceTimeRecursive"
  | "ioWaitTimeRecursive"
  | "ioMergedRecursive"
  | "ioTimeRecursive"
  | "sectorsRecursive";

export interface BlkioStats {
  readonly tables: ReadonlyMap<BlkioTable, readonly BlkioEntry[]>;
  readonly psi?: Pressure | undefined;
}

export interface BlkioEntry {
  readonly major: bigint;
  readonly minor: bigint;
  /** `Read`, `Write`, `Total` …; empty where there is but one kind. */
  readonly op: string;
  readonly value: bigint;
}

export interface HugetlbStats {
  readonly usage: bigint;
  readonly max: bigint;
  readonly failcnt: bigint;
}

/** Pressure stall information (kernel: accounting/psi.rst). */
export interface Pressure {
  readonly some: PressureLine;
  readonly full: PressureLine;
}

export interface PressureLine {
  /** Per cent. */
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  /** Microseconds. */
  readonly total: bigint;
}

/** What can be printed exactly: JSON.stringify takes no bigint, and a double is not exact above 2^53. */
type Json =
  | bigint
  | number
  | string
  | null
  | readonly Json[]
  | ReadonlyMap<string, Json>
  | { readonly [key: string]: Json | undefined };

/** `data` in runc's order of fields; what runc leaves out when it is 0 or empty is left out. */
export function statsText(stats: Stats): string {
  return jsonText({
    cpu: cpuJson(stats.cpu),
    cpuset: cpusetJson(stats.cpuset),
    memory: memoryJson(stats.memory),
    pids: { current: some(stats.pids.current), limit: some(stats.pids.limit) },
    blkio: blkioJson(stats.blkio),
    hugetlb: new Map(
      [...stats.hugetlb].map(([size, { usage, max, failcnt }]) => [size, useJson({ usage, max }, failcnt)]),
    ),
    intel_rdt: {},
    network_interfaces: null,
  });
}

/** One line of the stream. Without stats, `data` is absent. */
export function eventLine(type: "stats" | "oom", id: string, stats?: Stats): string {
  const data = stats === undefined ? "" : `,"data":${statsText(stats)}`;
  return `{"type":${JSON.stringify(type)},"id":${JSON.stringify(id)}${data}}\n`;
}

function cpuJson({ usage, throttling, psi }: CpuStats): Json {
  const { periods, throttledPeriods, throttledTime } = throttling;
  return {
    usage: {
      total: some(usage.total),
      percpu: someOf(usage.percpu),
      percpu_kernel: someOf(usage.percpuKernel),
      percpu_user: someOf(usage.percpuUser),
      kernel: usage.kernel,
      user: usage.user,
    },
    throttling: {
      periods: some(periods),
      throttledPeriods: some(throttledPeriods),
      throttledTime: some(throttledTime),
    },
    psi: psi && psiJson(psi),
  };
}

function cpusetJson(cpuset: CpusetStats): Json {
  return {
    cpus: someOf(cpuset.cpus),
    cpu_exclusive: cpuset.cpuExclusive,
    mems: someOf(cpuset.mems),
    mem_hardwall: cpuset.memHardwall,
    mem_exclusive: cpuset.memExclusive,
    memory_migrate: cpuset.memoryMigrate,
    memory_spread_page: cpuset.memorySpreadPage,
    memory_spread_slab: cpuset.memorySpreadSlab,
    memory_pressure: cpuset.memoryPressure,
    sched_load_balance: cpuset.schedLoadBalance,
    sched_relax_domain_level: cpuset.schedRelaxDomainLevel,
  };
}

function memoryJson({ cache, usage, swap, kernel, kernelTcp, raw, psi }: MemoryStats): Json {
  const entry = (use: MemoryUse): Json => ({ limit: use.limit, ...useJson(use, use.failcnt) });
  return {
    cache: some(cache),
    usage: entry(usage),
    swap: entry(swap),
    kernel: entry(kernel),
    kernelTCP: entry(kernelTcp),
    raw: raw.size === 0 ? undefined : raw,
    psi: psi && psiJson(psi),
  };
}

function useJson({ usage, max }: { readonly usage: bigint; readonly max: bigint }, failcnt: bigint) {
  return { usage: some(usage), max: some(max), failcnt };
}

const TABLES: readonly BlkioTable[] = [
  "ioServiceBytesRecursive",
  "ioServicedRecursive",
  "ioQueueRecursive",
  "ioServiceTimeRecursive",
  "ioWaitTimeRecursive",
  "ioMergedRecursive",
  "ioTimeRecursive",
  "sectorsRecursive",
];

function blkioJson({ tables, psi }: BlkioStats): Json {
  const filled = new Map<string, Json>();
  for (const name of TABLES) {
    const entries = tables.get(name) ?? [];
    if (entries.length > 0) filled.set(name, entries.map(entryJson));
  }
  return { ...Object.fromEntries(filled), psi: psi && psiJson(psi) };
}

function entryJson({ major, minor, op, value }: BlkioEntry): Json {
  return { major: some(major), minor: some(minor), op: op === "" ? undefined : op, value: some(value) };
}

function psiJson({ some, full }: Pressure): Json {
  const line = ({ avg10, avg60, avg300, total }: PressureLine): Json => ({ avg10, avg60, avg300, total });
  return { some: line(some), full: line(full) };
}

/** Go's omitempty. */
function some(value: bigint): bigint | undefined {
  return value === 0n ? undefined : value;
}

function someOf(values: readonly bigint[]): readonly bigint[] | undefined {
  return values.length === 0 ? undefined : values;
}

/** The keys of a Map are sorted, as Go does it; those of an object stay as they are. */
export function jsonText(value: Json): string {
  if (typeof value === "bigint") return String(value);
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(jsonText).join(",")}]`;
  const pairs = value instanceof Map ? [...value].sort(byKey) : Object.entries(value as { [key: string]: Json });
  const texts = pairs.filter(([, each]) => each !== undefined);
  return `{${texts.map(([key, each]) => `${JSON.stringify(key)}:${jsonText(each)}`).join(",")}}`;
}

function byKey([a]: readonly [string, Json], [b]: readonly [string, Json]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
