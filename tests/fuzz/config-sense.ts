import fc from "fast-check";
import type { Sense } from "./from-schema.ts";
import { array, member, number, object, raw, type Tree, text, texts, withMember, without } from "./tree.ts";

type Values = Map<string, fc.Arbitrary<Tree>>;

const oneOf = (...values: readonly string[]): fc.Arbitrary<Tree> => fc.constantFrom(...values).map(text);
const some = (values: readonly string[], maxLength = 4): fc.Arbitrary<Tree> =>
  fc.array(fc.constantFrom(...values), { maxLength }).map(texts);
const between = (min: number, max: number): fc.Arbitrary<Tree> => fc.integer({ min, max }).map(number);
/** Absent: an empty object has no members that could be wrong. */
const maybe = (value: fc.Arbitrary<Tree>): fc.Arbitrary<Tree | undefined> => fc.option(value, { nil: undefined });

/** An object of those members that are there. */
function record(members: Readonly<Record<string, fc.Arbitrary<Tree | undefined>>>): fc.Arbitrary<Tree> {
  const list = Object.entries(members).map(([name, value]) => value.map((tree) => [name, tree] as const));
  return fc
    .tuple(...list)
    .map((all) => object(all.filter((entry): entry is readonly [string, Tree] => entry[1] !== undefined)));
}

const PATHS = [
  "/",
  "/dev/null",
  "/etc/hosts",
  "/data",
  "/a/../b",
  "//x//",
  "/proc/kcore",
  "/sys/firmware",
  "/mnt/é",
  "/./x",
];
const CAPABILITIES = ["CAP_KILL", "CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_NET_RAW", "CAP_CHECKPOINT_RESTORE", "CAP_NOSUCH"];
const SYSCALLS = "read write clone execve openat socket mount bpf semop recvmsg nosuchcall".split(" ");
const ACTIONS = "KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG".split(" ").map((name) => `SCMP_ACT_${name}`);
const RLIMITS =
  "AS CORE CPU DATA FSIZE LOCKS MEMLOCK MSGQUEUE NICE NOFILE NPROC RSS RTPRIO RTTIME SIGPENDING STACK".split(" ");
const CPUS = ["", "0", "0-1", "0,1", " 0 , 1 ", "1-0", "0-70", "99999"];

const mountOption = fc.constantFrom(
  ..."ro rw nosuid nodev noexec sync dirsync noatime strictatime relatime rro rnosuid private rslave shared".split(" "),
  ..."unbindable lazytime mand iversion silent defaults size=64k mode=755 uid=1 nosuchoption=1 tmpcopyup remount".split(
    " ",
  ),
);

const mounts = fc
  .array(
    fc.oneof(
      record({
        destination: oneOf(...PATHS.slice(3), "/mnt", "/mnt/a", "/dev/shm", "relative"),
        type: maybe(
          oneOf("tmpfs", "proc", "sysfs", "mqueue", "devpts", "cgroup", "cgroup2", "none", "overlay", "nosuchfs"),
        ),
        source: maybe(oneOf("none", "tmpfs", "/nothing")),
        options: maybe(fc.array(mountOption, { maxLength: 5 }).map(texts)),
      }),
      record({
        destination: oneOf("/mnt", "/mnt/b", "/etc/hostname", "/data"),
        type: maybe(oneOf("bind", "none")),
        source: oneOf("rootfs/etc", "rootfs/etc/passwd", "/nothing", "rootfs"),
        options: fc
          .tuple(fc.constantFrom("bind", "rbind"), fc.array(mountOption, { maxLength: 4 }))
          .map(([kind, more]) => texts([kind, ...more])),
        uidMappings: maybe(fc.constant(array([mapping(0, 1000, 10)]))),
        gidMappings: maybe(fc.constant(array([mapping(0, 1000, 10)]))),
      }).map(bothMappings),
    ),
    { maxLength: 4 },
  )
  .map(array);

function mapping(containerID: number, hostID: number, size: number): Tree {
  return object([
    ["containerID", number(containerID)],
    ["hostID", number(hostID)],
    ["size", number(size)],
  ]);
}

function bothMappings(mount: Tree): Tree {
  const both = member(mount, "uidMappings") !== undefined && member(mount, "gidMappings") !== undefined;
  return both ? mount : without(mount, "uidMappings", "gidMappings");
}

const rlimits = fc
  .uniqueArray(fc.constantFrom(...RLIMITS), { maxLength: 4 })
  .chain((types) => fc.tuple(...types.map((type) => limitOf(`RLIMIT_${type}`))))
  .map(array);

function limitOf(type: string): fc.Arbitrary<Tree> {
  const value = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.constantFrom(0n, 1n, 64n, 1024n, 2n ** 63n, 2n ** 64n - 1n),
  );
  return fc.tuple(value, value).map(([a, b]) => {
    const [soft, hard] = a < b ? [a, b] : [b, a];
    return object([
      ["type", text(type)],
      ["soft", number(soft)],
      ["hard", number(hard)],
    ]);
  });
}

const scheduler = fc.oneof(
  record({
    policy: oneOf("SCHED_OTHER", "SCHED_BATCH"),
    nice: maybe(between(-20, 19)),
    flags: maybe(some(["SCHED_FLAG_RESET_ON_FORK"], 1)),
  }),
  record({ policy: oneOf("SCHED_IDLE", "SCHED_ISO") }),
  record({
    policy: oneOf("SCHED_FIFO", "SCHED_RR"),
    priority: between(1, 99),
    flags: maybe(some(["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_KEEP_POLICY"], 1)),
  }),
  record({
    policy: oneOf("SCHED_DEADLINE"),
    runtime: between(1024, 100_000),
    deadline: between(100_000, 200_000),
    period: between(200_000, 300_000),
  }),
);

const namespaces = (path: fc.Arbitrary<Tree | undefined>) =>
  fc
    .tuple(
      fc.subarray(["pid", "mount", "ipc", "uts", "network", "user", "cgroup", "time"], { minLength: 4 }),
      fc.array(path, { minLength: 8, maxLength: 8 }),
    )
    .map(([types, paths]) =>
      array(
        types.map((type, at) => {
          const joined = paths[at];
          return object([["type", text(type)], ...(joined === undefined ? [] : [["path", joined] as const])]);
        }),
      ),
    );

const hook = record({
  path: oneOf("/bin/true", "/bin/false", "/bin/nothing"),
  args: maybe(some(["true", "", "é", "-x"])),
  env: maybe(some(["A=1", "PATH=/bin", "B=", "__proto__=1"])),
  timeout: maybe(between(1, 3)),
});
const hooks = fc.array(hook, { maxLength: 2 }).map(array);

const devices = fc
  .uniqueArray(fc.constantFrom("/dev/a", "/dev/b", "/dev/null", "/dev/sub/c", "/x", "/dev/pts/0", "/dev/console"), {
    maxLength: 3,
  })
  .chain((paths) =>
    fc.tuple(
      ...paths.map((path) =>
        record({
          type: oneOf("c", "b", "u", "p"),
          path: fc.constant(text(path)),
          major: between(0, 4095),
          minor: fc.oneof(between(0, 10), fc.constant(number(2 ** 20 - 1))),
          fileMode: maybe(between(0, 0o7777)),
          uid: maybe(between(0, 70_000)),
          gid: maybe(between(0, 70_000)),
        }),
      ),
    ),
  )
  .map(array);

const deviceRule = record({
  allow: fc.boolean().map((allow) => raw(String(allow))),
  type: maybe(oneOf("a", "b", "c", "")),
  major: maybe(between(-1, 300)),
  minor: maybe(between(-1, 300)),
  access: maybe(oneOf("", "r", "rw", "rwm", "m")),
});

const syscallRule = record({
  names: fc.array(fc.constantFrom(...SYSCALLS), { minLength: 1, maxLength: 3 }).map(texts),
  action: oneOf(...ACTIONS),
  errnoRet: maybe(between(0, 4095)),
  args: maybe(
    fc
      .array(
        record({
          index: between(0, 5),
          value: fc.constantFrom(0n, 1n, 2n ** 32n, 2n ** 64n - 1n).map(number),
          valueTwo: maybe(fc.constantFrom(0n, 2n ** 53n + 1n).map(number)),
          op: oneOf(..."NE LT LE EQ GE GT MASKED_EQ".split(" ").map((name) => `SCMP_CMP_${name}`)),
        }),
        { maxLength: 3 },
      )
      .map(array),
  ),
});

/** What is common to configs that are only planned and those that are run. */
function commonValues(): Values {
  const values: Values = new Map([
    ["/$schema", oneOf("x")],
    ["/ociVersion", oneOf("1.0.0", "1.0.2-dev", "1.2.1", "1.3.0")],
    ["/root/path", oneOf("rootfs", "./rootfs", "rootfs/")],
    ["/hostname", oneOf("", "a", "container", "é", "x".repeat(64))],
    ["/domainname", oneOf("", "a", "x.y")],
    ["/mounts", mounts],
    ["/annotations/*", oneOf("", "x", "\0", "é")],
    ["/process/user/uid", between(0, 9)],
    ["/process/user/gid", between(0, 9)],
    ["/process/user/umask", between(0, 0o777)],
    ["/process/user/additionalGids", fc.array(between(0, 9), { maxLength: 3 }).map(array)],
    [
      "/process/args",
      fc
        .tuple(
          fc.constantFrom("/bin/true", "true", "/bin/false", "./x"),
          fc.array(fc.string({ maxLength: 4 }), { maxLength: 3 }),
        )
        .map(([name, more]) => texts([name, ...more.map(withoutNul)])),
    ],
    ["/process/env", some(["PATH=/bin", "A=", "A=2", "__proto__=1", "é=é", "HOME=/x", "LISTEN_FDS=1"])],
    ["/process/cwd", oneOf("/", "/tmp", "/new/directory", "/tmp/../root", "/proc")],
    ["/process/rlimits", rlimits],
    ["/process/scheduler", scheduler],
    ["/process/ioPriority/priority", between(0, 7)],
    ["/process/execCPUAffinity/initial", oneOf(...CPUS)],
    ["/process/execCPUAffinity/final", oneOf(...CPUS)],
    ["/process/consoleSize/height", between(0, 65535)],
    ["/process/consoleSize/width", between(0, 65535)],
    ["/process/terminal", fc.constant(raw("false"))],
    ["/process/apparmorProfile", oneOf("", "unconfined")],
    ["/process/selinuxLabel", oneOf("")],
    ["/linux/mountLabel", oneOf("")],
    ["/linux/namespaces", namespaces(fc.constant(undefined))],
    [
      "/linux/uidMappings",
      fc.constantFrom(
        array([mapping(0, 0, 100_000)]),
        array([mapping(0, 100_000, 65_536)]),
        array([mapping(0, 0, 5), mapping(5, 70_000, 5)]),
      ),
    ],
    ["/linux/gidMappings", fc.constantFrom(array([mapping(0, 0, 100_000)]), array([mapping(0, 100_000, 65_536)]))],
    ["/linux/timeOffsets/monotonic/secs", between(-5, 1_000_000)],
    ["/linux/timeOffsets/boottime/secs", between(-5, 1_000_000)],
    ["/linux/timeOffsets/monotonic/nanosecs", between(0, 999_999_999)],
    ["/linux/timeOffsets/boottime/nanosecs", between(0, 999_999_999)],
    ["/linux/devices", devices],
    ["/linux/maskedPaths", some(PATHS)],
    ["/linux/readonlyPaths", some(PATHS)],
    ["/linux/personality/flags", some(["x"], 1)],
    ["/linux/resources/devices", fc.array(deviceRule, { maxLength: 3 }).map(array)],
    ["/linux/resources/memory/limit", fc.constantFrom(-1n, 0n, 4_000_000n, 2n ** 40n, 2n ** 63n - 1n).map(number)],
    ["/linux/resources/memory/reservation", fc.constantFrom(-1n, 0n, 4_000_000n).map(number)],
    ["/linux/resources/memory/swap", fc.constantFrom(-1n, 0n, 2n ** 63n - 1n).map(number)],
    ["/linux/resources/memory/kernel", fc.constantFrom(-1, 0, 8_000_000).map(number)],
    ["/linux/resources/memory/kernelTCP", fc.constantFrom(-1, 0, 8_000_000).map(number)],
    ["/linux/resources/memory/swappiness", between(0, 100)],
    ["/linux/resources/cpu/burst", fc.constantFrom(0, 10).map(number)],
    ["/linux/resources/cpu/quota", fc.constantFrom(-1, 0, 10_000, 100_000).map(number)],
    ["/linux/resources/cpu/period", fc.constantFrom(0, 1000, 100_000, 5_000_000).map(number)],
    ["/linux/resources/cpu/cpus", oneOf(...CPUS)],
    ["/linux/resources/cpu/mems", oneOf("", "0", "0-1", "9")],
    ["/linux/resources/network/priorities/*/name", oneOf("lo", "nosuch0")],
    ["/linux/resources/pids/limit", fc.constantFrom(-1n, 0n, 1n, 20n, 2n ** 63n - 1n).map(number)],
    ["/linux/resources/hugepageLimits/*/pageSize", oneOf("2MB", "1GB", "64KB")],
    ["/linux/seccomp/defaultAction", oneOf("SCMP_ACT_ALLOW", ...ACTIONS)],
    ["/linux/seccomp/defaultErrnoRet", between(0, 4095)],
    ["/linux/seccomp/listenerPath", fc.constant(text(""))],
    ["/linux/seccomp/listenerMetadata", fc.constant(text(""))],
    ["/linux/seccomp/syscalls", fc.array(syscallRule, { maxLength: 4 }).map(array)],
  ]);
  for (const device of ["weight", "leafWeight"]) {
    values.set(`/linux/resources/blockIO/${device}`, fc.constantFrom(0, 10, 500, 1000).map(number));
    values.set(`/linux/resources/blockIO/weightDevice/*/${device}`, fc.constantFrom(0, 10, 1000).map(number));
  }
  for (const kind of ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]) {
    values.set(`/hooks/${kind}`, hooks);
  }
  for (const set of ["bounding", "effective", "permitted", "inheritable", "ambient"]) {
    values.set(`/process/capabilities/${set}`, some(CAPABILITIES));
  }
  return values;
}

const SYSCTLS = [
  "net.ipv4.ip_forward",
  "net.core.somaxconn",
  "kernel.shmmni",
  "kernel.msgmax",
  "fs.mqueue.msg_max",
  "net/ipv4/conf/lo/mtu",
];

function commonNames(): Map<string, fc.Arbitrary<string>> {
  return new Map([
    [
      "/annotations",
      fc.oneof(fc.constantFrom("__proto__", "constructor", "org.example.a", ""), fc.string({ maxLength: 5 })),
    ],
    ["/linux/sysctl", fc.constantFrom(...SYSCTLS)],
    ["/linux/resources/unified", fc.constantFrom("memory.max", "pids.max", "cpu.weight", "nosuch.file", "io.max")],
    ["/linux/resources/rdma", fc.constantFrom("mlx5_1", "é", "constructor")],
    ["/linux/netDevices", fc.constantFrom("nosuch0", "nosuch1")],
  ]);
}

function withoutNul(value: string): string {
  return value.replaceAll("\0", "");
}

/** Every property as any value that makes sense to somebody: for what is planned, and never done. */
export function wideSense(density: number): Sense {
  const values = commonValues();
  const joined = maybe(oneOf("", "/proc/self/ns/net", "/proc/1/ns/mnt", "/nothing"));
  values.set("/linux/namespaces", namespaces(joined));
  values.set(
    "/process/terminal",
    fc.boolean().map((value) => raw(String(value))),
  );
  values.set("/process/apparmorProfile", oneOf("", "unconfined", "docker-default"));
  values.set("/process/selinuxLabel", oneOf("", "system_u:system_r:container_t:s0:c1,c2"));
  values.set("/linux/mountLabel", oneOf("", "system_u:object_r:container_file_t:s0"));
  values.set("/linux/cgroupsPath", oneOf("", "/a/b", "a", "a/../../b", "system.slice:tsrun:web", "/é"));
  values.set("/linux/seccomp/listenerPath", oneOf("", "/run/agent.sock"));
  return { values, names: commonNames(), density };
}

/**
 * What may really be run: with namespaces of its own of every kind that the host would be changed through, in a cgroup
 * below `cgroup`, with values of sysctls that do no harm wherever they end up.
 */
export function harmlessSense(cgroup: string): Sense {
  const values = commonValues();
  const own = ["pid", "mount", "ipc", "uts", "network"];
  values.set(
    "/linux/namespaces",
    fc
      .subarray(["user", "cgroup", "time"])
      .map((more) => array([...own, ...more].map((type) => object([["type", text(type)]])))),
  );
  values.set("/linux/cgroupsPath", oneOf(cgroup, cgroup.slice(1), `/a/..${cgroup}`));
  values.set("/linux/sysctl/*", oneOf("1", "0", "x"));
  values.set("/process/oomScoreAdj", between(0, 1000));
  values.set("/linux/resources/memory/limit", fc.constantFrom(-1n, 64_000_000n, 2n ** 40n).map(number));
  values.set("/linux/intelRdt", fc.constant(object([])));
  return { values, names: commonNames(), density: 0.2 };
}

/** With a process to run, in namespaces of its own. */
export function runnable(config: Tree): Tree {
  const process =
    member(config, "process") ??
    object([
      ["args", texts(["/bin/true"])],
      ["cwd", text("/")],
    ]);
  const linux = member(config, "linux") ?? object([]);
  const own = array(["pid", "mount", "ipc", "uts", "network"].map((type) => object([["type", text(type)]])));
  const namespaces = member(linux, "namespaces") ?? own;
  return withMember(withMember(config, "process", process), "linux", withMember(linux, "namespaces", namespaces));
}

/** What a valid config must have together: ids with a user namespace, names with a UTS one. */
export function consistent(config: Tree): Tree {
  const linux = member(config, "linux") ?? object([]);
  const has = (type: string) => namesOf(member(linux, "namespaces")).includes(type);
  let fitting = linux;
  if (!has("user")) fitting = without(fitting, "uidMappings", "gidMappings");
  if (!has("time") || hasPath(member(linux, "namespaces"), "time")) fitting = without(fitting, "timeOffsets");
  if (!has("ipc") || !has("network") || !has("uts")) fitting = without(fitting, "sysctl");
  const resources = member(linux, "resources");
  if (resources !== undefined) fitting = withMember(fitting, "resources", withoutSwap(resources));
  const seccomp = member(linux, "seccomp");
  if (seccomp !== undefined) fitting = withMember(fitting, "seccomp", withoutMetadata(seccomp));
  const whole = has("uts") ? config : without(config, "hostname", "domainname");
  const rooted =
    member(whole, "root") === undefined ? withMember(whole, "root", object([["path", text("rootfs")]])) : whole;
  return member(config, "linux") === undefined && member(fitting, "namespaces") === undefined
    ? rooted
    : withMember(rooted, "linux", fitting);
}

function namesOf(namespaces: Tree | undefined): string[] {
  const list = namespaces?.kind === "array" ? namespaces.items : [];
  return list.map((each) => stringOf(member(each, "type")));
}

function hasPath(namespaces: Tree | undefined, type: string): boolean {
  const list = namespaces?.kind === "array" ? namespaces.items : [];
  return list.some((each) => stringOf(member(each, "type")) === type && member(each, "path") !== undefined);
}

function stringOf(tree: Tree | undefined): string {
  return tree?.kind === "raw" ? String(JSON.parse(tree.text)) : "";
}

/** Swap counts memory too. */
function withoutSwap(resources: Tree): Tree {
  const memory = member(resources, "memory");
  if (memory === undefined) return resources;
  const limited = Number(stringOf(member(memory, "limit"))) > 0;
  return withMember(resources, "memory", limited ? memory : without(memory, "swap"));
}

/** It is for the listener. */
function withoutMetadata(seccomp: Tree): Tree {
  return stringOf(member(seccomp, "listenerPath")) === "" ? without(seccomp, "listenerMetadata") : seccomp;
}
