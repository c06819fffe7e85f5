import { expect, test } from "bun:test";
import { MAX_UINT64, NO_TEXTS, type Texts } from "./stats-texts.ts";
import { blkioStatsV2, cpuStatsV2, cpusetStatsV2, hugetlbStatsV2, memoryStatsV2, pressure } from "./stats-v2.ts";

const texts =
  (files: Record<string, string>): Texts =>
  (file) =>
    new Map(Object.entries(files)).get(file);

const QUIET = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
const zero = { avg10: 0, avg60: 0, avg300: 0, total: 0n };

test("cpu: microseconds become nanoseconds; no processor by itself", () => {
  const stat =
    "usage_usec 24131\nuser_usec 10001\nsystem_usec 14130\nnice_usec 0\ncore_sched.force_idle_usec 0\n" +
    "nr_periods 5\nnr_throttled 2\nthrottled_usec 71\nnr_bursts 0\nburst_usec 0\n";
  expect(cpuStatsV2(texts({ "cpu.stat": stat, "cpu.pressure": QUIET }))).toEqual({
    usage: { total: 24131000n, user: 10001000n, kernel: 14130000n, percpu: [], percpuKernel: [], percpuUser: [] },
    throttling: { periods: 5n, throttledPeriods: 2n, throttledTime: 71000n },
    psi: { some: zero, full: zero },
  });
});

test("cpuset: nothing", () => {
  expect(cpusetStatsV2()).toMatchObject({ cpus: [], mems: [], schedRelaxDomainLevel: 0n });
});

const MEMORY = {
  "memory.stat": "anon 45056\nfile 135168\nkernel 98304\n",
  "memory.current": "524288\n",
  "memory.peak": "2236416\n",
  "memory.max": "67108864\n",
};

test("memory: the cache is what files take; swap counts memory too", () => {
  const files = { "memory.swap.current": "4096\n", "memory.swap.max": "1048576\n", "memory.swap.peak": "9999\n" };
  const found = memoryStatsV2(texts({ ...MEMORY, ...files }));
  expect(found.cache).toBe(135168n);
  expect(found.usage).toEqual({ limit: 67108864n, usage: 524288n, max: 2236416n, failcnt: 0n });
  expect(found.swap).toEqual({ limit: 68157440n, usage: 528384n, max: 0n, failcnt: 0n });
  expect(found.kernel).toEqual({ limit: 0n, usage: 0n, max: 0n, failcnt: 0n });
  expect([...found.raw.keys()]).toEqual(["anon", "file", "kernel"]);
  expect(found.psi).toBeUndefined();
});

test("memory: no limit of swap is none of both; two limits that overflow wrap as in runc", () => {
  const none = memoryStatsV2(texts({ ...MEMORY, "memory.swap.max": "max\n" }));
  expect(none.swap.limit).toBe(MAX_UINT64);
  const wrapped = memoryStatsV2(texts({ ...MEMORY, "memory.max": "max\n", "memory.swap.max": "1048576\n" }));
  expect(wrapped.swap.limit).toBe(1048575n);
});

test("memory: without the controller, nothing", () => {
  expect(memoryStatsV2(NO_TEXTS)).toMatchObject({ cache: 0n, usage: { limit: 0n }, swap: { limit: 0n } });
});

test("io: bytes and counts of reads and writes; what v1 has no table for is left out", () => {
  const { tables, psi } = blkioStatsV2(
    texts({
      "io.stat":
        "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=3 dios=4\n254:1 \n259:0 rbytes=1 wbytes=0 rios=1 wios=0 cost.usage=5\n",
      "io.pressure": QUIET,
    }),
  );
  expect(tables.get("ioServiceBytesRecursive")).toEqual([
    { major: 8n, minor: 0n, op: "Read", value: 4096n },
    { major: 8n, minor: 0n, op: "Write", value: 8192n },
    { major: 259n, minor: 0n, op: "Read", value: 1n },
    { major: 259n, minor: 0n, op: "Write", value: 0n },
  ]);
  expect(tables.get("ioServicedRecursive")!.map(({ value }) => value)).toEqual([1n, 2n, 1n, 0n]);
  expect(tables.size).toBe(2);
  expect(psi).toEqual({ some: zero, full: zero });
});

test("hugetlb: reserved pages where they are counted", () => {
  const files = {
    "hugetlb.2MB.current": "1\n",
    "hugetlb.2MB.rsvd.current": "2097152\n",
    "hugetlb.2MB.events": "max 3\n",
    "hugetlb.1GB.current": "0\n",
    "hugetlb.1GB.events": "max 0\n",
  };
  expect([...hugetlbStatsV2(texts(files), ["1GB", "2MB", "64KB"])]).toEqual([
    ["1GB", { usage: 0n, max: 0n, failcnt: 0n }],
    ["2MB", { usage: 2097152n, max: 0n, failcnt: 3n }],
  ]);
});

test("pressure: averages as they are written, and what is absent", () => {
  const text = "some avg10=1.53 avg60=0.20 avg300=100.00 total=18446744073709551615\n";
  expect(pressure(text)).toEqual({
    some: { avg10: 1.53, avg60: 0.2, avg300: 100, total: MAX_UINT64 },
    full: zero,
  });
  expect(pressure(undefined)).toBeUndefined();
  expect(pressure("")).toBeUndefined();
});
