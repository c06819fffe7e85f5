import { describe, expect, test } from "bun:test";
import { eventLine, jsonText, type Stats, statsText } from "./stats.ts";
import { NO_TEXTS } from "./stats-texts.ts";
import { blkioStatsV1, cpuStatsV1, cpusetStatsV1, memoryStatsV1, pidsStats } from "./stats-v1.ts";

const nothing: Stats = {
  cpu: cpuStatsV1(NO_TEXTS, NO_TEXTS),
  cpuset: cpusetStatsV1(NO_TEXTS),
  memory: memoryStatsV1(NO_TEXTS),
  pids: pidsStats(NO_TEXTS),
  blkio: blkioStatsV1(NO_TEXTS),
  hugetlb: new Map(),
};

const ZERO_USE = '{"limit":0,"failcnt":0}';
const ZERO_CPUSET =
  '{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,' +
  '"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0}';

describe("statsText", () => {
  test("of nothing: what runc prints of an empty structure, field by field", () => {
    expect(statsText(nothing)).toBe(
      `{"cpu":{"usage":{"kernel":0,"user":0},"throttling":{}},"cpuset":${ZERO_CPUSET},` +
        `"memory":{"usage":${ZERO_USE},"swap":${ZERO_USE},"kernel":${ZERO_USE},"kernelTCP":${ZERO_USE}},` +
        '"pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"network_interfaces":null}',
    );
  });

  test("of everything: every field under runc's name, in runc's order", () => {
    const use = { limit: 1n, usage: 2n, max: 3n, failcnt: 4n };
    const line = { avg10: 0.5, avg60: 0, avg300: 12.34, total: 5n };
    const psi = { some: line, full: line };
    const stats: Stats = {
      cpu: {
        usage: { total: 1n, percpu: [2n, 0n], percpuKernel: [3n], percpuUser: [4n], kernel: 5n, user: 6n },
        throttling: { periods: 7n, throttledPeriods: 8n, throttledTime: 9n },
        psi,
      },
      cpuset: { ...nothing.cpuset, cpus: [0n, 1n], mems: [0n], schedRelaxDomainLevel: -1n },
      memory: {
        cache: 1n,
        usage: use,
        swap: use,
        kernel: use,
        kernelTcp: use,
        raw: new Map([
          ["b", 1n],
          ["a", 0n],
        ]),
        psi,
      },
      pids: { current: 1n, limit: 2n },
      blkio: {
        tables: new Map([
          ["ioServicedRecursive", [{ major: 8n, minor: 0n, op: "Read", value: 1n }]],
          ["sectorsRecursive", [{ major: 8n, minor: 1n, op: "", value: 0n }]],
        ]),
        psi,
      },
      hugetlb: new Map([["2MB", { usage: 1n, max: 0n, failcnt: 0n }]]),
    };
    const psiText =
      '{"some":{"avg10":0.5,"avg60":0,"avg300":12.34,"total":5},"full":{"avg10":0.5,"avg60":0,"avg300":12.34,"total":5}}';
    const useText = '{"limit":1,"usage":2,"max":3,"failcnt":4}';
    expect(statsText(stats)).toBe(
      '{"cpu":{"usage":{"total":1,"percpu":[2,0],"percpu_kernel":[3],"percpu_user":[4],"kernel":5,"user":6},' +
        `"throttling":{"periods":7,"throttledPeriods":8,"throttledTime":9},"psi":${psiText}},` +
        '"cpuset":{"cpus":[0,1],"cpu_exclusive":0,"mems":[0],"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,' +
        '"memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":-1},' +
        `"memory":{"cache":1,"usage":${useText},"swap":${useText},"kernel":${useText},"kernelTCP":${useText},"raw":{"a":0,"b":1},"psi":${psiText}},` +
        '"pids":{"current":1,"limit":2},' +
        `"blkio":{"ioServicedRecursive":[{"major":8,"op":"Read","value":1}],"sectorsRecursive":[{"major":8,"minor":1}],"psi":${psiText}},` +
        '"hugetlb":{"2MB":{"usage":1,"failcnt":0}},"intel_rdt":{},"network_interfaces":null}',
    );
  });
});

describe("eventLine", () => {
  test("ends in a line feed", () => {
    expect(eventLine("oom", "web")).toBe('{"type":"oom","id":"web"}\n');
    expect(eventLine("stats", "web", nothing)).toBe(`{"type":"stats","id":"web","data":${statsText(nothing)}}\n`);
  });
});

describe("jsonText", () => {
  test("keeps every digit of 64 bits", () => {
    expect(jsonText(18446744073709551615n)).toBe("18446744073709551615");
  });

  test("a key of the kernel's is a key like any other", () => {
    expect(
      jsonText(
        new Map([
          ["__proto__", 1n],
          ["constructor", 2n],
        ]),
      ),
    ).toBe('{"__proto__":1,"constructor":2}');
  });
});
