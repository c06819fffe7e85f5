import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import type { Filter } from "../seccomp/filter.ts";
import type { Seccomp } from "../spec/types.ts";
import { cachedFilter, cacheFilter, cacheKey, decodeFilter, encodeFilter } from "./seccomp-cache.ts";

const root = mkdtempSync("/tmp/tsrun-seccomp-cache-");
afterAll(() => rmSync(root, { recursive: true }));

const filter: Filter = { program: new Uint8Array(24).fill(7), flags: 4, notifies: true, isMute: false };

test("what was put in comes out", () => {
  expect(cachedFilter(root, "a")).toBeUndefined();
  cacheFilter(root, "a", filter);
  expect(cachedFilter(root, "a")).toEqual(filter);
  expect(cachedFilter(root, "b")).toBeUndefined();
  expect(readdirSync(`${root}/@seccomp`)).toEqual(["a"]);
});

test("every combination survives", () => {
  for (const notifies of [true, false]) {
    for (const isMute of [true, false]) {
      const one = { ...filter, notifies, isMute, flags: 0x22 };
      expect(decodeFilter(encodeFilter(one))).toEqual(one);
    }
  }
});

test("what cannot be a program is none", () => {
  for (const length of [0, 7, 8, 15]) expect(decodeFilter(new Uint8Array(length))).toBeUndefined();
  symlinkSync("a", `${root}/@seccomp/link`);
  expect(cachedFilter(root, "link")).toBeUndefined();
});

test("never more than 64", () => {
  for (let i = 0; i < 80; i++) writeFileSync(`${root}/@seccomp/${i}`, "x");
  cacheFilter(root, "new", filter);
  expect(readdirSync(`${root}/@seccomp`)).toEqual(["new"]);
});

test("a key for every profile, also for values beyond 2^53", () => {
  const profile = (value: number | bigint): Seccomp => ({
    defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [{ names: ["read"], action: "SCMP_ACT_ERRNO", args: [{ index: 0, value, op: "SCMP_CMP_EQ" }] }],
  });
  const keys = [1, 2, 2n ** 64n - 1n, 2n ** 64n - 2n].map((value) => cacheKey(profile(value), "SCMP_ARCH_X86_64"));
  keys.push(cacheKey(profile(1), "SCMP_ARCH_AARCH64"));
  expect(new Set(keys).size).toBe(keys.length);
  expect(cacheKey(profile(1), "SCMP_ARCH_X86_64")).toBe(keys[0]!);
  expect(keys[0]).toMatch(/^[0-9a-f]{64}$/);
});
