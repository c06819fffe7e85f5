import { expect, test } from "bun:test";
import { likelyMounts, parseCgroupFile } from "./parse-cgroups.ts";

test("hierarchies of both versions are told apart", () => {
  expect(parseCgroupFile("9:name=systemd:/a\n2:cpu,cpuacct:/b:c\n0::/user.slice\n")).toEqual([
    { controllers: ["name=systemd"], path: "/a" },
    { controllers: ["cpu", "cpuacct"], path: "/b:c" },
    { controllers: [], path: "/user.slice" },
  ]);
});

test("an empty file has no hierarchy", () => {
  expect(parseCgroupFile("")).toEqual([]);
  expect(parseCgroupFile("garbage\n")).toEqual([]);
});

test("co-mounted controllers are looked for in either order, then alone", () => {
  expect(likelyMounts("/c", ["cpuacct", "cpu"])).toEqual(["/c/cpuacct,cpu", "/c/cpu,cpuacct", "/c/cpuacct", "/c/cpu"]);
  expect(likelyMounts("/c", ["pids"])).toEqual(["/c/pids"]);
  expect(likelyMounts("/c", ["name=systemd"])).toEqual(["/c/systemd"]);
});
