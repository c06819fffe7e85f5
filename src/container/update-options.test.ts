import { describe, expect, test } from "bun:test";
import { readInteger, readSize, resourcesOfOptions } from "./update-options.ts";

describe("readSize", () => {
  test.each([
    ["0", 0],
    ["1024", 1024],
    ["-1", -1],
    ["1b", 1],
    ["2k", 2048],
    ["2K", 2048],
    ["2kb", 2048],
    ["2KiB", 2048],
    ["512m", 536_870_912],
    ["1.5g", 1_610_612_736],
    ["1 GiB", 1_073_741_824],
    ["1t", 1_099_511_627_776],
    ["1p", 1_125_899_906_842_624],
    ["9007199254740993", 9_007_199_254_740_993n],
    ["9223372036854775807", 9_223_372_036_854_775_807n],
  ] as const)("%p", (text, bytes) => {
    expect(readSize("--memory", text)).toBe(bytes);
  });

  test.each([
    "-2",
    "x",
    "12x",
    "1e3",
    "0x10",
    "1..5",
    "1.5.5",
    ".5",
    "9223372036854775808",
    "9000p",
    "512 mm",
    " 5",
    "+5",
    "٣",
  ])("%p is refused", (text) => {
    expect(() => readSize("--memory", text)).toThrow(`option "--memory": ${JSON.stringify(text)} is not a size`);
  });

  test("nothing is no size", () => {
    expect(readSize("--memory", undefined)).toBeUndefined();
    expect(readSize("--memory", "")).toBeUndefined();
  });
});

test.each(["-1", "1.5", "1k", "0x1", "", "9223372036854775808"].filter((text) => text !== ""))(
  "%p is no number from 0 on",
  (text) => {
    expect(() => readInteger("--cpu-period", text, 0n)).toThrow("is not a whole number from 0 to 9223372036854775807");
  },
);

test("every option has its property", () => {
  const options = {
    blkioWeight: 20,
    cpuPeriod: "1",
    cpuQuota: "-1",
    cpuBurst: "0",
    cpuShare: "4",
    cpuRtPeriod: "5",
    cpuRtRuntime: "6",
    cpuIdle: 0,
    cpusetCpus: "0-1",
    cpusetMems: "0",
    memory: "1k",
    memoryReservation: "2k",
    memorySwap: "3k",
    kernelMemory: "4k",
    kernelMemoryTcp: "5k",
    pidsLimit: "-1",
  };
  expect(resourcesOfOptions(options)).toEqual({
    memory: { limit: 1024, reservation: 2048, swap: 3072, kernel: 4096, kernelTCP: 5120 },
    cpu: {
      shares: 4,
      quota: -1,
      burst: 0,
      period: 1,
      realtimeRuntime: 6,
      realtimePeriod: 5,
      cpus: "0-1",
      mems: "0",
      idle: 0,
    },
    blockIO: { weight: 20 },
    pids: { limit: -1 },
  });
});

test("what asks for nothing is not there, as with runc", () => {
  const nothing = { memory: "0", memorySwap: "", cpuQuota: "0", cpuShare: "0", blkioWeight: 0, cpusetCpus: "" };
  expect(resourcesOfOptions(nothing)).toEqual({});
  expect(resourcesOfOptions({ pidsLimit: "0" })).toEqual({ pids: { limit: 0 } });
});

test.each(["l3CacheSchema", "memBwSchema"])("%s is refused by name", (name) => {
  expect(() => resourcesOfOptions({ [name]: "MB:0=20" })).toThrow(/Intel RDT schema: .* \(--/);
});
