import { AT_FLAGS } from "../abi/auxv.ts";
import { AT_FDCWD, O_CLOEXEC, O_RDONLY } from "../abi/fcntl.ts";
import { CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC } from "../abi/magic.ts";
import { nativeArch } from "../abi/syscalls.ts";
import { close, readText } from "../kernel/files.ts";
import { auxiliaryValue, sys } from "../kernel/kernel.ts";
import { textOf } from "../text.ts";
import type { CgroupFacts, CgroupHierarchy, HostFacts } from "./facts.ts";
import { type CgroupLine, likelyMounts, parseCgroupFile } from "./parse-cgroups.ts";

/** Looks at this machine and at the process that asks; some 70 cheap system calls, no file that takes the kernel long. */
export function readFacts(): HostFacts {
  const effective = readEffectiveCapabilities();
  const bounding = readBoundingCapabilities();
  const nested = inUserNamespace();
  return {
    arch: nativeArch,
    euid: sys("geteuid"),
    egid: sys("getegid"),
    canMount: has(effective, CAP_SYS_ADMIN) && (!nested || ownsMountNamespace()),
    canMknod: has(effective, CAP_MKNOD) && !nested,
    inUserNamespace: nested,
    effectiveCapabilities: effective,
    boundingCapabilities: bounding.set,
    lastCapability: bounding.last,
    cgroup: readCgroupFacts(),
    nofile: readNofile(),
  };
}

/** linux/capability.h */
const CAP_SYS_ADMIN = 21n;
const CAP_MKNOD = 27n;
const _LINUX_CAPABILITY_VERSION_3 = 0x20080522;

function has(set: bigint, capability: bigint): boolean {
  return ((set >> capability) & 1n) === 1n;
}

/** capget(2): two structs of effective, permitted, inheritable; the low 32 capabilities, then the high ones. */
function readEffectiveCapabilities(): bigint {
  const data = new Uint32Array(6);
  sys("capget", new Int32Array([_LINUX_CAPABILITY_VERSION_3, 0]), new Uint8Array(data.buffer));
  return (BigInt(data[3]!) << 32n) | BigInt(data[0]!);
}

/** prctl(2) PR_CAPBSET_READ fails for the first capability that the kernel does not know: no need of /proc. */
function readBoundingCapabilities(): { set: bigint; last: number } {
  const PR_CAPBSET_READ = 23;
  let set = 0n;
  for (let capability = 0; capability < 64; capability++) {
    const present = sys("prctl", PR_CAPBSET_READ, capability, 0, 0, 0);
    if (present < 0) return { set, last: capability - 1 };
    if (present === 1) set |= 1n << BigInt(capability);
  }
  return { set, last: 63 };
}

/** PROC_USER_INIT_INO of linux/proc_ns.h: the initial user namespace has this number on every machine. */
const INITIAL_USER_NAMESPACE = "user:[4026531837]";

/** True when tsrun runs in another user namespace than the initial one. */
export function inUserNamespace(): boolean {
  const link = new Uint8Array(64);
  const length = sys("readlinkat", AT_FDCWD, "/proc/self/ns/user", link, link.length);
  // Without the link the kernel has no user namespaces.
  return length >= 0 && textOf(link.subarray(0, length)) !== INITIAL_USER_NAMESPACE;
}

/**
 * True when the mount namespace belongs to the user namespace that tsrun is in: CAP_SYS_ADMIN counts there only. After
 * `unshare --user` alone it belongs to the parent's, and ioctl_ns(2) refuses to say which that is.
 */
function ownsMountNamespace(): boolean {
  const NS_GET_USERNS = 0xb701;
  const namespace = sys("openat", AT_FDCWD, "/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC, 0);
  if (namespace < 0) return false;
  const owner = sys("ioctl", namespace, NS_GET_USERNS);
  close(namespace);
  if (owner >= 0) close(owner);
  return owner >= 0;
}

const CGROUP_ROOT = "/sys/fs/cgroup";

export function readCgroupFacts(): CgroupFacts {
  const text = readText("/proc/self/cgroup");
  const lines = typeof text === "number" ? [] : parseCgroupFile(text);
  const unified = lines.find((line) => line.controllers.length === 0);
  if (unified !== undefined && fileSystemOf(CGROUP_ROOT) === CGROUP2_SUPER_MAGIC) {
    return { mode: "unified", hierarchies: [hierarchyAt(CGROUP_ROOT, unified)!] };
  }
  const hierarchies: CgroupHierarchy[] = [];
  for (const line of lines) {
    const found = findHierarchy(line);
    if (found !== undefined) hierarchies.push(found);
  }
  if (hierarchies.length === 0) return { mode: "none", hierarchies };
  return { mode: hierarchies.some(({ version }) => version === 2) ? "hybrid" : "v1", hierarchies };
}

/** The kernel names hierarchies that nobody mounted, too: those are left out. */
function findHierarchy(line: CgroupLine): CgroupHierarchy | undefined {
  const mounts =
    line.controllers.length === 0 ? [`${CGROUP_ROOT}/unified`] : likelyMounts(CGROUP_ROOT, line.controllers);
  for (const mount of mounts) {
    const hierarchy = hierarchyAt(mount, line);
    if (hierarchy !== undefined) return hierarchy;
  }
  return undefined;
}

/**
 * In a container without a cgroup namespace, /proc/self/cgroup counts from the host's root, but what is mounted begins
 * at the container's cgroup: there the own cgroup is the root of the mount.
 */
function hierarchyAt(mount: string, { controllers, path }: CgroupLine): CgroupHierarchy | undefined {
  const version = controllers.length === 0 ? 2 : 1;
  const magic = version === 2 ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC;
  const outside = path.startsWith("/..") || path.endsWith(" (deleted)");
  if (!outside && fileSystemOf(mount + path) === magic) return { version, controllers, mount, own: path };
  if (fileSystemOf(mount) === magic) return { version, controllers, mount, own: "/" };
  return undefined;
}

/** f_type of statfs(2), its first word on 64-bit machines; 0 when there is no such path. */
function fileSystemOf(path: string): number {
  const buffer = new BigUint64Array(15);
  return sys("statfs", path, buffer) < 0 ? 0 : Number(buffer[0]);
}

/**
 * Bun raises the soft limit before any of this code runs. The start-up code that `make build` puts in front of it keeps
 * the original in the auxiliary vector's AT_FLAGS, which the kernel always sets to 0.
 */
function readNofile(): { soft: number; hard: number } {
  const RLIMIT_NOFILE = 7;
  const limits = new BigUint64Array(2);
  const failed = sys("prlimit64", 0, RLIMIT_NOFILE, 0, limits);
  if (failed < 0) return { soft: 1024, hard: 1024 };
  const original = Number(auxiliaryValue(AT_FLAGS));
  const hard = Number(limits[1]);
  return { soft: original === 0 ? Number(limits[0]) : Math.min(original, hard), hard };
}
