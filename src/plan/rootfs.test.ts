import { expect, test } from "bun:test";
import type { Config } from "../spec/types.ts";
import { planPivot, planRootfs } from "./rootfs.ts";
import { printProgram, testContext } from "./test-printer.ts";

type Changes = Partial<Config>;

function planned(config: Changes = {}, facts = {}) {
  const context = testContext(config, facts);
  planRootfs(context);
  planPivot(context);
  return context;
}

const userNamespace = { namespaces: [{ type: "mount" as const }, { type: "user" as const }] };

test("an ordinary container: copied in the init, attached on itself", () => {
  const { build } = planned();
  expect(printProgram(build)).toEqual([
    'mount(0, "/", 0, 0x84000, 0)',
    '$place of the root file system = openat(-100, "/bundle/rootfs", 0x2b0000, 0)',
    '$rootfs = open_tree($place of the root file system, "", 0x89001)',
    'move_mount($rootfs, "", $place of the root file system, "", 0x44)',
    "close($place of the root file system)",
  ]);
});

test("pivot_root on descriptors, then nothing of the host is left", () => {
  const { enter } = planned();
  expect(printProgram(enter)).toEqual([
    '$the host\'s root = openat(-100, "/", 0x290000, 0)',
    "fchdir($rootfs)",
    'pivot_root(".", ".")',
    "fchdir($the host's root)",
    'mount(0, ".", 0, 0x84000, 0)',
    'umount2(".", 2)',
    'chdir("/")',
    "close($the host's root)",
  ]);
});

test("a user namespace: tsrun copies on the host, and an unreachable bundle is no obstacle", () => {
  const { prepare, build } = planned({ linux: userNamespace });
  expect(printProgram(prepare).slice(4)).toEqual([
    '$rootfs = open_tree(-100, "/bundle/rootfs", 0x8001)',
    'mount_setattr($rootfs, "", 0x9000, {0, 0, 0x80000, 0}, 0x20)',
  ]);
  expect(printProgram(build).slice(1, 3)).toEqual([
    '$place of the root file system = openat(-100, "/bundle/rootfs", 0x2b0000, 0) ? EACCES ok→3',
    '$place of the root file system = openat(-100, "/", 0x2b0000, 0)',
  ]);
});

test("without CAP_SYS_ADMIN on the host the init copies, user namespace or not", () => {
  const { prepare } = planned({ linux: userNamespace }, { canMount: false });
  expect(printProgram(prepare).filter((line) => line.includes("open_tree"))).toEqual([]);
});

test("rootfsPropagation shared: copies stay peers, the root mount gets a group of its own at the end", () => {
  const { prepare, build, enter } = planned({ linux: { ...namespaces(), rootfsPropagation: "shared" } });
  expect(printProgram(prepare).at(-1)).toBe('mount_setattr($rootfs, "", 0x1000, {0, 0, 0x40000, 0}, 0x20)');
  expect(printProgram(build)[0]).toBe('mount(0, "/", 0, 0x84000, 0)');
  expect(printProgram(enter).at(-1)).toBe('mount_setattr($rootfs, "", 0x1000, {0, 0, 0x100000, 0}, 0x20)');
});

function namespaces() {
  return { namespaces: [{ type: "mount" as const }] };
}

test("private from the beginning, unbindable only at the end", () => {
  const wanted = planned({ linux: { ...namespaces(), rootfsPropagation: "runbindable" } });
  expect(printProgram(wanted.build)[0]).toBe('mount(0, "/", 0, 0x44000, 0)');
  expect(printProgram(wanted.enter).at(-1)).toBe('mount_setattr($rootfs, "", 0x9000, {0, 0, 0x20000, 0}, 0x20)');
});

test("a read-only root is made so last", () => {
  const { enter } = planned({ root: { path: "rootfs", readonly: true } });
  expect(printProgram(enter).at(-1)).toBe('mount_setattr($rootfs, "", 0x1000, {1, 0, 0, 0}, 0x20)');
});

test("--no-pivot moves the root over the host's", () => {
  const context = { ...testContext(), noPivot: true };
  planRootfs(context);
  planPivot(context);
  expect(printProgram(context.enter)).toEqual([
    'umount2("/proc", 2) ? EINVAL ENOENT',
    'umount2("/sys", 2) ? EINVAL ENOENT',
    '$the host\'s root = openat(-100, "/", 0x290000, 0)',
    'move_mount($rootfs, "", $the host\'s root, "", 0x44)',
    "close($the host's root)",
    "fchdir($rootfs)",
    'chroot(".")',
    'chdir("/")',
  ]);
});

test("without a mount namespace only the root directory changes", () => {
  const context = testContext({ linux: { namespaces: [] } });
  planRootfs(context);
  planPivot(context);
  expect(printProgram(context.build)).toEqual(['$rootfs = openat(-100, "/bundle/rootfs", 0x2b0000, 0)']);
  expect(printProgram(context.enter)).toEqual(["fchdir($rootfs)", 'chroot(".")', 'chdir("/")']);
});

test("a symlink gets the words that engines know, whatever slashes follow it", () => {
  const context = { ...testContext(), rootfsPath: "/bundle/link//" };
  planRootfs(context);
  const step = context.prepare.steps[1]!;
  expect(step.args[1]).toBe("/bundle/link");
  expect(step.says?.ENOTDIR).toStartWith("invalid rootfs: not an absolute path, or a symlink");
});
