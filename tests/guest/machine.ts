import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { command } from "../helpers/command.ts";
import { mustSucceed } from "../helpers/suite.ts";

/**
 * The other tests only show what they are meant to show when the guest is what it is meant to be. inside.sh runs this before
 * and after them, when they have left nothing of systemd's.
 */

const text = (file: string): string => readFileSync(file, "utf8").trim();
const output = (...argv: readonly string[]): string => mustSucceed(command(argv)).stdout.trim();

test("process 1 is systemd, and no unit has failed", () => {
  expect(text("/proc/1/comm")).toBe("systemd");
  expect(output("systemctl", "list-units", "--failed", "--no-legend")).toBe("");
});

test("systemd knows no unit of a container", () => {
  const units = output("systemctl", "list-units", "--all", "--plain", "--no-legend");
  expect(units.split("\n").filter((line) => /^(tsrun|runc|crun|t\d+)-/.test(line))).toEqual([]);
});

test("the only cgroup hierarchy is version 2, with every controller", () => {
  const mounts = text("/proc/self/mountinfo").split("\n");
  expect(mounts.filter((line) => / - cgroup2? /.test(line)).map((line) => line.split(" ")[4])).toEqual([
    "/sys/fs/cgroup",
  ]);
  const controllers = text("/sys/fs/cgroup/cgroup.controllers").split(" ");
  expect(controllers).toEqual(
    expect.arrayContaining(["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"]),
  );
});

test("pressure is measured", () => {
  expect(text("/proc/pressure/memory")).toStartWith("some ");
});

test("AppArmor is on, and a profile can be loaded, entered and removed", () => {
  expect(text("/sys/module/apparmor/parameters/enabled")).toBe("Y");
  expect(text("/sys/kernel/security/lsm").split(",")).toContain("apparmor");
  const profile = "profile tsrun-probe flags=(attach_disconnected) { file, }";
  mustSucceed(command(["apparmor_parser", "--replace"], { stdin: profile }));
  try {
    const script = "echo exec tsrun-probe > /proc/self/attr/apparmor/exec; exec cat /proc/self/attr/apparmor/current";
    expect(output("sh", "-c", script)).toBe("tsrun-probe (enforce)");
  } finally {
    mustSucceed(command(["apparmor_parser", "--remove"], { stdin: profile }));
  }
});

test("the ordinary user has a cgroup of its own, with the controllers that containers need", () => {
  expect(output("as-someone", "id", "-un")).toBe("someone");
  const group = /^0::(.*)$/m.exec(output("as-someone", "cat", "/proc/self/cgroup"))?.[1];
  expect(group).toMatch(/^\/user\.slice\/user-1000\.slice\/user@1000\.service\/app\.slice\/run-.*\.scope$/);
  const script =
    "cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup) && mkdir below && cat cgroup.controllers; rmdir below";
  const controllers = output("as-someone", "sh", "-c", script).split(" ");
  expect(controllers).toEqual(expect.arrayContaining(["cpuset", "cpu", "io", "memory", "pids"]));
});

test("the ordinary user has subordinate ids, and a bus", () => {
  expect(text("/etc/subuid")).toContain("someone:100000:65536");
  expect(output("as-someone", "systemctl", "--user", "is-system-running", "--wait")).toBe("running");
  expect(existsSync("/run/user/1000/bus")).toBe(true);
});

for (const runtime of ["runc", "crun"]) {
  test(`${runtime} runs a container in a scope of systemd`, () => {
    const bundle = mkdtempSync("/tmp/probe-");
    try {
      mustSucceed(
        command(["sh", "-c", 'mkdir rootfs && cp /bin/busybox rootfs && "$0" spec', runtime], { cwd: bundle }),
      );
      const config = JSON.parse(text(`${bundle}/config.json`));
      config.process = { ...config.process, terminal: false, args: ["/busybox", "cat", "/proc/self/cgroup"] };
      config.linux.namespaces = config.linux.namespaces.filter(({ type }: { type: string }) => type !== "cgroup");
      config.linux.cgroupsPath = `system.slice:probe:${runtime}`;
      writeFileSync(`${bundle}/config.json`, JSON.stringify(config));
      const seen = output(runtime, "--systemd-cgroup", "run", "--bundle", bundle, `probe-${runtime}`);
      expect(seen).toContain(`/system.slice/probe-${runtime}.scope`);
    } finally {
      rmSync(bundle, { recursive: true });
    }
  });
}
