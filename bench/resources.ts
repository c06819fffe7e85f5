import { readdirSync, readFileSync } from "node:fs";

/** Every limit of cgroup v1 that runc, crun and tsrun all set, and 60 device rules as an engine with many devices has them. */
export function fullResources(): object {
  const [major = 0, minor = 0] = diskNumber();
  const throttle = (rate: number) => [{ major, minor, rate }];
  return {
    devices: deviceRules(),
    memory: { limit: 256 << 20, reservation: 128 << 20, swap: 512 << 20, swappiness: 10 },
    cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: "0", mems: "0" },
    pids: { limit: 100 },
    blockIO: {
      throttleReadBpsDevice: throttle(1 << 30),
      throttleWriteBpsDevice: throttle(1 << 30),
      throttleReadIOPSDevice: throttle(100_000),
      throttleWriteIOPSDevice: throttle(100_000),
    },
  };
}

/** What an engine may change in a container that runs. */
export function changedResources(): object {
  return { memory: { limit: 64 << 20 }, cpu: { quota: 50_000, period: 100_000 }, pids: { limit: 64 } };
}

const RULES = 60;

/** Nothing, then what engines always allow, then single devices. */
function deviceRules(): object[] {
  const rule = (type: string, major: number, minor: number | undefined, access: string) =>
    minor === undefined ? { allow: true, type, major, access } : { allow: true, type, major, minor, access };
  const usual = [
    { allow: false, access: "rwm" },
    { allow: true, type: "c", access: "m" },
    { allow: true, type: "b", access: "m" },
    ...[3, 5, 7, 8, 9].map((minor) => rule("c", 1, minor, "rwm")),
    ...[0, 1, 2].map((minor) => rule("c", 5, minor, "rwm")),
    rule("c", 136, undefined, "rwm"),
  ];
  const single = Array.from({ length: RULES - usual.length }, (_, i) => rule("c", 195 + (i % 6), i, "rw"));
  return [...usual, ...single];
}

/** Major and minor number of some whole disk. */
function diskNumber(): number[] {
  const disk = readdirSync("/sys/block").find((name) => !/^(loop|ram|zram)/.test(name));
  if (disk === undefined) throw new Error("no disk to limit");
  return readFileSync(`/sys/block/${disk}/dev`, "utf8").trim().split(":").map(Number);
}
