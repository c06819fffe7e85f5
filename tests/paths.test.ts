import { expect } from "bun:test";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { grant } from "./helpers/config.ts";
import { type Change, mustSucceed, suite } from "./helpers/suite.ts";

const { test, see, refusal, started, exec } = suite("paths");

const masked =
  (...paths: string[]): Change =>
  (config, at) => {
    config.linux.maskedPaths = paths;
    mkdirSync(`${at.rootfs}/secret/deep`, { recursive: true });
    writeFileSync(`${at.rootfs}/secret/file`, "secret\n");
    writeFileSync(`${at.rootfs}/key`, "secret\n");
  };

const readonly =
  (...paths: string[]): Change =>
  (config, at) => {
    masked()(config, at);
    config.linux.readonlyPaths = paths;
  };

test("a masked file is empty", () => {
  expect(see("cat /key; stat -c %t:%T /key", masked("/key"))).toBe("1:3");
});

test("a masked directory is empty, and read-only", () => {
  const seen = see("ls -A /secret; touch /secret/x 2>&1 || true", masked("/secret"));
  expect(seen).toMatch(/^touch: \/secret\/x: Read-only file system$/);
});

test("masked files and directories of /proc", () => {
  const script = "wc -c < /proc/keys; ls /proc/irq | wc -l; wc -c < /proc/version";
  const [keys, irq, version] = see(script, masked("/proc/keys", "/proc/irq")).split("\n");
  expect([keys, irq]).toEqual(["0", "0"]);
  expect(Number(version)).toBeGreaterThan(10);
});

test("a masked path that does not exist is ignored, and not made", () => {
  expect(see("ls /nothing 2>&1 || true; ls /not 2>&1 || true", masked("/nothing/at/all", "/not"))).toBe(
    "ls: /nothing: No such file or directory\nls: /not: No such file or directory",
  );
});

test("a masked symlink masks what it points to, inside", () => {
  const seen = see("cat /link; cat /etc/group | wc -l", (config, at) => {
    symlinkSync("/key", `${at.rootfs}/link`);
    masked("/link")(config, at);
  });
  expect(seen).toBe("3");
});

test("masked for exec too", () => {
  const b = started(masked("/key"));
  expect(mustSucceed(exec(b, ["/bin/cat", "/key"])).stdout).toBe("");
});

test("the host's file is as it was", () => {
  const b = started(masked("/key"));
  expect(readFileSync(`${b.rootfs}/key`, "utf8")).toBe("secret\n");
});

test("read-only: a file", () => {
  expect(see("cat /key; echo x 2>&1 > /key || true", readonly("/key"))).toStartWith("secret");
  const seen = see("(echo x > /key) 2>&1 || true; cat /key", readonly("/key"));
  expect(seen).toBe("/bin/sh: can't create /key: Read-only file system\nsecret");
});

test("read-only: a directory and what is in it", () => {
  const seen = see("touch /secret/x /secret/deep/x 2>&1; cat /secret/file", readonly("/secret"));
  expect(seen.split("\n")).toEqual([
    "touch: /secret/x: Read-only file system",
    "touch: /secret/deep/x: Read-only file system",
    "secret",
  ]);
});

test("read-only: /proc/sys", () => {
  const change: Change = (config, at) => {
    readonly("/proc/sys")(config, at);
    grant(config, "CAP_SYS_ADMIN", "CAP_NET_ADMIN");
  };
  const seen = see("(echo 1 > /proc/sys/net/ipv4/ip_forward) 2>&1 || true", change);
  expect(seen).toContain("Read-only file system");
});

test("read-only keeps the other flags of the mount", () => {
  const seen = see("grep ' /proc/sys ' /proc/self/mountinfo", (config, at) => {
    config.mounts[0] = { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] };
    readonly("/proc/sys")(config, at);
  });
  expect(seen.split(" ")[5]).toBe("ro,nosuid,nodev,noexec,relatime");
});

test("a read-only path that does not exist is ignored, and not made", () => {
  expect(see("ls /nothing 2>&1 || true", readonly("/nothing"))).toBe("ls: /nothing: No such file or directory");
});

test("masked wins over read-only", () => {
  const seen = see("wc -c < /key", (config, at) => {
    readonly("/key")(config, at);
    config.linux.maskedPaths = ["/key"];
  });
  expect(seen).toBe("0");
});

test("the usual lists of engines", () => {
  const seen = see(
    "ls /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v : | tr -d '\\n'; wc -c < /proc/timer_list",
    (config) => {
      config.mounts.push({ destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro"] });
      config.linux.maskedPaths = [
        "/proc/asound",
        "/proc/acpi",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
      ];
      config.linux.readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
    },
  );
  expect(seen).toBe("0");
});

test("a relative masked path is refused by name", () => {
  expect(refusal(masked("proc/keys"))).toContain("proc/keys");
});
