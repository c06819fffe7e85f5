import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { TsrunError } from "../errors.ts";
import type { Config } from "../spec/types.ts";
import { countKills, killedFor, limitReason, sizeText, withReason } from "./out-of-memory.ts";

let cgroup: string;
beforeEach(() => {
  cgroup = mkdtempSync("/tmp/tsrun-oom-");
});
afterEach(() => rmSync(cgroup, { recursive: true, force: true }));

function counted(file: string, kills: number): void {
  const others = file === "memory.events" ? "low 0\nmax 9\noom 3\n" : "oom_kill_disable 0\nunder_oom 0\n";
  writeFileSync(`${cgroup}/${file}`, `${others}oom_kill ${kills}\noom_group_kill 7\n`);
}

const limited = (resources: object): Config => ({ linux: { resources } }) as unknown as Config;

describe("countKills", () => {
  for (const [key, file] of [
    ["memory", "memory.oom_control"],
    ["", "memory.events"],
  ] as const) {
    test(`tells of what came after, by ${file}`, () => {
      counted(file, 2);
      const reason = countKills(limited({ memory: { limit: 307200 } }), { [key]: cgroup })!;
      expect(reason()).toBeUndefined();
      counted(file, 3);
      expect(reason()).toBe("OOM-killed: memory limit 300 KiB reached, linux.resources.memory.limit");
    });
  }

  test("names the property that set the limit", () => {
    counted("memory.events", 1);
    const reason = countKills(limited({ unified: { "memory.max": "1048576" } }), { "": cgroup }, { before: 0 })!;
    expect(reason()).toBe('OOM-killed: memory limit 1 MiB reached, linux.resources.unified["memory.max"]');
  });

  test("without a limit, or with none of a number: nothing is read", () => {
    for (const resources of [{}, { memory: {} }, { memory: { limit: -1 } }, { unified: { "memory.max": "max" } }]) {
      expect(countKills(limited(resources), { "": "/no/such/cgroup" })).toBeUndefined();
    }
    expect(countKills({} as Config, {})).toBeUndefined();
  });

  test("without a cgroup: no reason", () => {
    expect(countKills(limited({ memory: { limit: 1 } }), {})!()).toBeUndefined();
  });
});

describe("limitReason", () => {
  const config = limited({ memory: { limit: 65536 } });
  const reached = "memory limit 64 KiB reached, linux.resources.memory.limit";

  test("a kill, whenever", () => {
    counted("memory.events", 1);
    expect(limitReason(config, { "": cgroup })).toBe(`OOM-killed: ${reached}`);
  });

  test("without one, that the limit was reached", () => {
    for (const events of ["max 9\noom 0\noom_kill 0\n", "max 0\noom 3\noom_kill 0\n"]) {
      writeFileSync(`${cgroup}/memory.events`, events);
      expect(limitReason(config, { "": cgroup })).toBe(reached);
    }
    counted("memory.oom_control", 0);
    writeFileSync(`${cgroup}/memory.failcnt`, "3\n");
    expect(limitReason(config, { memory: cgroup })).toBe(reached);
  });

  test("nothing where it was not, where nobody counts, and without a limit", () => {
    writeFileSync(`${cgroup}/memory.failcnt`, "0\n");
    expect(limitReason(config, { memory: cgroup })).toBeUndefined();
    expect(limitReason(config, { "": "/no/such/cgroup" })).toBeUndefined();
    counted("memory.events", 1);
    expect(limitReason(limited({}), { "": cgroup })).toBeUndefined();
  });
});

test("killedFor: only what SIGKILL has ended, in a shell of the container too", () => {
  expect([0, 1, 137, 143].map((status) => killedFor(() => "reason", status))).toEqual([
    undefined,
    undefined,
    "reason",
    undefined,
  ]);
  expect(killedFor(undefined, 137)).toBeUndefined();
});

test("withReason: replaces what says nothing but that the process is gone", () => {
  const gone = new TsrunError("ended", { code: "EAGENTGONE" });
  expect(String(withReason(gone, 'create container "x"', () => "OOM-killed: …"))).toContain(
    'cannot create container "x": OOM-killed: …',
  );
  expect(withReason(gone, "create", () => undefined)).toBe(gone);
  expect(withReason(gone, "create", undefined)).toBe(gone);
  const other = new TsrunError("other", { code: "EPERM" });
  expect(withReason(other, "create", () => "OOM-killed: …")).toBe(other);
});

test("sizeText: the largest unit that makes a whole number", () => {
  expect([307200n, 1n << 20n, 3n << 30n, 1n << 40n, 1000n, 1536n << 10n].map(sizeText)).toEqual([
    "300 KiB",
    "1 MiB",
    "3 GiB",
    "1024 GiB",
    "1000 bytes",
    "1536 KiB",
  ]);
});
