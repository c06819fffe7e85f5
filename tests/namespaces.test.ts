import { expect } from "bun:test";
import { readFileSync, readlinkSync } from "node:fs";
import { share, unshare } from "./helpers/config.ts";
import { mustFail, mustSucceed, suite } from "./helpers/suite.ts";

const { test, see, refusal, started, exec, state, bundle, run } = suite("namespaces");

/** type in config.json → name in /proc/<pid>/ns. */
const KINDS = new Map([
  ["pid", "pid"],
  ["network", "net"],
  ["ipc", "ipc"],
  ["uts", "uts"],
  ["mount", "mnt"],
  ["cgroup", "cgroup"],
  ["time", "time"],
  ["user", "user"],
]);

const mine = (name: string): string => readlinkSync(`/proc/self/ns/${name}`);

function pidOf(b: Parameters<typeof state>[0]): number {
  return (JSON.parse(mustSucceed(state(b)).stdout) as { pid: number }).pid;
}

for (const [type, name] of KINDS) {
  test(`${type}: a new one is not the caller's`, () => {
    const seen = see(`readlink /proc/self/ns/${name}`, (config) => {
      unshare(config, type);
      if (type === "user") mapEverything(config);
    });
    expect(seen).toMatch(new RegExp(`^${name}:\\[\\d+\\]$`));
    expect(seen).not.toBe(mine(name));
  });

  // Without a mount namespace of its own there is no root to pivot into; root.test.ts has that case.
  if (type === "mount") continue;
  test(`${type}: without an entry it is the caller's`, () => {
    const seen = see(`readlink /proc/self/ns/${name}`, (config) => {
      share(config, type);
      if (type === "uts") delete config.hostname;
      if (type === "pid")
        config.mounts = config.mounts.filter((mount) => mount.destination !== "/proc").concat(hostProc);
    });
    expect(seen).toBe(mine(name));
  });
}

const hostProc = { destination: "/proc", type: "bind", source: "/proc", options: ["rbind"] };

function mapEverything(config: Parameters<typeof unshare>[0]): void {
  config.linux.uidMappings = [{ containerID: 0, hostID: 0, size: 65536 }];
  config.linux.gidMappings = [{ containerID: 0, hostID: 0, size: 65536 }];
}

for (const [type, name] of KINDS) {
  if (type === "mount" || type === "user" || type === "time") continue;
  test(`${type}: joined by path`, () => {
    const first = started((config) => unshare(config, type));
    const path = `/proc/${pidOf(first)}/ns/${name}`;
    const seen = see(`readlink /proc/self/ns/${name}`, (config) => {
      unshare(config, type, path);
      if (type === "uts") delete config.hostname;
    });
    expect(seen).toBe(readlinkSync(path));
    expect(seen).not.toBe(mine(name));
  });
}

test("time: joined by path, with the offsets that it has", () => {
  const first = started((config) => {
    unshare(config, "time");
    config.linux.timeOffsets = { boottime: { secs: 5000 } };
  });
  const path = `/proc/${pidOf(first)}/ns/time`;
  const seen = see("readlink /proc/self/ns/time; cat /proc/self/timens_offsets", (config) => {
    unshare(config, "time", path);
  }).split("\n");
  expect(seen[0]).toBe(readlinkSync(path));
  expect(seen[2]).toMatch(/^boottime +5000 +0$/);
});

test("user: joined by path", () => {
  const first = started((config) => {
    unshare(config, "user");
    mapEverything(config);
  });
  const pid = pidOf(first);
  const seen = see("readlink /proc/self/ns/user", (config) => {
    unshare(config, "user", `/proc/${pid}/ns/user`);
    mapEverything(config); // runc wants them, though the namespace has its own.
  });
  expect(seen).toBe(readlinkSync(`/proc/${pid}/ns/user`));
});

test("pid: the container's process is number 1 and sees no other", () => {
  expect(see("echo $$; ls /proc | grep -c '^[0-9]'", undefined).split("\n")).toEqual(["1", "3"]);
});

test("network: a new one has a loopback device and nothing else, which is up", () => {
  expect(see("ls /sys/class/net; ip -o addr show lo", withSys).split("\n")).toEqual([
    "lo",
    expect.stringContaining("inet 127.0.0.1/8 scope host lo"),
    expect.stringContaining("inet6 ::1/128"),
  ]);
});

function withSys(config: Parameters<typeof unshare>[0]): void {
  config.mounts.push({ destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro"] });
}

test("cgroup: in a new one the container is at the top", () => {
  const seen = see("cat /proc/self/cgroup", (config) => unshare(config, "cgroup"));
  for (const line of seen.split("\n")) expect(line).toMatch(/^\d+:[^:]*:\/$/);
});

test("without a cgroup namespace the container sees its path", () => {
  const b = bundle((config) => {
    config.process.args = ["/bin/cat", "/proc/self/cgroup"];
  });
  expect(mustSucceed(run(b)).stdout).toContain(`0::/${b.id}\n`);
});

test("ipc: a new one has the kernel's defaults", () => {
  const host = readFileSync("/proc/sys/kernel/msgmax", "utf8").trim();
  expect(see("cat /proc/sys/kernel/msgmax", undefined)).toBe(host);
});

test("exec is in the namespaces of the container", () => {
  const b = started((config) => unshare(config, "cgroup"));
  const names = ["pid", "net", "ipc", "uts", "mnt", "cgroup", "user"];
  const script = `for n in ${names.join(" ")}; do readlink /proc/self/ns/$n; done`;
  const seen = mustSucceed(exec(b, ["/bin/sh", "-c", script]))
    .stdout.trim()
    .split("\n");
  const pid = pidOf(b);
  expect(seen).toEqual(names.map((name) => readlinkSync(`/proc/${pid}/ns/${name}`)));
});

test("exec is in the time namespace of the container", () => {
  const b = started((config) => unshare(config, "time"));
  const seen = mustSucceed(exec(b, ["/bin/readlink", "/proc/self/ns/time"])).stdout.trim();
  expect(seen).toBe(readlinkSync(`/proc/${pidOf(b)}/ns/time`));
});

for (const [type, name] of [
  ["network", "uts"],
  ["uts", "ipc"],
  ["ipc", "net"],
  ["pid", "net"],
  ["cgroup", "uts"],
] as const) {
  test(`${type}: a path of a ${name} namespace is refused`, () => {
    const stderr = refusal((config) => {
      unshare(config, type, `/proc/self/ns/${name}`);
      if (type === "uts") delete config.hostname;
    });
    expect(stderr).toMatch(/invalid argument|wrong type|not an? .* namespace/i);
  });
}

test("a namespace path that does not exist is refused by name", () => {
  const stderr = refusal((config) => unshare(config, "network", "/run/no-such-namespace"));
  expect(stderr).toContain("/run/no-such-namespace");
  expect(stderr).toContain("no such file or directory");
});

test("a namespace path that is no namespace is refused by name", () => {
  const stderr = refusal((config) => unshare(config, "network", "/etc/passwd"));
  expect(stderr).toMatch(/\/etc\/passwd|invalid argument/);
});

test("the same namespace type twice is refused", () => {
  const b = bundle((config) => config.linux.namespaces.push({ type: "uts" }));
  mustFail(run(b), /uts.*(duplicate|twice|same|once)|(duplicate|malformed).*(uts|namespace)/i);
});

test("an unknown namespace type is refused by name", () => {
  expect(refusal((config) => config.linux.namespaces.push({ type: "colour" }))).toContain("colour");
});
