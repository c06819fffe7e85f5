import { expect, test } from "bun:test";
import type { CgroupFacts, CgroupHierarchy } from "../host/facts.ts";
import { cgroupDirectories, cgroupRecord, cleanPath, containerCgroups } from "./paths.ts";

const pids: CgroupHierarchy = { version: 1, controllers: ["pids"], mount: "/c/pids", own: "/" };
const cpu: CgroupHierarchy = { version: 1, controllers: ["cpu", "cpuacct"], mount: "/c/cpu,cpuacct", own: "/mine" };
const v2: CgroupHierarchy = { version: 2, controllers: [], mount: "/c/unified", own: "/a/session" };
const hybrid: CgroupFacts = { mode: "hybrid", hierarchies: [pids, cpu, v2] };
const unified: CgroupFacts = { mode: "unified", hierarchies: [{ ...v2, mount: "/c" }] };

function paths(cgroupsPath: string | undefined, facts: CgroupFacts): string[] {
  return cgroupDirectories(cgroupsPath, "box", facts).map(({ path }) => path);
}

test("an absolute path starts at the root of each hierarchy", () => {
  expect(paths("/foo/bar", hybrid)).toEqual(["/c/pids/foo/bar", "/c/cpu,cpuacct/foo/bar", "/c/unified/foo/bar"]);
  expect(paths("/foo", unified)).toEqual(["/c/foo"]);
});

test("a relative path starts at tsrun's own cgroup, on unified v2 at its parent", () => {
  expect(paths("rel/x", hybrid)).toEqual(["/c/pids/rel/x", "/c/cpu,cpuacct/mine/rel/x", "/c/unified/a/session/rel/x"]);
  expect(paths("rel", unified)).toEqual(["/c/a/rel"]);
  expect(paths("rel", { mode: "unified", hierarchies: [{ ...v2, mount: "/c", own: "/" }] })).toEqual(["/c/rel"]);
});

test("below: a relative path starts at tsrun's own cgroup on unified v2 too; an absolute one does not", () => {
  const below = (path: string) =>
    cgroupDirectories(path, "box", { ...unified, hierarchies: [{ ...v2, mount: "/c" }] }, true);
  expect(below("rel").map(({ path }) => path)).toEqual(["/c/a/session/rel"]);
  expect(below("/abs").map(({ path }) => path)).toEqual(["/c/abs"]);
});

test("an absent or empty path is the id, below tsrun's own cgroup", () => {
  expect(paths(undefined, hybrid)).toEqual(["/c/pids/box", "/c/cpu,cpuacct/mine/box", "/c/unified/a/session/box"]);
  expect(paths("", unified)).toEqual(["/c/a/box"]);
});

test("no `..` leads out", () => {
  expect(paths("../../x", hybrid)).toEqual(["/c/pids/x", "/c/cpu,cpuacct/mine/x", "/c/unified/a/session/x"]);
  expect(paths("/../../etc/x", unified)).toEqual(["/c/etc/x"]);
  expect(cleanPath("a/../../b//./c/")).toBe("b/c");
});

test("the root cgroup is refused: deleting the container would kill the machine", () => {
  for (const path of ["/", "//", "/..", "a/..", "."]) expect(() => paths(path, hybrid)).toThrow("root cgroup");
});

test("systemd's form is a plain name here", () => {
  expect(paths("a.slice:pre:name", unified)).toEqual(["/c/a/a.slice:pre:name"]);
});

test("state.json names each controller; reading it back gives each directory once, v2 first", () => {
  const record = cgroupRecord(cgroupDirectories("/x", "box", hybrid));
  expect(record).toEqual({
    pids: "/c/pids/x",
    cpu: "/c/cpu,cpuacct/x",
    cpuacct: "/c/cpu,cpuacct/x",
    "": "/c/unified/x",
  });
  expect(containerCgroups(record)).toEqual([
    { version: 2, path: "/c/unified/x" },
    { version: 1, path: "/c/pids/x" },
    { version: 1, path: "/c/cpu,cpuacct/x" },
  ]);
});
