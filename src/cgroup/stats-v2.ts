import type {
  BlkioEntry,
  BlkioStats,
  BlkioTable,
  CpuStats,
  CpusetStats,
  HugetlbStats,
  MemoryStats,
  MemoryUse,
  Pressure,
  PressureLine,
} from "./stats.ts";
import { count, counts, MAX_UINT64, NO_TEXTS, type Texts } from "./stats-texts.ts";
import { cpusetStatsV1 } from "./stats-v1.ts";

/** Files of v2 controllers (kernel: admin-guide/cgroup-v2.rst) to the v1 names that the shape has, as runc does it. */

/** cpu.stat is there without the controller too. Microseconds. */
export function cpuStatsV2(texts: Texts): CpuStats {
  const stat = counts(texts("cpu.stat"));
  const nanoseconds = (key: string) => (stat.get(key) ?? 0n) * 1000n;
  return {
    usage: {
      total: nanoseconds("usage_usec"),
      percpu: [],
      percpuKernel: [],
      percpuUser: [],
      kernel: nanoseconds("system_usec"),
      user: nanoseconds("user_usec"),
    },
    throttling: {
      periods: stat.get("nr_periods") ?? 0n,
      throttledPeriods: stat.get("nr_throttled") ?? 0n,
      throttledTime: nanoseconds("throttled_usec"),
    },
    psi: pressure(texts("cpu.pressure")),
  };
}

/** v2 has none of the flags of v1, and runc tells nothing of its lists. */
export function cpusetStatsV2(): CpusetStats {
  return cpusetStatsV1(NO_TEXTS);
}

/** Swap counts memory too, as in v1; how much both together have been at most, nobody knows. */
export function memoryStatsV2(texts: Texts): MemoryStats {
  const raw = counts(texts("memory.stat"));
  const usage = memoryUse(texts, "memory");
  const swap = memoryUse(texts, "memory.swap");
  const limit = swap.limit === MAX_UINT64 ? MAX_UINT64 : BigInt.asUintN(64, swap.limit + usage.limit);
  return {
    cache: raw.get("file") ?? 0n,
    usage,
    swap: { ...swap, usage: swap.usage + usage.usage, limit, max: 0n },
    kernel: NOTHING,
    kernelTcp: NOTHING,
    raw,
    psi: pressure(texts("memory.pressure")),
  };
}

const NOTHING: MemoryUse = { limit: 0n, usage: 0n, max: 0n, failcnt: 0n };

function memoryUse(texts: Texts, kind: string): MemoryUse {
  return {
    limit: count(texts(`${kind}.max`)),
    usage: count(texts(`${kind}.current`)),
    max: count(texts(`${kind}.peak`)),
    failcnt: 0n,
  };
}

/** What of io.stat has a table in v1. */
const IO_KEYS: ReadonlyMap<string, readonly [BlkioTable, string]> = new Map([
  ["rbytes", ["ioServiceBytesRecursive", "Read"]],
  ["wbytes", ["ioServiceBytesRecursive", "Write"]],
  ["rios", ["ioServicedRecursive", "Read"]],
  ["wios", ["ioServicedRecursive", "Write"]],
]);

/** Lines such as `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`. */
export function blkioStatsV2(texts: Texts): BlkioStats {
  const tables = new Map<BlkioTable, BlkioEntry[]>();
  for (const line of (texts("io.stat") ?? "").split("\n")) {
    const [device = "", ...pairs] = line.split(" ");
    const numbers = /^(\d+):(\d+)$/.exec(device);
    if (numbers === null) continue;
    for (const pair of pairs) {
      const [key = "", value] = pair.split("=");
      const known = IO_KEYS.get(key);
      if (known === undefined) continue;
      const entry = { major: BigInt(numbers[1]!), minor: BigInt(numbers[2]!), op: known[1], value: count(value) };
      tables.set(known[0], [...(tables.get(known[0]) ?? []), entry]);
    }
  }
  return { tables, psi: pressure(texts("io.pressure")) };
}

/** See hugetlbStatsV1; what was the most is not counted, and refusals only without regard to reservation. */
export function hugetlbStatsV2(texts: Texts, sizes: readonly string[]): Map<string, HugetlbStats> {
  const found = new Map<string, HugetlbStats>();
  for (const size of sizes) {
    const usage = texts(`hugetlb.${size}.rsvd.current`) ?? texts(`hugetlb.${size}.current`);
    if (usage === undefined) continue;
    const events = counts(texts(`hugetlb.${size}.events`));
    found.set(size, { usage: count(usage), max: 0n, failcnt: events.get("max") ?? 0n });
  }
  return found;
}

/** `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same for `full`, which cpu.pressure may lack. */
export function pressure(text: string | undefined): Pressure | undefined {
  if (text === undefined || text === "") return undefined;
  const lines = new Map(text.split("\n").map((line) => [line.split(" ")[0]!, line]));
  return { some: pressureLine(lines.get("some")), full: pressureLine(lines.get("full")) };
}

function pressureLine(line: string | undefined): PressureLine {
  const values = new Map(
    (line ?? "").split(" ").map((word) => [word.slice(0, word.indexOf("=")), word.slice(word.indexOf("=") + 1)]),
  );
  const average = (key: string) => Number(values.get(key) ?? 0) || 0;
  return {
    avg10: average("avg10"),
    avg60: average("avg60"),
    avg300: average("avg300"),
    total: count(values.get("total")),
  };
}
