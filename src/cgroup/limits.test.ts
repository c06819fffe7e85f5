import { expect, test } from "bun:test";
import { printProgram, testContext } from "../plan/test-printer.ts";
import { hierarchyOf, limitedControllers, limitFiles, planLimits } from "./limits.ts";

const limits = { memory: 64 * 1024 * 1024, cpus: 1.5, pids: 20 };
const v2 = { version: 2, controllers: [], mount: "/sys/fs/cgroup/unified", own: "/" } as const;
const v1 = (name: string) => ({ version: 1, controllers: [name], mount: `/sys/fs/cgroup/${name}`, own: "/" }) as const;

test("files of v1 and v2", () => {
  const values = (version: 1 | 2) =>
    limitedControllers(limits)
      .flatMap((controller) => limitFiles(controller, limits, version))
      .map(({ file, value }) => `${file} ${value}`);
  expect(values(1)).toEqual([
    "memory.limit_in_bytes 67108864",
    "memory.memsw.limit_in_bytes 67108864",
    "cpu.cfs_period_us 100000",
    "cpu.cfs_quota_us 150000",
    "pids.max 20",
  ]);
  expect(values(2)).toEqual(["memory.max 67108864", "memory.swap.max 0", "cpu.max 150000 100000", "pids.max 20"]);
});

test("no limits, no controllers", () => {
  expect(limitedControllers({})).toEqual([]);
});

test("a controller that is bound to v1 is looked for there, others in v2", () => {
  const hybrid = { mode: "hybrid", hierarchies: [v1("memory"), v2] } as const;
  expect(hierarchyOf(hybrid, "memory")?.version).toBe(1);
  expect(hierarchyOf(hybrid, "pids")?.version).toBe(2);
  expect(hierarchyOf({ mode: "v1", hierarchies: [v1("memory")] }, "pids")).toBeUndefined();
});

test("what is written, and what may be missing", () => {
  const context = testContext();
  planLimits(context, { memory: 4096 });
  expect(printProgram(context.attach)).toEqual([
    '$memory.max = openat(-100, "/sys/fs/cgroup/test/memory.max", 0x80001, 0) →3',
    'write($memory.max, "4096", 4)',
    "close($memory.max)",
    '$memory.swap.max = openat(-100, "/sys/fs/cgroup/test/memory.swap.max", 0x80001, 0) ? ENOENT →6',
    'write($memory.swap.max, "0", 1)',
    "close($memory.swap.max)",
  ]);
});
