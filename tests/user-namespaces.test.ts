import { expect } from "bun:test";
import { chownSync, statSync, writeFileSync } from "node:fs";
import { type Config, grant, unshare } from "./helpers/config.ts";
import { type Change, mustSucceed, suite } from "./helpers/suite.ts";

const { test, see, refusal, started, exec } = suite("user-namespaces");

const MAPPED = 100_000;

/** Ids 0…65535 of the container are 100000…165535 of the host, and the root file system belongs to its root. */
const mapped: Change = (config, { rootfs }) => {
  unshare(config, "user");
  config.linux.uidMappings = [{ containerID: 0, hostID: MAPPED, size: 65536 }];
  config.linux.gidMappings = [{ containerID: 0, hostID: MAPPED, size: 65536 }];
  chownSync(rootfs, MAPPED, MAPPED);
};

const mappedAnd =
  (change: (config: Config, rootfs: string) => void): Change =>
  (config, at) => {
    mapped(config, at);
    change(config, at.rootfs);
  };

test("the maps are those of the config", () => {
  expect(
    see("cat /proc/self/uid_map /proc/self/gid_map", mapped)
      .split("\n")
      .map((line) => line.trim().split(/ +/)),
  ).toEqual([
    ["0", "100000", "65536"],
    ["0", "100000", "65536"],
  ]);
});

test("several ranges in one map", () => {
  const change = mappedAnd((config) => {
    config.linux.uidMappings = [
      { containerID: 0, hostID: MAPPED, size: 10 },
      { containerID: 1000, hostID: 200_000, size: 5 },
      { containerID: 5000, hostID: 300_000, size: 1 },
    ];
  });
  expect(
    see("cat /proc/self/uid_map", change)
      .split("\n")
      .map((line) => line.trim().split(/ +/)),
  ).toEqual([
    ["0", "100000", "10"],
    ["1000", "200000", "5"],
    ["5000", "300000", "1"],
  ]);
});

test("root inside, and the root directory is root's", () => {
  expect(see("id -u; id -g; stat -c %u:%g /", mapped).split("\n")).toEqual(["0", "0", "0:0"]);
});

test("what root makes inside belongs to the mapped id outside", () => {
  const b = started(mapped);
  mustSucceed(exec(b, ["/bin/touch", "/made"]));
  const made = statSync(`${b.rootfs}/made`);
  expect([made.uid, made.gid]).toEqual([MAPPED, MAPPED]);
});

test("a file of an unmapped host id is nobody's", () => {
  const change = mappedAnd((_config, rootfs) => {
    writeFileSync(`${rootfs}/theirs`, "");
    chownSync(`${rootfs}/theirs`, 7, 7);
  });
  expect(see("stat -c %u:%g /theirs", change)).toBe("65534:65534");
});

test("another user of the container", () => {
  const change = mappedAnd((config) => {
    config.process.user = { uid: 1000, gid: 1001 };
    config.process.capabilities = {};
  });
  expect(see("id -u; id -g; grep -h ^Cap /proc/self/status | sort -u -k2 | wc -l", change).split("\n")).toEqual([
    "1000",
    "1001",
    "1",
  ]);
});

test("additional groups", () => {
  const change = mappedAnd((config) => {
    config.process.user.additionalGids = [5, 1234];
  });
  expect(see("grep ^Groups /proc/self/status", change)).toMatch(/^Groups:\t(0 )?5 1234 ?$/);
});

test("capabilities are those of the config, inside the user namespace", () => {
  const change = mappedAnd((config) => grant(config, "CAP_SYS_ADMIN", "CAP_NET_ADMIN"));
  expect(
    see(
      "mount -t tmpfs none /mnt && echo mounted; ip link set lo mtu 1400 && cat /sys/class/net/lo/mtu || true",
      change,
    ),
  ).toStartWith("mounted");
});

test("devices are the host's, bound", () => {
  const seen = see(
    "stat -c '%F %t:%T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty; echo x > /dev/null; head -c 4 /dev/zero | wc -c",
    mapped,
  );
  expect(seen.split("\n")).toEqual([
    "character special file 1:3",
    "character special file 1:5",
    "character special file 1:7",
    "character special file 1:8",
    "character special file 1:9",
    "character special file 5:0",
    "4",
  ]);
});

test("a configured device is the host's, bound", () => {
  const change = mappedAnd((config) => {
    config.linux.devices = [{ type: "c", path: "/dev/kmsg", major: 1, minor: 11, fileMode: 0o600, uid: 0, gid: 0 }];
  });
  expect(see("stat -c '%F %t:%T' /dev/kmsg", change)).toBe("character special file 1:b");
});

test("a configured device that the host does not have is refused by name", () => {
  const change = mappedAnd((config) => {
    config.linux.devices = [{ type: "c", path: "/dev/no-such-device", major: 1, minor: 11 }];
  });
  expect(refusal(change)).toContain("/dev/no-such-device");
});

test("exec is in the user namespace, with its ids", () => {
  const b = started(mapped);
  const flags = ["--user", "1000:1000"];
  const seen = mustSucceed(exec(b, ["/bin/sh", "-c", "id -u; id -g; cat /proc/self/uid_map"], { flags })).stdout;
  expect(seen.trim().split(/\s+/)).toEqual(["1000", "1000", "0", "100000", "65536"]);
});

test("a uid that is not mapped is refused by number", () => {
  expect(refusal(mappedAnd((config) => (config.process.user.uid = 70_000)))).toMatch(/70000|uid|invalid argument/);
});

test("a user namespace without maps is refused", () => {
  expect(refusal((config) => unshare(config, "user"))).toMatch(/mapping/i);
});

test("maps that overlap are refused", () => {
  const change = mappedAnd((config) => {
    config.linux.uidMappings = [
      { containerID: 0, hostID: MAPPED, size: 10 },
      { containerID: 5, hostID: 200_000, size: 10 },
    ];
  });
  expect(refusal(change)).toMatch(/uid_?map|overlap|invalid argument/i);
});

test("341 ranges, one more than the kernel takes, are refused", () => {
  const change = mappedAnd((config) => {
    config.linux.uidMappings = Array.from({ length: 341 }, (_, i) => ({
      containerID: i * 2,
      hostID: MAPPED + i * 2,
      size: 1,
    }));
  });
  expect(refusal(change)).not.toBe("");
});

test("340 ranges are taken", () => {
  // Low numbers: the kernel wants the whole map in less than one page.
  const change = mappedAnd((config, rootfs) => {
    config.linux.uidMappings = Array.from({ length: 340 }, (_, i) => ({
      containerID: i * 2,
      hostID: 1000 + i * 2,
      size: 1,
    }));
    chownSync(rootfs, 1000, MAPPED);
  });
  expect(see("wc -l < /proc/self/uid_map", change)).toBe("340");
});
