import { expect } from "bun:test";
import { existsSync, mkdirSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { grant, share } from "./helpers/config.ts";
import { suite } from "./helpers/suite.ts";

const { test, see, refusal, bundle, run } = suite("root");

/** Field 7 of /proc/self/mountinfo on, up to the dash: `shared:1`, `master:2`, or nothing. */
const ROOT_LINE = "grep ' / / \\| [^ ]* / ' /proc/self/mountinfo | head -n 1";

function propagationOf(line: string): string {
  return line
    .slice(0, line.indexOf(" - "))
    .split(" ")
    .slice(6)
    .map((field) => field.replace(/:\d+$/, ""))
    .join(" ");
}

test("a file written at the root is in the bundle", () => {
  const b = bundle((config) => (config.process.args = ["/bin/sh", "-c", "echo hello > /written"]));
  expect(run(b).status).toBe(0);
  expect(existsSync(`${b.rootfs}/written`)).toBe(true);
});

test("the host's root is out of reach", () => {
  expect(see("ls -d /../bin /../.. ; ls / | tr '\\n' ' '")).toBe(
    "/../..\n/../bin\nbin dev etc home mnt proc root sbin sys tmp",
  );
});

test("readonly", () => {
  const seen = see(
    "echo x > /x; grep -c ' / ro[, ]' /proc/self/mountinfo; echo y > /dev/y && echo writable",
    (config) => {
      config.root.readonly = true;
    },
  );
  expect(seen.split("\n")).toEqual(["1", "writable"]);
});

test("readonly false", () => {
  expect(see("echo x > /x && cat /x", (config) => (config.root.readonly = false))).toBe("x");
});

test("an absolute path", () => {
  expect(see("echo seen", (config, at) => (config.root.path = at.rootfs))).toBe("seen");
});

test("a path with .. in it, relative to the bundle", () => {
  expect(see("echo seen", (config, at) => (config.root.path = `../${at.id}/./rootfs`))).toBe("seen");
});

const PROPAGATION = [
  ["private", ""],
  ["rprivate", ""],
  ["slave", ""], // The root's own mount has no peers to be the slave of.
  ["rslave", ""],
  ["shared", "shared"],
  ["rshared", "shared"],
  ["unbindable", "unbindable"],
  ["runbindable", "unbindable"],
] as const;

for (const [value, shown] of PROPAGATION) {
  test(`rootfsPropagation ${value}`, () => {
    const line = see(ROOT_LINE, (config) => (config.linux.rootfsPropagation = value));
    expect(propagationOf(line).replace(/ ?propagate_from/, "")).toBe(shown);
  });
}

test("an unknown rootfsPropagation is refused by name", () => {
  expect(refusal((config) => (config.linux.rootfsPropagation = "sideways"))).toContain("sideways");
});

test("mounts made inside do not appear outside", () => {
  const seen = see("mount -t tmpfs inner /mnt && grep -c inner /proc/self/mountinfo", (config) => {
    grant(config, "CAP_SYS_ADMIN");
  });
  expect(seen).toBe("1");
});

test("absent: refused by its path", () => {
  const stderr = refusal((_config, at) => rmSync(at.rootfs, { recursive: true }));
  expect(stderr).toContain("rootfs");
  expect(stderr).toContain("no such file or directory");
});

test("a symlink: refused", () => {
  const stderr = refusal((_config, at) => {
    renameSync(at.rootfs, `${at.dir}/elsewhere`);
    symlinkSync("elsewhere", at.rootfs);
  });
  expect(stderr).toMatch(/rootfs/);
  expect(stderr).toMatch(/symlink/);
});

test("a file: refused", () => {
  const stderr = refusal((_config, at) => {
    rmSync(at.rootfs, { recursive: true });
    writeFileSync(at.rootfs, "");
  });
  expect(stderr).toContain("not a directory");
});

test("an empty path: refused", () => {
  expect(refusal((config) => (config.root.path = ""))).toMatch(/root/);
});

test("empty but for a mounted program", () => {
  const b = bundle((config, at) => {
    rmSync(at.rootfs, { recursive: true });
    mkdirSync(at.rootfs);
    config.mounts.push({ destination: "/run/busybox", type: "bind", source: "/bin/busybox", options: ["bind", "ro"] });
    config.process.args = ["/run/busybox", "echo", "ran"];
  });
  expect(run(b).stdout).toBe("ran\n");
});

test("without a mount namespace: the caller's mounts, less ours when the container is gone", () => {
  const seen = see("readlink /proc/self/ns/mnt; ls / | head -n 1", (config) => share(config, "mount"));
  expect(seen.split("\n")).toEqual([readlinkSync("/proc/self/ns/mnt"), "bin"]);
});

test("--no-pivot: chroot instead of pivot_root", () => {
  expect(see("ls / | head -n 1", undefined, { flags: ["--no-pivot"] })).toBe("bin");
});
