import { describe, expect, test } from "bun:test";
import { NO_TEXTS, type Texts } from "./stats-texts.ts";
import { blkioStatsV1, cpuStatsV1, cpusetStatsV1, hugetlbStatsV1, memoryStatsV1, pidsStats } from "./stats-v1.ts";

const texts =
  (files: Record<string, string>): Texts =>
  (file) =>
    new Map(Object.entries(files)).get(file);

test("cpu: nanoseconds, of cpuacct.stat by hundredths of a second", () => {
  const cpu = texts({ "cpu.stat": "nr_periods 20\nnr_throttled 3\nthrottled_time 99123456\nnr_bursts 0\n" });
  const cpuacct = texts({
    "cpuacct.usage": "18129897\n",
    "cpuacct.usage_percpu": "586109 17543788 \n",
    "cpuacct.usage_all": "cpu user system\n0 0 1000000\n1 4000000 5000000\n",
    "cpuacct.stat": "user 3\nsystem 12\n",
  });
  expect(cpuStatsV1(cpu, cpuacct)).toEqual({
    usage: {
      total: 18129897n,
      percpu: [586109n, 17543788n],
      percpuKernel: [1000000n, 5000000n],
      percpuUser: [0n, 4000000n],
      kernel: 120000000n,
      user: 30000000n,
    },
    throttling: { periods: 20n, throttledPeriods: 3n, throttledTime: 99123456n },
  });
});

test("cpuset: lists, flags, and the one number that may be negative", () => {
  const found = cpusetStatsV1(
    texts({
      "cpuset.cpus": "0-1,4\n",
      "cpuset.mems": "0\n",
      "cpuset.cpu_exclusive": "1\n",
      "cpuset.sched_load_balance": "1\n",
      "cpuset.sched_relax_domain_level": "-1\n",
    }),
  );
  expect(found).toMatchObject({ cpus: [0n, 1n, 4n], mems: [0n], cpuExclusive: 1n, memHardwall: 0n });
  expect(found).toMatchObject({ schedLoadBalance: 1n, schedRelaxDomainLevel: -1n });
});

test("memory: four counters, and memory.stat as it is", () => {
  const counter = (name: string, from: number) => ({
    [`${name}.limit_in_bytes`]: `${from}\n`,
    [`${name}.usage_in_bytes`]: `${from + 1}\n`,
    [`${name}.max_usage_in_bytes`]: `${from + 2}\n`,
    [`${name}.failcnt`]: `${from + 3}\n`,
  });
  const use = (from: number) => ({
    limit: BigInt(from),
    usage: BigInt(from + 1),
    max: BigInt(from + 2),
    failcnt: BigInt(from + 3),
  });
  const found = memoryStatsV1(
    texts({
      "memory.stat": "cache 4096\nrss 53248\nhierarchical_memory_limit 9223372036854771712\n",
      ...counter("memory", 10),
      ...counter("memory.memsw", 20),
      ...counter("memory.kmem", 30),
      ...counter("memory.kmem.tcp", 40),
    }),
  );
  expect(found.cache).toBe(4096n);
  expect(found.raw.get("hierarchical_memory_limit")).toBe(9223372036854771712n);
  expect([found.usage, found.swap, found.kernel, found.kernelTcp]).toEqual([use(10), use(20), use(30), use(40)]);
});

test("memory: without swap accounting, and on kernels without a limit of kernel memory: 0", () => {
  const found = memoryStatsV1(texts({ "memory.kmem.usage_in_bytes": "7\n" }));
  expect(found.swap).toEqual({ limit: 0n, usage: 0n, max: 0n, failcnt: 0n });
  expect(found.kernel).toMatchObject({ limit: 0n, usage: 7n });
});

test("pids: without the controller, who is in the cgroup", () => {
  expect(pidsStats(texts({ "cgroup.procs": "17\n4711\n" }))).toEqual({ current: 2n, limit: 0n });
});

test("pids: no limit is 0", () => {
  expect(pidsStats(texts({ "pids.current": "2\n", "pids.max": "max\n" }))).toEqual({ current: 2n, limit: 0n });
  expect(pidsStats(texts({ "pids.current": "2\n", "pids.max": "64\n" }))).toEqual({ current: 2n, limit: 64n });
});

describe("blkio", () => {
  const throttled = {
    "blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\nTotal 3\n",
    "blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Total 4096\nTotal 4096\n",
    "blkio.throttle.io_serviced": "8:0 Read 100\nTotal 100\n",
  };

  test("what the throttle counts, without the sum of all devices", () => {
    const { tables } = blkioStatsV1(texts(throttled));
    expect([...tables.keys()].sort()).toEqual(["ioServiceBytesRecursive", "ioServicedRecursive"]);
    expect(tables.get("ioServicedRecursive")).toEqual([
      { major: 8n, minor: 0n, op: "Read", value: 1n },
      { major: 8n, minor: 0n, op: "Write", value: 2n },
      { major: 8n, minor: 0n, op: "Total", value: 3n },
    ]);
  });

  test("BFQ counts better", () => {
    const bfq = { "blkio.bfq.io_serviced_recursive": "259:1 Read 7\nTotal 7\n" };
    expect(blkioStatsV1(texts({ ...throttled, ...bfq })).tables.get("ioServicedRecursive")).toEqual([
      { major: 259n, minor: 1n, op: "Read", value: 7n },
    ]);
  });

  test("tables of one number a device", () => {
    const cfq = { "blkio.sectors_recursive": "8:16 1024\n" };
    expect(blkioStatsV1(texts({ ...throttled, ...cfq })).tables.get("sectorsRecursive")).toEqual([
      { major: 8n, minor: 16n, op: "", value: 1024n },
    ]);
  });

  test("no device yet", () => {
    expect(blkioStatsV1(texts({ "blkio.throttle.io_serviced_recursive": "Total 0\n" })).tables.size).toBe(0);
    expect(blkioStatsV1(NO_TEXTS).tables.size).toBe(0);
  });
});

test("hugetlb: reserved pages where they are counted; sizes without files are left out", () => {
  const files = {
    "hugetlb.2MB.usage_in_bytes": "1\n",
    "hugetlb.2MB.rsvd.usage_in_bytes": "2097152\n",
    "hugetlb.2MB.rsvd.max_usage_in_bytes": "4194304\n",
    "hugetlb.2MB.rsvd.failcnt": "5\n",
    "hugetlb.64KB.usage_in_bytes": "65536\n",
    "hugetlb.64KB.max_usage_in_bytes": "131072\n",
    "hugetlb.64KB.failcnt": "1\n",
  };
  expect([...hugetlbStatsV1(texts(files), ["1GB", "2MB", "64KB"])]).toEqual([
    ["2MB", { usage: 2097152n, max: 4194304n, failcnt: 5n }],
    ["64KB", { usage: 65536n, max: 131072n, failcnt: 1n }],
  ]);
});
