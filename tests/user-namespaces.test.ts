import { expect } from "bun:test";
import { chownSync, statSync, writeFileSync } from "node:fs";
import { type Config, grant, type IdMapping, unshare } from "./helpers/config.ts";
import { type Change, mustSucceed, RUNTIME_NAME, suite } from "./helpers/suite.ts";

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

/** What is wrong with `change`, and where; runc and crun must refuse it too, in their own words. */
function refused(title: string, change: (config: Config) => void, expected: string): void {
  test(`refused: ${title}`, () => {
    const told = refusal(mappedAnd(change));
    expect(told).not.toBe("");
    if (RUNTIME_NAME === "tsrun") expect(told).toContain(expected);
  });
}

const map = (containerID: number, hostID: number, size: number) => ({ containerID, hostID, size });
/** With small numbers: the kernel wants a map in less than a page. */
const many = (count: number) => Array.from({ length: count }, (_, i) => map(i * 2, 1000 + i * 2, 1));

refused("a uid that is not mapped", (config) => (config.process.user.uid = 70_000), "process.user.uid: found 70000");

refused(
  "a group that is not mapped",
  (config) => (config.process.user.additionalGids = [5, 65536]),
  "process.user.additionalGids[1]: found 65536",
);

refused("no maps", (config) => unshareWithoutMaps(config), "linux.uidMappings: missing");

function unshareWithoutMaps(config: Config): void {
  delete config.linux.uidMappings;
  delete config.linux.gidMappings;
}

refused(
  "maps that overlap inside",
  (config) => (config.linux.uidMappings = [map(0, MAPPED, 10), map(5, 200_000, 10)]),
  "linux.uidMappings[1].containerID: found 5",
);

refused(
  "maps that overlap outside",
  (config) => (config.linux.gidMappings = [map(100, MAPPED + 9, 10), map(0, MAPPED, 10)]),
  "linux.gidMappings[0].hostID: found 100009",
);

refused(
  "maps that go beyond the last id",
  (config) => (config.linux.uidMappings = [map(0, MAPPED, 10), map(4_294_967_290, 200_000, 6)]),
  "linux.uidMappings[1].size: found 6",
);

refused(
  "maps that go beyond the last id of the host",
  (config) => (config.linux.uidMappings = [map(0, MAPPED, 10), map(10, 4_294_967_290, 6)]),
  "linux.uidMappings[1].size: found 6",
);

refused("an empty map", (config) => (config.linux.gidMappings = [map(0, MAPPED, 0)]), "linux.gidMappings[0].size");

refused(
  "341 ranges, one more than the kernel takes",
  (config) => (config.linux.uidMappings = many(341)),
  "linux.uidMappings: found 341 mappings",
);

refused(
  "a map that takes more than a page",
  (config) =>
    (config.linux.uidMappings = many(340).map(({ containerID, hostID }) => map(containerID, 3e9 + hostID, 1))),
  "bytes, and the kernel only one page, less than 4096 (linux.uidMappings)",
);

refused(
  "an owner of a mount that is not mapped",
  (config) => config.mounts.push({ destination: "/t", type: "tmpfs", source: "tmpfs", options: ["uid=65536"] }),
  "mounts[3].options[0]: found uid=65536",
);

const idmapped = (uidMappings: IdMapping[], gidMappings = uidMappings) => ({
  destination: "/mnt",
  source: "/usr",
  options: ["rbind"],
  uidMappings,
  gidMappings,
});

for (const [title, uidMappings, expected] of [
  ["that overlaps", [map(0, 0, 10), map(9, 20, 10)], "mounts[3].uidMappings[1].containerID: found 9"],
  ["that goes beyond the last id", [map(0, 4_294_967_290, 6)], "mounts[3].uidMappings[0].size: found 6"],
  ["of 341 ranges", many(341), "mounts[3].uidMappings: found 341 mappings"],
] as const) {
  test(
    `refused: an idmapped mount ${title}`,
    () => {
      const told = refusal((config) => config.mounts.push(idmapped([...uidMappings])));
      expect(told).toContain(expected);
    },
    { skip: RUNTIME_NAME !== "tsrun" && "runc 1.1.5 and crun 1.8.1 do not know mappings of mounts" },
  );
}

test("340 ranges are taken, and the last id of all", () => {
  const change = mappedAnd((config, rootfs) => {
    config.linux.uidMappings = [...many(339), map(4_294_967_294, 5, 1)];
    chownSync(rootfs, 1000, MAPPED);
  });
  expect(see("wc -l < /proc/self/uid_map", change)).toBe("340");
});
