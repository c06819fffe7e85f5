import { expect, test } from "bun:test";
import type { Config } from "../spec/types.ts";
import { delegatedFiles, mayManageCgroups, ownerOf, parseUidMap } from "./delegate.ts";

const mount = { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "rw"] };
const writable: Config = { ociVersion: "1.2.0", mounts: [mount], linux: { namespaces: [{ type: "cgroup" }] } };

test("a new cgroup namespace and a writable cgroup mount: both, or the cgroup stays tsrun's", () => {
  expect(mayManageCgroups(writable)).toBe(true);
  expect(mayManageCgroups({ ...writable, mounts: [{ ...mount, destination: "/sys/fs/cgroup/" }] })).toBe(true);
  expect(mayManageCgroups({ ...writable, mounts: [{ ...mount, options: ["ro"] }] })).toBe(false);
  expect(mayManageCgroups({ ...writable, mounts: [{ ...mount, source: "/sys/fs/cgroup" }] })).toBe(false);
  expect(mayManageCgroups({ ...writable, mounts: [{ ...mount, destination: "/sys/fs/cgroup/pids" }] })).toBe(false);
  expect(mayManageCgroups({ ...writable, mounts: [] })).toBe(false);
  expect(mayManageCgroups({ ...writable, linux: { namespaces: [{ type: "pid" }] } })).toBe(false);
  expect(
    mayManageCgroups({ ...writable, linux: { namespaces: [{ type: "cgroup", path: "/proc/1/ns/cgroup" }] } }),
  ).toBe(false);
});

const never = () => {
  throw new Error("read in vain");
};
const withUser = (uid: number, linux: Config["linux"]): Config => ({
  ...writable,
  process: { args: ["sh"], cwd: "/", user: { uid, gid: 0 } },
  linux,
});

test("the owner is the process's user, as the host counts", () => {
  const uidMappings = [
    { containerID: 0, hostID: 100_000, size: 1000 },
    { containerID: 1000, hostID: 1000, size: 1 },
  ];
  const namespaces = [{ type: "user" as const }];
  expect(ownerOf(writable, never)).toBe(0);
  expect(ownerOf(withUser(7, {}), never)).toBe(7);
  expect(ownerOf(withUser(7, { namespaces, uidMappings }), never)).toBe(100_007);
  expect(ownerOf(withUser(1000, { namespaces, uidMappings }), never)).toBe(1000);
  expect(ownerOf(withUser(1001, { namespaces, uidMappings }), never)).toBeUndefined();
});

test("of a user namespace that exists, its own map counts", () => {
  const joined = { namespaces: [{ type: "user" as const, path: "/proc/1/ns/user" }] };
  const map = parseUidMap("         0     165536       1000\n      5000          7          1\n");
  expect(ownerOf(withUser(0, joined), () => map)).toBe(165_536);
  expect(ownerOf(withUser(5000, joined), () => map)).toBe(7);
});

test("the kernel says which files go along; an old one does not, and three always do", () => {
  expect(delegatedFiles("cgroup.procs\ncgroup.threads\nmemory.oom.group\n")).toEqual([
    "cgroup.procs",
    "cgroup.threads",
    "memory.oom.group",
  ]);
  expect(delegatedFiles(-2)).toEqual(["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]);
});
