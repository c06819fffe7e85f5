import { expect, test } from "bun:test";
import { cleanPath, components, openDestination, resolveInRoot } from "./paths.ts";
import { program, slot, slotTable } from "./step.ts";
import { printProgram } from "./test-printer.ts";

test("paths are cleaned as if chrooted", () => {
  expect(components("/a/./b//../c/")).toEqual(["a", "c"]);
  expect(components("../../etc")).toEqual(["etc"]);
  expect(cleanPath("dev//")).toBe("/dev");
  expect(cleanPath("/..")).toBe("/");
});

function destination(path: string, kind: "file" | "directory"): string[] {
  const table = slotTable();
  const root = slot(table, "rootfs");
  const steps = program("build");
  openDestination(steps, table, { root, path, kind }, { what: "mount", pointer: "/mounts/0" });
  return printProgram(steps);
}

test("a destination that exists costs one call", () => {
  const lines = destination("/a/b", "directory");
  expect(lines[0]).toBe(
    `$destination /a/b = openat2($rootfs, "a/b", {0x290000, 0, 0x12}, 0x18) ? ENOENT →1 ok→${lines.length}`,
  );
});

test("what was made is opened as what it was made, never through a symlink", () => {
  expect(destination("/a/b", "directory").slice(1)).toEqual([
    '$directory a = openat2($rootfs, "a", {0x290000, 0, 0x12}, 0x18) ? ENOENT →2 ok→4',
    'mkdirat($rootfs, "a", 0x1ed) ? EEXIST',
    '$directory a = openat2($rootfs, "a", {0x2b0000, 0, 0xe}, 0x18)',
    'mkdirat($directory a, "b", 0x1ed) ? EEXIST',
    '$destination /a/b = openat2($directory a, "b", {0x2b0000, 0, 0xe}, 0x18) ok→6',
    "close($directory a)",
  ]);
});

test("a file is made by mknod(2): nothing is opened but as O_PATH", () => {
  expect(destination("/f", "file").slice(1)).toEqual([
    'mknodat($rootfs, "f", 0x81ed, 0) ? EEXIST →3',
    '$destination /f = openat2($rootfs, "f", {0x2a0000, 0, 0xe}, 0x18) ok→4',
    '$destination /f = openat2($rootfs, "f", {0x280000, 0, 0x12}, 0x18)',
  ]);
});

test("symlinks are resolved inside the root, existing or not", () => {
  const links = new Map([
    ["/etc/resolv.conf", "../run/systemd/x"],
    ["/var/run", "/run"],
    ["/up", "../../../../etc"],
    ["/loop", "/loop"],
  ]);
  const resolve = (path: string) => resolveInRoot(path, (name) => links.get(name));
  expect(resolve("/etc/resolv.conf")).toBe("/run/systemd/x");
  expect(resolve("/var/run/a/../b")).toBe("/run/b");
  expect(resolve("/up/resolv.conf")).toBe("/run/systemd/x");
  expect(resolve("/plain//path/.")).toBe("/plain/path");
  expect(resolve("/loop/x")).toBeUndefined();
});
