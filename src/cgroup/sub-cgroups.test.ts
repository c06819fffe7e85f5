import { expect, test } from "bun:test";
import { parseSubCgroups, subCgroups } from "./sub-cgroups.ts";

const v1 = { cpu: "/c/cpu,cpuacct/x", cpuacct: "/c/cpu,cpuacct/x", memory: "/c/memory/x", "": "/c/unified/x" };
const v2 = { "": "/c/x" };

function paths(record: Record<string, string>, ...values: string[]): string[] {
  return subCgroups(record, parseSubCgroups(values)).map(({ path }) => path);
}

test("a path alone is for every hierarchy", () => {
  expect(paths(v2, "a/b")).toEqual(["/c/x/a/b"]);
  expect(paths(v1, "/a")).toEqual(["/c/unified/x/a", "/c/cpu,cpuacct/x/a", "/c/memory/x/a"]);
});

test("/ is the container's own cgroup", () => {
  for (const path of ["/", "", ".", "a/.."]) expect(paths(v2, path)).toEqual(["/c/x"]);
});

test("v1: a path for some controllers, and nothing for the others", () => {
  expect(paths(v1, "memory:a")).toEqual(["/c/unified/x", "/c/cpu,cpuacct/x", "/c/memory/x/a"]);
  expect(paths(v1, "cpu,cpuacct:a", "memory:b/c")).toEqual(["/c/unified/x", "/c/cpu,cpuacct/x/a", "/c/memory/x/b/c"]);
  expect(paths(v1, "cpuacct:a")).toEqual(["/c/unified/x", "/c/cpu,cpuacct/x/a", "/c/memory/x"]);
});

test("no path leads out of the container's cgroup", () => {
  for (const path of ["..", "../x", "a/../../x", "/../x/y", "memory:../z"]) {
    expect(() => paths(v1, path)).toThrow("bad sub cgroup path");
  }
  expect(paths(v2, "..a/...")).toEqual(["/c/x/..a/..."]);
});

test("what is not understood is refused", () => {
  expect(() => paths(v1, "a", "b")).toThrow("invalid --cgroup argument: a: of several");
  expect(() => paths(v1, ":a")).toThrow("no controller in front");
  expect(() => paths(v1, "cpu,:a")).toThrow("no controller in front");
  expect(() => paths(v1, "cpu:a", "cpu:b")).toThrow("controller cpu is given twice");
  expect(() => paths(v1, "cpu:a", "cpuacct:b")).toThrow("shares its hierarchy");
  expect(() => paths(v1, "pids:a")).toThrow('unknown controller "pids"');
  expect(() => paths(v2, "memory:a")).toThrow('unknown controller "memory"');
});

test("names of controllers are never object keys", () => {
  for (const name of ["__proto__", "constructor"]) expect(() => paths(v1, `${name}:a`)).toThrow("unknown controller");
});
