import { describe, expect, test } from "bun:test";
import { type TryHost, type TryOptions, tryConfig, tryResources } from "./try-config.ts";

const plain: TryOptions = { network: "none", readOnly: false, mount: [], env: [] };
const root: TryHost = {
  caller: undefined,
  nested: false,
  cwd: "/srv",
  env: { HOME: "/root", LANG: "C.UTF-8", SECRET: "x" },
  isTerminal: false,
  shell: "/bin/bash",
  resolver: ["/run/resolv.conf"],
};
const alone = {
  uidMappings: [{ containerID: 0, hostID: 1000, size: 1 }],
  gidMappings: [{ containerID: 0, hostID: 100, size: 1 }],
  missing: { why: "there is no newuidmap", hint: "apt-get install uidmap" },
};
const someone: TryHost = { ...root, caller: alone, env: { HOME: "/home/someone" } };

const typesOf = (options: Partial<TryOptions>, host: TryHost) =>
  tryConfig({ ...plain, ...options }, [], host).linux?.namespaces?.map(({ type }) => type);

test("a shell in the caller's directory, with a clean environment", () => {
  expect(tryConfig(plain, [], root).process).toMatchObject({
    args: ["/bin/bash"],
    cwd: "/srv",
    terminal: false,
    env: [
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "USER=root",
      "LOGNAME=root",
      "LANG=C.UTF-8",
    ],
  });
});

test("options", () => {
  const options = { ...plain, user: "5:6", env: ["A=1"], workdir: "/w", tty: true, hostname: "h", readOnly: true };
  const config = tryConfig(options, ["a", "b"], root);
  expect(config).toMatchObject({ hostname: "h", root: { path: "/", readonly: true } });
  expect(config.process).toMatchObject({ args: ["a", "b"], cwd: "/w", terminal: true, user: { uid: 5, gid: 6 } });
  expect(config.process?.env?.slice(1)).toEqual(["TERM=xterm", "LANG=C.UTF-8", "A=1"]);
});

test("namespaces", () => {
  expect(typesOf({}, root)).toEqual(["pid", "ipc", "uts", "mount", "cgroup", "network"]);
  expect(typesOf({ network: "host" }, someone)).toEqual(["pid", "ipc", "uts", "mount", "cgroup", "user"]);
  expect(tryConfig(plain, [], someone).linux?.uidMappings).toEqual([{ containerID: 0, hostID: 1000, size: 1 }]);
});

test("users besides the caller: subordinate ids, or what is missing", () => {
  const run = (user: string, host: TryHost) => tryConfig({ ...plain, user }, [], host);
  const more = { containerID: 1, hostID: 100_000, size: 1000 };
  const several = {
    uidMappings: [...alone.uidMappings, more],
    gidMappings: [...alone.gidMappings, more],
    missing: undefined,
  };
  const withIds: TryHost = { ...someone, caller: several };
  expect(run("1000:50", withIds).process?.user).toEqual({ uid: 1000, gid: 50 });
  expect(run("0", withIds).linux?.gidMappings).toEqual(several.gidMappings);
  expect(() => run("1001", withIds)).toThrow("cannot run as user 1001: the container has ids 0 to 1000 (--user)");
  expect(() => run("0:5", someone)).toThrow("cannot run as group 5: without root the container has one group only");
  expect(() => run("5", someone)).toThrow("only, 0: there is no newuidmap (--user)");
});

test("the host's network comes with its resolver's files", () => {
  const destinations = (network: "none" | "host") =>
    tryConfig({ ...plain, network }, [], root).mounts?.map(({ destination }) => destination);
  expect(destinations("none")).not.toContain("/run/resolv.conf");
  expect(destinations("host")?.slice(-2)).toEqual(["/run", "/run/resolv.conf"]);
});

test("mounts: what is read-only is so all the way down", () => {
  const mounts = tryConfig({ ...plain, mount: ["/a/../b:/c", "/d:/e:ro,noexec"] }, [], root).mounts?.slice(-2);
  expect(mounts).toEqual([
    { destination: "/c", type: "bind", source: "/b", options: ["rbind", "rprivate"] },
    { destination: "/e", type: "bind", source: "/d", options: ["rbind", "rprivate", "ro", "noexec", "rro"] },
  ]);
});

describe("limits", () => {
  test.each([
    ["1", 1],
    ["512m", 536870912],
    ["512MiB", 536870912],
    ["1.5g", 1610612736],
    ["2Gb", 2147483648],
    ["10b", 10],
    ["3k", 3072],
  ])("--memory %s", (text, bytes) => {
    expect(tryResources({ ...plain, memory: text })).toEqual({ memory: { limit: bytes, swap: bytes } });
  });

  test.each(["", "0", "-1", "1x", "1 m", "m", "0.0001", "99999999t", "1e9"])("--memory %s is refused", (memory) => {
    expect(() => tryResources({ ...plain, memory })).toThrow("is not a number of bytes");
  });

  test.each(["", "0", "0.001", "-1", "1e3", "one", "1.", ".5"])("--cpus %s is refused", (cpus) => {
    expect(() => tryResources({ ...plain, cpus })).toThrow("is not a number of processors");
  });

  test("--cpus 1.5 --pids 3", () => {
    const cpu = { quota: 150_000, period: 100_000 };
    expect(tryResources({ ...plain, cpus: "1.5", pids: 3 })).toEqual({ cpu, pids: { limit: 3 } });
    expect(tryConfig({ ...plain, cpus: "1.5" }, [], root).linux?.resources).toEqual({ cpu });
  });

  test("none", () => {
    expect(tryResources(plain)).toBeUndefined();
    expect(tryConfig(plain, [], root).linux).not.toHaveProperty("resources");
  });
});

test.each([
  [{ user: "1x" }, "--user"],
  [{ user: "4294967295" }, "--user"],
  [{ user: "" }, "--user"],
  [{ env: ["=x"] }, "--env"],
  [{ mount: ["/a"] }, "--mount"],
  [{ mount: [":/a"] }, "--mount"],
  [{ mount: ["/a:/b:ro:x"] }, "--mount"],
  [{ workdir: "x" }, "--workdir"],
] as const)("%j is refused", (wrong, option) => {
  expect(() => tryConfig({ ...plain, ...wrong }, [], root)).toThrow(option);
});

test("without root there is no other user", () => {
  expect(() => tryConfig({ ...plain, user: "1" }, [], someone)).toThrow("one user only");
});
