import { expect, test } from "bun:test";
import { type OverlayRoot, planOverlayRoot, type RootPart } from "./overlay-root.ts";
import { printProgram, testContext } from "./test-printer.ts";

const owned = { mode: 0o755, uid: 0, gid: 0, attributes: 4 };
const top: RootPart = { kind: "overlay", path: "/", ...owned };

function planned(root: Partial<OverlayRoot>, readonly = false) {
  const context = testContext({ root: { path: "/", readonly } });
  planOverlayRoot(context, { keep: undefined, inUserNamespace: false, parts: [top], ...root });
  return { build: printProgram(context.build), enter: printProgram(context.enter) };
}

const optionsIn = (build: readonly string[]) =>
  build.flatMap((line) => /fsconfig\(\$context of overlay, 1, "(\w+)", "([^"]*)"/.exec(line)?.slice(1).join("=") ?? []);

test("one overlay over the host's root, changes in a tmpfs that is not left behind", () => {
  const { build } = planned({});
  expect(optionsIn(build)).toEqual([
    "source=tsrun",
    "lowerdir=/",
    "upperdir=upper",
    "workdir=work/0",
    "redirect_dir=off",
    "metacopy=off",
    "index=off",
  ]);
  const unmounted = build.indexOf('umount2(".", 2)');
  const attached = build.findLastIndex((line) => line.startsWith("move_mount($rootfs"));
  expect(unmounted).toBeGreaterThan(0);
  expect(attached).toBeGreaterThan(unmounted);
});

test("kept changes: the directory is the host's, and nothing is unmounted", () => {
  const { build } = planned({ keep: "/kept" });
  expect(build[0]).toContain('openat(-100, "/kept"');
  expect(build.filter((line) => line.startsWith("umount2"))).toEqual([]);
});

test("inner overlays are made first and attached last", () => {
  const home: RootPart = { kind: "overlay", path: "/home", ...owned };
  const { build, enter } = planned({ parts: [top, home] }, true);
  expect(optionsIn(build).filter((option) => option.startsWith("upperdir"))).toEqual([
    "upperdir=upper/home",
    "upperdir=upper",
  ]);
  expect(build.filter((line) => line.startsWith("move_mount")).at(-1)).toContain("$place of /home");
  expect(enter.join("\n")).toMatch(/openat2\(\$rootfs, "home".*\n.*mount_setattr\(\$read-only \/home/);
});

test("in a user namespace: own attributes, own owner, and a root without an overlay", () => {
  const parts: RootPart[] = [
    { ...owned, kind: "directory", path: "/" },
    { kind: "symlink", path: "/bin", target: "usr/bin" },
    { kind: "bind", path: "/swap", makes: "file" },
    { kind: "overlay", path: "/usr", ...owned },
  ];
  const { build } = planned({ inUserNamespace: true, parts });
  expect(optionsIn(build).at(-1)).toBe("workdir=work/0");
  expect(build.some((line) => line.includes('"userxattr"'))).toBe(true);
  expect(build.filter((line) => line.startsWith("fchownat"))).toEqual([]);
  expect(build).toContain('symlinkat("usr/bin", -100, "upper/bin")');
  expect(build.some((line) => line.startsWith('$rootfs = open_tree(-100, "upper"'))).toBe(true);
  expect(build.some((line) => line.includes('open_tree(-100, "/swap"'))).toBe(true);
});
