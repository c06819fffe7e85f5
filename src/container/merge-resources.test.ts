import { describe, expect, test } from "bun:test";
import type { Resources } from "../spec/types.ts";
import { mergeResources, resourcesToWrite, sameRules } from "./merge-resources.ts";

describe("mergeResources", () => {
  const cases: [title: string, current: Resources, change: Resources, merged: Resources][] = [
    ["nothing", { pids: { limit: 5 } }, {}, { pids: { limit: 5 } }],
    ["a property", { memory: { limit: 5, swap: 9 } }, { memory: { limit: 6 } }, { memory: { limit: 6, swap: 9 } }],
    ["the first of its kind", {}, { cpu: { cpus: "0" } }, { cpu: { cpus: "0" } }],
    [
      "what asks for nothing",
      { cpu: { shares: 7, cpus: "1" } },
      { cpu: { shares: 0, cpus: "" } },
      { cpu: { shares: 7, cpus: "1" } },
    ],
    [
      "zeros that are values",
      { cpu: { idle: 1, burst: 7 } },
      { cpu: { idle: 0, burst: 0 } },
      { cpu: { idle: 0, burst: 0 } },
    ],
    ["no process at all", { pids: { limit: 5 } }, { pids: { limit: 0 } }, { pids: { limit: 0 } }],
    [
      "no limit of memory, so none of swap",
      { memory: { limit: 5, swap: 9 } },
      { memory: { limit: -1 } },
      { memory: { limit: -1 } },
    ],
    [
      "no limit of memory, but one of swap",
      { memory: { limit: 5, swap: 9 } },
      { memory: { limit: -1, swap: 7 } },
      { memory: { limit: -1, swap: 7 } },
    ],
    [
      "false",
      { memory: { checkBeforeUpdate: true } },
      { memory: { checkBeforeUpdate: false } },
      { memory: { checkBeforeUpdate: false } },
    ],
    [
      "devices of a list by their numbers",
      {
        blockIO: {
          throttleReadBpsDevice: [
            { major: 8, minor: 0, rate: 1 },
            { major: 8, minor: 1, rate: 2 },
          ],
        },
      },
      {
        blockIO: {
          throttleReadBpsDevice: [
            { major: 8, minor: 1, rate: 3 },
            { major: 9, minor: 1, rate: 4 },
          ],
        },
      },
      {
        blockIO: {
          throttleReadBpsDevice: [
            { major: 8, minor: 0, rate: 1 },
            { major: 8, minor: 1, rate: 3 },
            { major: 9, minor: 1, rate: 4 },
          ],
        },
      },
    ],
    [
      "page sizes and interfaces by their names",
      {
        hugepageLimits: [{ pageSize: "2MB", limit: 1 }],
        network: { classID: 7, priorities: [{ name: "lo", priority: 1 }] },
      },
      { hugepageLimits: [{ pageSize: "2MB", limit: 0 }], network: { priorities: [{ name: "lo", priority: 2 }] } },
      {
        hugepageLimits: [{ pageSize: "2MB", limit: 0 }],
        network: { classID: 7, priorities: [{ name: "lo", priority: 2 }] },
      },
    ],
    [
      "rules for devices as a whole",
      { devices: [{ allow: true, type: "a" }] },
      { devices: [{ allow: false, type: "a" }] },
      { devices: [{ allow: false, type: "a" }] },
    ],
    [
      "files of cgroup v2",
      { unified: { "memory.high": "5" } },
      { unified: { "memory.min": "6" } },
      { unified: { "memory.high": "5", "memory.min": "6" } },
    ],
  ];
  test.each(cases)("%s", (_, current, change, merged) => {
    expect(mergeResources(current, change)).toEqual(merged);
  });

  test("names that JavaScript has plans of its own for are only names", () => {
    const unified = JSON.parse('{"__proto__": "1", "constructor": "2"}') as Record<string, string>;
    expect(Object.entries(mergeResources({ unified: {} }, { unified }).unified!)).toEqual([
      ["__proto__", "1"],
      ["constructor", "2"],
    ]);
  });

  test("neither side is changed", () => {
    const current: Resources = Object.freeze({ memory: Object.freeze({ limit: 5 }) });
    const change: Resources = Object.freeze({ memory: Object.freeze({ limit: 6 }), pids: Object.freeze({ limit: 1 }) });
    expect(mergeResources(current, change)).toEqual({ memory: { limit: 6 }, pids: { limit: 1 } });
  });
});

describe("resourcesToWrite", () => {
  const cases: [title: string, current: Resources, change: Resources, written: Resources][] = [
    ["only what changes", { memory: { limit: 5 }, pids: { limit: 5 } }, { pids: { limit: 6 } }, { pids: { limit: 6 } }],
    [
      "swap with memory",
      { memory: { limit: 5, swap: 9 } },
      { memory: { limit: 6 } },
      { memory: { limit: 6, swap: 9 } },
    ],
    ["memory with swap", { memory: { limit: 5, swap: 9 } }, { memory: { swap: 7 } }, { memory: { limit: 5, swap: 7 } }],
    [
      "neither with a reservation",
      { memory: { limit: 5, swap: 9 } },
      { memory: { reservation: 7 } },
      { memory: { reservation: 7 } },
    ],
    [
      "the period with a quota",
      { cpu: { period: 5, quota: 9 } },
      { cpu: { quota: 6 } },
      { cpu: { period: 5, quota: 6 } },
    ],
    [
      "the quota with a period",
      { cpu: { period: 5, quota: 9 } },
      { cpu: { period: 6, quota: 0 } },
      { cpu: { period: 6, quota: 9 } },
    ],
    [
      "the weight of what is idle no more",
      { cpu: { shares: 5, idle: 1 } },
      { cpu: { idle: 0 } },
      { cpu: { shares: 5, idle: 0 } },
    ],
    ["no weight for what becomes idle", { cpu: { shares: 5 } }, { cpu: { idle: 1 } }, { cpu: { idle: 1 } }],
    [
      "that it is idle, when it gets a weight",
      { cpu: { idle: 1 } },
      { cpu: { shares: 5 } },
      { cpu: { idle: 1, shares: 5 } },
    ],
  ];
  test.each(cases)("%s", (_, current, change, written) => {
    expect(resourcesToWrite(mergeResources(current, change), change)).toEqual(written);
  });

  test.each([
    [{ memory: { limit: 5, swap: 9 } }, { memory: { limit: 10 } }],
    [{ memory: { limit: 5 } }, { memory: { swap: 4 } }],
    [{}, { memory: { limit: 2n ** 62n, swap: 2n ** 62n - 1n } }],
  ] as [Resources, Resources][])("limits that contradict each other", (current, change) => {
    expect(() => resourcesToWrite(mergeResources(current, change), change)).toThrow(
      "memory+swap limit should be >= memory limit: ",
    );
  });

  test("no limit of swap contradicts nothing", () => {
    const change = { memory: { limit: 5 } };
    const written = resourcesToWrite(mergeResources({ memory: { swap: -1 } }, change), change);
    expect(written).toEqual({ memory: { limit: 5, swap: -1 } });
  });
});

test.each([
  [[{ allow: true }], [{ allow: false }], false],
  [
    [{ allow: false }, { allow: true, type: "c", major: 1, access: "rw" }],
    [
      { allow: false, type: "a", access: "rwm" },
      { allow: true, type: "c", major: 1, minor: -1, access: "rw" },
    ],
    true,
  ],
])("device rules %j and %j say the same: %p", (some, others, same) => {
  expect(sameRules(some, others)).toBe(same);
});
