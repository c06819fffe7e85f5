import { expect } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { unshare } from "./helpers/config.ts";
import { type Change, suite } from "./helpers/suite.ts";

const { test, see } = suite("cgroup-mounts");

const onlyV2 = existsSync("/sys/fs/cgroup/cgroup.controllers");

const mounted =
  (namespace: boolean, ...options: string[]): Change =>
  (config) => {
    if (namespace) unshare(config, "cgroup");
    config.mounts.push(
      { destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro"] },
      {
        destination: "/sys/fs/cgroup",
        type: "cgroup",
        source: "cgroup",
        options: ["nosuid", "noexec", "nodev", ...options],
      },
    );
  };

/** Hierarchies of the machine that have controllers of cgroup v1, as the directory names of the mixed view. */
const controllers = (): string[] =>
  readdirSync("/sys/fs/cgroup").filter((name) => name !== "unified" && name !== "systemd");

for (const namespace of [true, false]) {
  const with_ = namespace ? "with a cgroup namespace" : "without a cgroup namespace";

  test(`v2 ${with_}: the container's cgroup is ${namespace ? "the top" : "where the host has it"}`, () => {
    const at = namespace ? "" : "$(cut -d: -f3 /proc/self/cgroup | tail -n 1)";
    expect(see(`head -n 1 /sys/fs/cgroup${at}/cgroup.procs`, mounted(namespace), { view: "v2" })).toBe("1");
  });

  test(`v2 ${with_}: type and options`, () => {
    const line = see("grep ' /sys/fs/cgroup ' /proc/self/mountinfo", mounted(namespace, "ro"), { view: "v2" });
    expect(line.split(" ")[5]).toBe("ro,nosuid,nodev,noexec,relatime");
    expect(line.split(" - ")[1]).toMatch(/^cgroup2 /);
  });

  test(`v2 ${with_}: read-only is enforced`, () => {
    const seen = see("mkdir /sys/fs/cgroup/x 2>&1 || true", mounted(namespace, "ro"), { view: "v2" });
    expect(seen).toContain("Read-only file system");
  });

  test(`v2 ${with_}: writable`, () => {
    const at = namespace ? "" : "$(cut -d: -f3 /proc/self/cgroup | tail -n 1)";
    const script = `cd /sys/fs/cgroup${at} && mkdir x && rmdir x && echo made`;
    expect(see(script, mounted(namespace, "rw"), { view: "v2" })).toBe("made");
  });

  const skip = onlyV2 && "there is nothing but cgroup v2 here";

  test(
    `v1 and mixed ${with_}: one directory for each controller`,
    () => {
      const seen = see("ls /sys/fs/cgroup", mounted(namespace)).split("\n");
      for (const name of controllers()) expect(seen).toContain(name);
    },
    { skip },
  );

  test(
    `v1 and mixed ${with_}: the container's own cgroup is the top`,
    () => {
      const seen = see("for d in /sys/fs/cgroup/*; do head -n 1 $d/cgroup.procs; done", mounted(namespace)).split("\n");
      expect(new Set(seen)).toEqual(new Set(["1"]));
    },
    { skip },
  );

  test(
    `v1 and mixed ${with_}: read-only is enforced`,
    () => {
      const seen = see(
        "mkdir /sys/fs/cgroup/memory/x 2>&1; mkdir /sys/fs/cgroup/x 2>&1 || true",
        mounted(namespace, "ro"),
      );
      expect(seen.match(/Read-only file system/g)).toHaveLength(2);
    },
    { skip },
  );

  test(
    `v1 and mixed ${with_}: types and options`,
    () => {
      const lines = see("grep ' /sys/fs/cgroup' /proc/self/mountinfo", mounted(namespace, "ro")).split("\n");
      expect(lines[0]!.split(" - ")[1]).toMatch(/^tmpfs /);
      expect(lines.length).toBeGreaterThanOrEqual(controllers().length + 1);
      for (const line of lines) expect(line.split(" ")[5]).toBe("ro,nosuid,nodev,noexec,relatime");
      for (const line of lines.slice(1)) expect(line.split(" - ")[1]).toMatch(/^cgroup2? /);
    },
    { skip },
  );
}
