import { expect, test } from "bun:test";
import { checkConfig } from "./checks.ts";
import type { Config, IdMapping } from "./types.ts";

const NAMESPACES = ["mount", "pid", "network", "uts", "ipc"] as const;

/** A valid config with these changes to `process` and `linux`, and to the whole. */
function config(change: { process?: object; linux?: object; [name: string]: unknown }): Config {
  const { process, linux, ...rest } = change;
  return {
    ociVersion: "1.3.0",
    root: { path: "rootfs" },
    process: { args: ["sh"], cwd: "/", ...process },
    linux: { namespaces: NAMESPACES.map((type) => ({ type })), ...linux },
    ...rest,
  };
}

function faults(change: Parameters<typeof config>[0]): string[] {
  return checkConfig(config(change), false).faults.map(({ pointer, found }) => `${pointer} ${found}`);
}

const devpts = (option: string) => ({ destination: "/x", type: "devpts", options: ["newinstance", option] });
const map = (containerID: number, hostID: number, size: number): IdMapping => ({ containerID, hostID, size });
const user = { namespaces: [{ type: "user" }], uidMappings: [map(0, 0, 65536)], gidMappings: [map(0, 0, 65536)] };
const rlimit = (type: string, soft: number | bigint, hard: number | bigint) => ({ type, soft, hard });

/** [rule, a config that keeps it, a config that breaks it, beginning of the fault] */
const cases: [string, Parameters<typeof config>[0], Parameters<typeof config>[0], string][] = [
  ...resourceCases(),
  ["version", { ociVersion: "1.9.3-rc.1+dev" }, { ociVersion: "2.0.0" }, '/ociVersion found "2.0.0"'],
  ["version is semver", { ociVersion: "1.0.2-dev" }, { ociVersion: "1.0" }, "/ociVersion"],
  ["root", {}, { root: undefined }, "/root missing"],
  [
    "device rule: type",
    { linux: { resources: { devices: [{ allow: true }, { allow: false, type: "a" }, { allow: false, type: "b" }] } } },
    { linux: { resources: { devices: [{ allow: true, type: "p" }] } } },
    '/linux/resources/devices/0/type found "p"',
  ],
  [
    "device rule: access",
    {
      linux: {
        resources: {
          devices: [
            { allow: true, access: "mwr" },
            { allow: false, access: "" },
          ],
        },
      },
    },
    { linux: { resources: { devices: [{ allow: true, access: "rwx" }] } } },
    '/linux/resources/devices/0/access found "rwx"',
  ],
  [
    "device rule: numbers",
    { linux: { resources: { devices: [{ allow: true, type: "c", major: -1, minor: 0 }] } } },
    { linux: { resources: { devices: [{ allow: true, type: "c", major: 1, minor: -2 }] } } },
    "/linux/resources/devices/0/minor found -2",
  ],
  ["root.path", {}, { root: { path: "" } }, "/root/path"],
  [
    "apparmorProfile is one line",
    { process: { apparmorProfile: "a name with spaces//&:ns:b" } },
    { process: { apparmorProfile: "a\nb" } },
    '/process/apparmorProfile found "a\\nb"',
  ],
  [
    "apparmorProfile fits",
    { process: { apparmorProfile: "x".repeat(4091) } },
    { process: { apparmorProfile: "é".repeat(2046) } },
    "/process/apparmorProfile found 4092 bytes",
  ],
  ["selinuxLabel is one line", {}, { process: { selinuxLabel: "u:r:t\n" } }, '/process/selinuxLabel found "u:r:t\\n"'],
  [
    "mountLabel is one line",
    { linux: { mountLabel: "system_u:object_r:container_file_t:s0:c1,c2" } },
    { linux: { mountLabel: "a\n" } },
    '/linux/mountLabel found "a\\n"',
  ],
  [
    "mountLabel fits",
    { linux: { mountLabel: "x".repeat(255) } },
    { linux: { mountLabel: "x".repeat(256) } },
    "/linux/mountLabel found 256 bytes",
  ],
  [
    "mountLabel adds no options",
    {},
    { linux: { mountLabel: 'a",suid,context="b' } },
    '/linux/mountLabel found "a\\",suid',
  ],
  [
    "env =",
    { process: { env: ["A=", "B=c=d"] } },
    { process: { env: ["A"] } },
    "/process/env/0 invalid environment variable: missing '='",
  ],
  ["env name", {}, { process: { env: ["=x"] } }, "/process/env/0 invalid environment variable: name cannot be empty"],
  [
    "rlimit twice",
    { process: { rlimits: [rlimit("RLIMIT_CPU", 1, 1)] } },
    { process: { rlimits: [rlimit("RLIMIT_CPU", 1, 1), rlimit("RLIMIT_CPU", 1, 1)] } },
    "/process/rlimits/1/type duplicated",
  ],
  ["rlimit unknown", {}, { process: { rlimits: [rlimit("RLIMIT_FOO", 1, 1)] } }, "/process/rlimits/0/type"],
  [
    "rlimit soft",
    { process: { rlimits: [rlimit("RLIMIT_CPU", 2n ** 64n - 1n, 2n ** 64n - 1n)] } },
    { process: { rlimits: [rlimit("RLIMIT_CPU", 2, 1)] } },
    "/process/rlimits/0/soft",
  ],
  [
    "nice",
    { process: { scheduler: { policy: "SCHED_BATCH", nice: 19 } } },
    { process: { scheduler: { policy: "SCHED_OTHER", nice: 20 } } },
    "/process/scheduler/nice",
  ],
  [
    "priority",
    { process: { scheduler: { policy: "SCHED_FIFO", priority: 99 } } },
    { process: { scheduler: { policy: "SCHED_OTHER", priority: 1 } } },
    "/process/scheduler/priority",
  ],
  [
    "priority range",
    { process: { scheduler: { policy: "SCHED_RR", priority: 1 } } },
    { process: { scheduler: { policy: "SCHED_RR" } } },
    "/process/scheduler/priority",
  ],
  [
    "deadline",
    { process: { scheduler: { policy: "SCHED_DEADLINE", runtime: 1, period: 2 } } },
    { process: { scheduler: { policy: "SCHED_OTHER", runtime: 1 } } },
    "/process/scheduler/runtime",
  ],
  [
    "ioPriority",
    { process: { ioPriority: { class: "IOPRIO_CLASS_BE", priority: 7 } } },
    { process: { ioPriority: { class: "IOPRIO_CLASS_BE", priority: 8 } } },
    "/process/ioPriority/priority",
  ],
  [
    "affinity",
    { process: { execCPUAffinity: { initial: "0-3,7", final: "1" } } },
    { process: { execCPUAffinity: { final: "1," } } },
    "/process/execCPUAffinity/final",
  ],
  [
    "affinity text",
    { process: { execCPUAffinity: { initial: "" } } },
    { process: { execCPUAffinity: { initial: "1--2" } } },
    "/process/execCPUAffinity/initial",
  ],
  ["umask", { process: { user: { umask: 0o777 } } }, { process: { user: { umask: 0o1000 } } }, "/process/user/umask"],
  [
    "consoleSize",
    { process: { consoleSize: { height: 70000, width: 1 } } },
    { process: { terminal: true, consoleSize: { height: 70000, width: 1 } } },
    "/process/consoleSize/height",
  ],
  [
    "hostname",
    { hostname: "x" },
    { hostname: "x", linux: { namespaces: [] } },
    "/hostname unable to set hostname without a private UTS namespace",
  ],
  [
    "domainname",
    { domainname: "x", linux: { namespaces: [{ type: "uts", path: "/proc/1/ns/uts" }] } },
    { domainname: "x", linux: { namespaces: [] } },
    "/domainname unable to set domainname",
  ],
  ["hostname length", { hostname: "x".repeat(64) }, { hostname: "ä".repeat(33) }, "/hostname found 66 bytes"],
  [
    "hook path",
    { hooks: { poststop: [{ path: "/bin/x", env: ["A=b"] }] } },
    { hooks: { poststop: [{ path: "x" }] } },
    "/hooks/poststop/0/path",
  ],
  ["hook env", {}, { hooks: { prestart: [{ path: "/x", env: ["A"] }] } }, "/hooks/prestart/0/env/0"],
  [
    "namespace twice",
    {},
    { linux: { namespaces: [{ type: "pid" }, { type: "pid" }] } },
    "/linux/namespaces/1/type malformed spec file: duplicated ns",
  ],
  [
    "namespace path",
    { linux: { namespaces: [{ type: "pid", path: "" }] } },
    { linux: { namespaces: [{ type: "pid", path: "x" }] } },
    "/linux/namespaces/0/path",
  ],
  [
    "mapping namespace",
    { linux: { ...user, uidMappings: [map(0, 1, 1)] } },
    { linux: { uidMappings: [map(0, 1, 1)] } },
    "/linux/uidMappings found id mappings without",
  ],
  [
    "mapping of a new user namespace",
    { linux: { namespaces: [{ type: "user", path: "/u" }] } },
    { linux: { namespaces: [{ type: "user", path: "" }], uidMappings: [map(0, 1, 1)] } },
    "/linux/gidMappings missing",
  ],
  [
    "mapping overlap",
    { linux: { ...user, uidMappings: [map(5, 5, 5), map(0, 0, 5)] } },
    { linux: { ...user, gidMappings: [map(0, 0, 5), map(4, 10, 1)] } },
    "/linux/gidMappings/1/containerID",
  ],
  [
    "mapping host overlap",
    {},
    { linux: { ...user, gidMappings: [map(0, 0, 5), map(5, 4, 1)] } },
    "/linux/gidMappings/1/hostID",
  ],
  [
    "mapping size",
    { linux: { ...user, uidMappings: [map(0, 1, 2 ** 32 - 2)] } },
    { linux: { ...user, uidMappings: [map(0, 1, 2 ** 32 - 1)] } },
    "/linux/uidMappings/0/size",
  ],
  ["mapping empty", {}, { linux: { ...user, uidMappings: [map(0, 0, 0)] } }, "/linux/uidMappings/0/size found 0"],
  [
    "mapping count",
    { linux: { ...user, uidMappings: Array.from({ length: 340 }, (_, i) => map(i, i, 1)) } },
    { linux: { ...user, uidMappings: Array.from({ length: 341 }, (_, i) => map(i, i, 1)) } },
    "/linux/uidMappings found 341",
  ],
  [
    "uid mapped",
    { process: { user: { uid: 9 } }, linux: { ...user, uidMappings: [map(0, 0, 10)] } },
    { process: { user: { uid: 10 } }, linux: { ...user, uidMappings: [map(0, 0, 10)] } },
    "/process/user/uid",
  ],
  [
    "mount owner mapped",
    { mounts: [devpts("gid=5")], linux: { ...user, gidMappings: [map(0, 0, 6)] } },
    { mounts: [devpts("gid=5")], linux: { ...user, gidMappings: [map(0, 0, 5)] } },
    "/mounts/0/options/1 found gid=5",
  ],
  [
    "mount owner mapped, of a file system only",
    { mounts: [{ destination: "/x", options: ["bind", "uid=5"] }], linux: { ...user, uidMappings: [map(0, 0, 5)] } },
    { mounts: [{ ...devpts("uid=5"), type: "tmpfs" }], linux: { ...user, uidMappings: [map(0, 0, 5)] } },
    "/mounts/0/options/1 found uid=5",
  ],
  [
    "gids mapped",
    {},
    { process: { user: { additionalGids: [0, 7] } }, linux: { ...user, gidMappings: [map(0, 0, 7)] } },
    "/process/user/additionalGids/1",
  ],
  [
    "time offsets",
    { linux: { namespaces: [{ type: "time" }], timeOffsets: { boottime: { secs: 1 } } } },
    { linux: { namespaces: [{ type: "time", path: "/x" }], timeOffsets: { boottime: { secs: 1 } } } },
    "/linux/timeOffsets found",
  ],
  [
    "nanoseconds",
    {},
    { linux: { namespaces: [{ type: "time" }], timeOffsets: { monotonic: { nanosecs: 1e9 } } } },
    "/linux/timeOffsets/monotonic/nanosecs",
  ],
  [
    "device numbers",
    { linux: { devices: [{ type: "p", path: "/dev/p" }] } },
    { linux: { devices: [{ type: "c", path: "/dev/c", major: 1 }] } },
    "/linux/devices/0/minor missing",
  ],
  [
    "device path",
    { linux: { devices: [{ type: "c", path: "/dev/c", major: 1, minor: 3 }] } },
    { linux: { devices: [{ type: "p", path: "dev/p" }] } },
    "/linux/devices/0/path",
  ],
  [
    "device twice",
    {},
    {
      linux: {
        devices: [
          { type: "p", path: "/p" },
          { type: "p", path: "/p" },
        ],
      },
    },
    "/linux/devices/1/path",
  ],
  [
    "masked paths",
    { linux: { maskedPaths: ["/proc/kcore"] } },
    { linux: { maskedPaths: ["proc/kcore"] } },
    "/linux/maskedPaths/0",
  ],
  ["readonly paths", {}, { linux: { readonlyPaths: [""] } }, "/linux/readonlyPaths/0"],
  [
    "sysctl ipc",
    { linux: { sysctl: { "kernel.shmmax": "1", "fs/mqueue/msg_max": "1" } } },
    { linux: { namespaces: [], sysctl: { "kernel.shmmax": "1" } } },
    "/linux/sysctl/kernel.shmmax sysctl",
  ],
  [
    "sysctl net",
    { linux: { sysctl: { "net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.1/mtu": "1" } } },
    { linux: { namespaces: [], sysctl: { "net/ipv4/ip_forward": "1" } } },
    '/linux/sysctl/net~1ipv4~1ip_forward sysctl "net.ipv4.ip_forward" not allowed in host network namespace',
  ],
  [
    "sysctl host",
    { linux: { sysctl: { "kernel.domainname": "x" } } },
    { linux: { sysctl: { "vm.swappiness": "1" } } },
    '/linux/sysctl/vm.swappiness sysctl "vm.swappiness" is not in a separate kernel namespace',
  ],
  ["sysctl hostname", {}, { linux: { sysctl: { "kernel.hostname": "x" } } }, "/linux/sysctl/kernel.hostname sysctl"],
  [
    "sysctl user",
    { linux: { ...user, sysctl: { "user.max_user_namespaces": "1" } } },
    { linux: { sysctl: { "user.max_user_namespaces": "1" } } },
    "/linux/sysctl/user.max_user_namespaces setting ucounts without a user namespace not allowed",
  ],
  [
    "sysctl ..",
    {},
    { linux: { sysctl: { "net/../kernel/core_pattern": "x" } } },
    "/linux/sysctl/net~1..~1kernel~1core_pattern found",
  ],
  [
    "mount destination",
    { mounts: [{ destination: "/x" }] },
    { mounts: [{ destination: "" }] },
    "/mounts/0/destination",
  ],
  [
    "mount mappings",
    { mounts: [{ destination: "/x", options: ["rbind"], uidMappings: [map(0, 1, 1)], gidMappings: [map(0, 1, 1)] }] },
    { mounts: [{ destination: "/x", options: ["bind"], uidMappings: [map(0, 1, 1)] }] },
    "/mounts/0/gidMappings missing",
  ],
  [
    "mount mappings bind",
    { mounts: [{ destination: "/x", uidMappings: [] }] },
    { mounts: [{ destination: "/x", type: "tmpfs", uidMappings: [map(0, 1, 1)], gidMappings: [map(0, 1, 1)] }] },
    "/mounts/0/uidMappings found",
  ],
  [
    "notify default",
    { linux: { seccomp: { defaultAction: "SCMP_ACT_ALLOW" } } },
    { linux: { seccomp: { defaultAction: "SCMP_ACT_NOTIFY" } } },
    "/linux/seccomp/defaultAction SCMP_ACT_NOTIFY cannot be used as default action",
  ],
  ...seccompCases(),
];

test.each(cases)("%s", (_rule, good, bad, fault) => {
  expect(faults(good)).toEqual([]);
  const found = faults(bad);
  expect(found).toHaveLength(1);
  expect(found[0]).toStartWith(fault);
});

test("what is unusual but runs is a warning", () => {
  const { faults, warnings } = checkConfig(
    config({ mounts: [{ destination: "data" }], linux: { personality: { domain: "LINUX", flags: ["x"] } } }),
    false,
  );
  expect(faults).toEqual([]);
  expect(warnings).toEqual([
    'mount destination "data" is not absolute, taken as "/data": relative destinations are deprecated',
    "linux.personality.flags is reserved by the specification and was ignored",
  ]);
});

function resourceCases(): typeof cases {
  const rows: [string, good: object, bad: object, fault: string][] = [
    ["memory.limit", { memory: { limit: -1 } }, { memory: { limit: -2 } }, "/memory/limit found -2"],
    [
      "memory.reservation",
      { memory: { reservation: 0 } },
      { memory: { reservation: -9 } },
      "/memory/reservation found -9",
    ],
    ["memory.kernelTCP", { memory: { kernelTCP: 1 } }, { memory: { kernelTCP: -3 } }, "/memory/kernelTCP found -3"],
    [
      "memory.swap is not less than memory.limit",
      { memory: { limit: 10, swap: 10 } },
      { memory: { limit: 11, swap: 10 } },
      "/memory/swap memory+swap limit should be >= memory limit",
    ],
    [
      "memory.swap has a memory.limit",
      { memory: { swap: -1 } },
      { memory: { swap: 10 } },
      "/memory/swap unable to set swap limit without memory limit",
    ],
    [
      "memory.swap beyond what a double holds",
      { memory: { limit: 9007199254740993n, swap: 9007199254740994n } },
      { memory: { limit: 9007199254740994n, swap: 9007199254740993n } },
      "/memory/swap memory+swap limit should be >= memory limit",
    ],
    [
      "memory.swappiness",
      { memory: { swappiness: 100 } },
      { memory: { swappiness: 101 } },
      "/memory/swappiness invalid memory swappiness value: 101 (valid range is 0-100)",
    ],
    ["cpu.burst", { cpu: { quota: 5, burst: 5 } }, { cpu: { quota: 5, burst: 6 } }, "/cpu/burst found 6"],
    [
      "blockIO.weight",
      { blockIO: { weight: 10, leafWeight: 0 } },
      { blockIO: { weight: 9 } },
      "/blockIO/weight found 9",
    ],
    [
      "blockIO.weightDevice",
      { blockIO: { weightDevice: [{ major: 8, minor: 0, leafWeight: 1000 }] } },
      { blockIO: { weightDevice: [{ major: 8, minor: 0, leafWeight: 1001 }] } },
      "/blockIO/weightDevice/0/leafWeight found 1001",
    ],
    [
      "network.priorities",
      { network: { priorities: [{ name: "eth0.1", priority: 1 }] } },
      { network: { priorities: [{ name: "eth0 1\neth1", priority: 1 }] } },
      '/network/priorities/0/name found "eth0 1\\neth1"',
    ],
    ["rdma", { rdma: { mlx5_1: {} } }, { rdma: { "mlx5 1": {} } }, '/rdma/mlx5 1 found "mlx5 1"'],
    [
      "unified",
      { unified: { "hugetlb.2MB.max": "1", "cgroup.freeze": "0" } },
      { unified: { "../memory.max": "1" } },
      '/unified/..~1memory.max unified resource "../memory.max" must be a file name (no slashes)',
    ],
    [
      "unified: form",
      { unified: {} },
      { unified: { memory: "1" } },
      '/unified/memory unified resource "memory" must be in the form CONTROLLER.PARAMETER',
    ],
  ];
  return rows.map(([rule, good, bad, fault]) => [
    `resources: ${rule}`,
    { linux: { resources: good } },
    { linux: { resources: bad } },
    `/linux/resources${fault}`,
  ]);
}

/** Function declarations are there from the start. */
function seccompCases(): typeof cases {
  const withRule = (rule: object, more: object = {}) => ({
    linux: { seccomp: { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["read"], ...rule }], ...more } },
  });
  const listening = { listenerPath: "/run/agent.sock" };
  const notify = { action: "SCMP_ACT_NOTIFY" };
  const errno = (errnoRet: number, action = "SCMP_ACT_ERRNO") => withRule({ action, errnoRet });
  const index = (index: number) =>
    withRule({ action: "SCMP_ACT_ERRNO", args: [{ index, value: 0, op: "SCMP_CMP_EQ" }] });
  const rule = "/linux/seccomp/syscalls/0";
  return [
    [
      "notify write",
      withRule(notify, listening),
      withRule({ ...notify, names: ["write"] }, listening),
      `${rule}/names SCMP_ACT_NOTIFY cannot be used for the write syscall`,
    ],
    ["notify nobody", withRule(notify, listening), withRule(notify), `${rule}/action SCMP_ACT_NOTIFY without`],
    [
      "listener path",
      withRule(notify, listening),
      withRule(notify, { listenerPath: "agent.sock" }),
      '/linux/seccomp/listenerPath found "agent.sock"',
    ],
    [
      "listener metadata",
      withRule(notify, { ...listening, listenerMetadata: "x" }),
      { linux: { seccomp: { defaultAction: "SCMP_ACT_ALLOW", listenerMetadata: "x" } } },
      "/linux/seccomp/listenerMetadata",
    ],
    ["errnoRet", errno(4095), errno(4096), `${rule}/errnoRet found 4096`],
    ["errnoRet for a tracer", errno(65535, "SCMP_ACT_TRACE"), errno(65536, "SCMP_ACT_TRACE"), `${rule}/errnoRet`],
    ["argument index", index(5), index(6), `${rule}/args/0/index found 6`],
    ["empty name", errno(1), withRule({ names: [""], action: "SCMP_ACT_ERRNO" }), `${rule}/names found`],
  ];
}
