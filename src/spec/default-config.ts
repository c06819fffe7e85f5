import type { Config, Mount, Namespace } from "./types.ts";

/**
 * The config that `tsrun spec` writes: a shell on a terminal in `rootfs`, in meaning what `runc spec` writes, without
 * inheritable and ambient capabilities, which no program in a container needs (CVE-2022-29162). With `rootless`, what an
 * unprivileged user with these ids can run: a user namespace that has only them, and no limits.
 */
export function defaultConfig({ rootless }: { rootless?: { uid: number; gid: number } | undefined } = {}): Config {
  return {
    ociVersion: "1.3.0",
    process: defaultProcess(),
    root: { path: "rootfs", readonly: true },
    hostname: "tsrun",
    mounts: defaultMounts(rootless !== undefined),
    linux: {
      ...(rootless === undefined
        ? { resources: { devices: [{ allow: false, access: "rwm" }] } }
        : onlyMapping(rootless)),
      namespaces: defaultNamespaces(rootless !== undefined),
      maskedPaths: [
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/sys/firmware",
        "/proc/scsi",
      ],
      readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
  };
}

function defaultProcess(): NonNullable<Config["process"]> {
  const capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
  return {
    terminal: true,
    user: { uid: 0, gid: 0 },
    args: ["sh"],
    env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
    cwd: "/",
    capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
    rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
    noNewPrivileges: true,
  };
}

/** Without root: no group 5 for terminals, and sysfs only as the host's, because it belongs to the network namespace. */
function defaultMounts(rootless: boolean): Mount[] {
  const sysfs: Mount = rootless
    ? { destination: "/sys", type: "none", source: "/sys", options: ["rbind", "nosuid", "noexec", "nodev", "ro"] }
    : { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] };
  const tty = rootless ? [] : ["gid=5"];
  return [
    { destination: "/proc", type: "proc", source: "proc" },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", ...tty],
    },
    {
      destination: "/dev/shm",
      type: "tmpfs",
      source: "shm",
      options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
    sysfs,
    {
      destination: "/sys/fs/cgroup",
      type: "cgroup",
      source: "cgroup",
      options: ["nosuid", "noexec", "nodev", "relatime", "ro"],
    },
  ];
}

/** Every kind that costs nothing; the host's network without root, where no one could set up another. */
function defaultNamespaces(rootless: boolean): Namespace[] {
  return [
    { type: "pid" },
    ...(rootless ? [] : [{ type: "network" } as const]),
    { type: "ipc" },
    { type: "uts" },
    { type: "mount" },
    ...(rootless ? [{ type: "user" } as const] : []),
    { type: "cgroup" },
  ];
}

function onlyMapping({ uid, gid }: { uid: number; gid: number }) {
  return {
    uidMappings: [{ containerID: 0, hostID: uid, size: 1 }],
    gidMappings: [{ containerID: 0, hostID: gid, size: 1 }],
  };
}
