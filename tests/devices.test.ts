import { expect } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { command } from "./helpers/command.ts";
import type { Device } from "./helpers/config.ts";
import { type Change, mustSucceed, suite } from "./helpers/suite.ts";

const { test, see, refusal, started, exec } = suite("devices");

const device =
  (...devices: Device[]): Change =>
  (config) => {
    config.linux.devices = devices;
  };

const DEFAULT: readonly (readonly [name: string, numbers: string])[] = [
  ["null", "1:3"],
  ["zero", "1:5"],
  ["full", "1:7"],
  ["random", "1:8"],
  ["urandom", "1:9"],
  ["tty", "5:0"],
];

test("the default devices", () => {
  const names = DEFAULT.map(([name]) => `/dev/${name}`).join(" ");
  const lines = see(`stat -c '%n %F %t:%T %a %u:%g' ${names}`).split("\n");
  expect(lines).toEqual(DEFAULT.map(([name, numbers]) => `/dev/${name} character special file ${numbers} 666 0:0`));
});

test("the default devices work", () => {
  const seen = see(
    "echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c; echo x > /dev/full || echo full",
  );
  expect(seen.split("\n")).toEqual(["3", "5", "full"]);
});

test("the default links", () => {
  const seen = see("for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done");
  expect(seen.split("\n")).toEqual([
    "/proc/self/fd",
    "/proc/self/fd/0",
    "/proc/self/fd/1",
    "/proc/self/fd/2",
    "pts/ptmx",
  ]);
});

test("nothing else is in /dev", () => {
  const seen = see("ls /dev")
    .split("\n")
    .filter((name) => name !== "core");
  expect(seen).toEqual([
    "fd",
    "full",
    "null",
    "ptmx",
    "pts",
    "random",
    "stderr",
    "stdin",
    "stdout",
    "tty",
    "urandom",
    "zero",
  ]);
});

test("a character device with mode and owner", () => {
  const change = device({ type: "c", path: "/dev/mine", major: 1, minor: 7, fileMode: 0o640, uid: 12, gid: 34 });
  expect(see("stat -c '%F %t:%T %a %u:%g' /dev/mine; echo x > /dev/mine || true", change)).toBe(
    "character special file 1:7 640 12:34",
  );
});

test("mode, owner and group by default: 0666, root, root, whatever the umask", () => {
  const change: Change = (config, at) => {
    device({ type: "c", path: "/dev/mine", major: 1, minor: 3 })(config, at);
    config.process.user.umask = 0o077;
  };
  expect(see("stat -c '%a %u:%g' /dev/mine", change, { through: ["sh", "-c", 'umask 077; exec "$@"', "sh"] })).toBe(
    "666 0:0",
  );
});

test("a block device", () => {
  const change = device({ type: "b", path: "/dev/block", major: 7, minor: 99, fileMode: 0o600 });
  expect(see("stat -c '%F %t:%T %a' /dev/block", change)).toBe("block special file 7:63 600");
});

test("a named pipe", () => {
  const change = device({ type: "p", path: "/dev/pipe", fileMode: 0o600 });
  expect(see("stat -c '%F %a' /dev/pipe", change)).toBe("fifo 600");
});

test("type u is an unbuffered character device", () => {
  const change = device({ type: "u", path: "/dev/mine", major: 1, minor: 3 });
  expect(see("stat -c '%F %t:%T' /dev/mine", change)).toBe("character special file 1:3");
});

test("numbers beyond 8 bits", () => {
  const change = device({ type: "c", path: "/dev/big", major: 300, minor: 70000 });
  expect(see("ls -l /dev/big", change)).toMatch(/ 300, 70000 /);
});

test("in directories that do not exist, outside /dev too", () => {
  const change = device(
    { type: "c", path: "/dev/a/b/c", major: 1, minor: 3 },
    { type: "c", path: "/var/devices/null", major: 1, minor: 3 },
  );
  expect(see("stat -c %t:%T /dev/a/b/c /var/devices/null", change)).toBe("1:3\n1:3");
});

test("a default device named again, with another mode", () => {
  const change = device({ type: "c", path: "/dev/null", major: 1, minor: 3, fileMode: 0o600, uid: 5, gid: 6 });
  expect(see("stat -c '%t:%T %u:%g' /dev/null", change)).toBe("1:3 5:6");
});

/** The config without its tmpfs on /dev: devices are made in the root file system itself. */
const plainDev: Change = (config) => {
  config.mounts = config.mounts.filter((mount) => mount.destination !== "/dev");
};

test("without a mount on /dev the devices are made in the root file system", () => {
  expect(see("stat -c %t:%T /dev/null /dev/zero", plainDev)).toBe("1:3\n1:5");
});

test("a node that is there already and the same is kept", () => {
  const change: Change = (config, at) => {
    plainDev(config, at);
    mustSucceed(command(["mknod", "-m", "600", `${at.rootfs}/dev/mine`, "c", "1", "5"]));
    device({ type: "c", path: "/dev/mine", major: 1, minor: 5 })(config, at);
  };
  expect(see("stat -c %t:%T /dev/mine", change)).toBe("1:5");
});

test("a node that is there already and another one is refused by name", () => {
  const stderr = refusal((config, at) => {
    plainDev(config, at);
    mustSucceed(command(["mknod", `${at.rootfs}/dev/mine`, "c", "1", "9"]));
    device({ type: "c", path: "/dev/mine", major: 1, minor: 5 })(config, at);
  });
  expect(stderr).toContain("/dev/mine");
});

test("a file in the place of a device is refused by name", () => {
  const stderr = refusal((config, at) => {
    plainDev(config, at);
    writeFileSync(`${at.rootfs}/dev/mine`, "");
    device({ type: "c", path: "/dev/mine", major: 1, minor: 5 })(config, at);
  });
  expect(stderr).toContain("/dev/mine");
});

test("a symlink in the place of a device's directory stays inside", () => {
  const seen = see("stat -c %t:%T /tmp/real/mine", (config, at) => {
    mkdirSync(`${at.rootfs}/tmp/real`);
    symlinkSync("/tmp/real", `${at.rootfs}/links`);
    device({ type: "c", path: "/links/mine", major: 1, minor: 5 })(config, at);
  });
  expect(seen).toBe("1:5");
});

test("an unknown type is refused by name", () => {
  expect(refusal(device({ type: "x", path: "/dev/mine", major: 1, minor: 5 }))).toMatch(/type|"x"/);
});

test("without a number a character device is refused", () => {
  expect(refusal(device({ type: "c", path: "/dev/mine" }))).toMatch(/major|minor|device/);
});

test("exec sees the devices", () => {
  const b = started(device({ type: "c", path: "/dev/mine", major: 1, minor: 5 }));
  expect(mustSucceed(exec(b, ["/bin/stat", "-c", "%t:%T", "/dev/mine"])).stdout).toBe("1:5\n");
});
