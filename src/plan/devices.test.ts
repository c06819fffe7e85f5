import { expect, test } from "bun:test";
import { makeDevice, S_IFBLK, S_IFCHR, S_IFIFO } from "../abi/stat.ts";
import type { Device } from "../spec/types.ts";
import { checkDevices, planDevices } from "./devices.ts";
import { planMounts } from "./mounts.ts";
import { printProgram, testContext } from "./test-printer.ts";

function plan(devices: Device[], facts = {}, config = {}) {
  const context = testContext({ linux: { namespaces: [{ type: "mount" }], devices }, ...config }, facts);
  planDevices(context);
  return context;
}

test("the default devices and symlinks", () => {
  const lines = printProgram(plan([]).build);
  const made = lines.filter((line) => line.includes("mknodat"));
  expect(made.map((line) => line.slice(line.indexOf("("), line.indexOf(")") + 1))).toEqual([
    '($directory dev, "null", 0x21b6, 0x103)',
    '($directory dev, "zero", 0x21b6, 0x105)',
    '($directory dev, "full", 0x21b6, 0x107)',
    '($directory dev, "random", 0x21b6, 0x108)',
    '($directory dev, "urandom", 0x21b6, 0x109)',
    '($directory dev, "tty", 0x21b6, 0x500)',
  ]);
  const links = lines.filter((line) => line.startsWith("symlinkat"));
  expect(links).toEqual([
    'symlinkat("/proc/self/fd", $directory dev, "fd") ? EEXIST',
    'symlinkat("/proc/self/fd/0", $directory dev, "stdin") ? EEXIST',
    'symlinkat("/proc/self/fd/1", $directory dev, "stdout") ? EEXIST',
    'symlinkat("/proc/self/fd/2", $directory dev, "stderr") ? EEXIST',
    'symlinkat("/proc/kcore", $directory dev, "core") ? EEXIST',
    'symlinkat("pts/ptmx", $directory dev, "ptmx")',
  ]);
});

test("configured devices: type, mode, owner; a default one is replaced", () => {
  const lines = printProgram(
    plan([
      { type: "b", path: "/dev/blk/x", major: 259, minor: 70000, fileMode: 0o600, uid: 1, gid: 2 },
      { type: "p", path: "/run/fifo" },
      { type: "u", path: "/dev/null", major: 1, minor: 3, fileMode: 0o640 },
    ]).build,
  ).join("\n");
  expect(lines).toContain(`mknodat($directory dev/blk, "x", 0x6180, 0x${makeDevice(259, 70000).toString(16)})`);
  expect(lines).toContain('fchownat($directory dev/blk, "x", 1, 2, 0x100)');
  expect(lines).toContain('mknodat($directory run, "fifo", 0x11b6, 0)');
  expect(lines).toContain('mknodat($directory dev, "null", 0x21a0, 0x103)');
  expect(lines.match(/"null"/g)?.length).toBe(2);
});

test("/dev/ptmx is always the symlink", () => {
  expect(printProgram(plan([{ type: "c", path: "/dev/ptmx", major: 5, minor: 2 }]).build).join()).not.toContain(
    "0x502",
  );
});

test("where nodes cannot be made, the host's are bound", () => {
  const { build, checks } = plan([{ type: "c", path: "/dev/fuse", major: 10, minor: 229 }], { canMknod: false });
  const lines = printProgram(build);
  expect(lines.filter((line) => line.includes("open_tree")).length).toBe(7);
  expect(lines).toContain('$the host\'s /dev/fuse = open_tree(-100, "/dev/fuse", 0x80001)');
  expect(lines).toContain('newfstatat($the host\'s /dev/fuse, "", &$stat of /dev/fuse, word 0, 0x1000)');
  expect(checks.at(-1)).toMatchObject({ path: "/dev/fuse", type: S_IFCHR, major: 10, minor: 229 });
});

test("in a user namespace tsrun opens the host's nodes; a FIFO is still made", () => {
  const linux = {
    namespaces: [{ type: "mount" as const }, { type: "user" as const }],
    devices: [{ type: "p" as const, path: "/fifo" }],
  };
  const { prepare, build } = plan([], {}, { linux });
  expect(printProgram(prepare)[0]).toBe('$the host\'s /dev/null = open_tree(-100, "/dev/null", 1)');
  expect(printProgram(build).join("\n")).toContain('mknodat($rootfs, "fifo", 0x11b6, 0)');
});

test("nothing is made in the host's /dev", () => {
  const mounts = [{ destination: "/dev/", type: "bind", source: "/dev", options: ["rbind"] }];
  expect(plan([], {}, { mounts }).build.steps).toEqual([]);
});

test("in a new /dev nothing is looked for", () => {
  const context = testContext({ mounts: [{ destination: "/dev", type: "tmpfs", options: ["mode=755"] }] });
  planMounts(context);
  const before = context.build.steps.length;
  planDevices(context);
  const lines = printProgram(context.build).slice(before);
  expect(lines[0]).toBe(
    `$made /dev/null = mknodat($mount of tmpfs, "null", 0x21b6, 0x103) ? EEXIST →${before + 1} 0→${before + 2}`,
  );
  expect(lines.join()).not.toContain("openat2");
});

test("a second mount on /dev is a different directory", () => {
  const first = { destination: "/dev", type: "tmpfs", options: ["mode=755"] };
  const context = testContext({ mounts: [first, { destination: "/dev", type: "ramfs" }] });
  planMounts(context);
  expect(context.dev.mount).toBeUndefined();
});

function check(found: number, mode: number, rdev: number) {
  const context = plan([{ type: "c", path: "/dev/x", major: 10, minor: 229 }]);
  const last = context.checks.at(-1)!;
  last.found.value = found;
  last.mode.value = mode;
  last.rdev.value = rdev;
  return () => checkDevices([last]);
}

test("an existing node is compared: same device or nothing found is fine, everything else an error", () => {
  expect(check(0, 0, 0)).not.toThrow();
  expect(check(-17, S_IFCHR + 0o600 + 100000 * 2 ** 32, makeDevice(10, 229))).not.toThrow();
  expect(check(-17, S_IFCHR, makeDevice(10, 228))).toThrow(
    'cannot make the device "/dev/x": there is the character device 10:228 already, not the character device 10:229 (linux.devices[0])',
  );
  expect(check(-17, S_IFBLK, makeDevice(10, 229))).toThrow("the block device 10:229");
  expect(check(5, S_IFIFO, 0)).toThrow("there is a FIFO already");
  expect(check(-17, 0o100644, 0)).toThrow("something that is no device");
});

test("device numbers beyond 8 bits", () => {
  expect(makeDevice(259, 70000)).toBe(0x11110370);
  expect(check(-17, S_IFCHR, makeDevice(4095, 1048575))).toThrow("4095:1048575");
});
