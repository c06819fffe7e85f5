import type { Arch } from "../abi/syscalls.ts";

/** What planning must know of this machine and of the process that runs tsrun; read once, handed to pure code. */
export interface HostFacts {
  readonly arch: Arch;
  readonly euid: number;
  readonly egid: number;
  /** CAP_SYS_ADMIN over the mount namespace that tsrun runs in: sources can be opened and prepared on the host's side. */
  readonly canMount: boolean;
  /** CAP_MKNOD in the initial user namespace: device nodes can be made, not only bound from the host. */
  readonly canMknod: boolean;
  /** tsrun runs in a user namespace other than the initial one. */
  readonly inUserNamespace: boolean;
  /** tsrun's own effective and bounding sets, one bit a capability (capabilities(7)). */
  readonly effectiveCapabilities: bigint;
  readonly boundingCapabilities: bigint;
  /** The highest capability that the kernel knows (/proc/sys/kernel/cap_last_cap). */
  readonly lastCapability: number;
  readonly cgroup: CgroupFacts;
  /** RLIMIT_NOFILE as it was before Bun raised the soft limit. */
  readonly nofile: { readonly soft: number; readonly hard: number };
}

/** Which cgroup world this is: https://docs.kernel.org/admin-guide/cgroup-v2.html, cgroups(7). */
export interface CgroupFacts {
  readonly mode: "v1" | "hybrid" | "unified" | "none";
  readonly hierarchies: readonly CgroupHierarchy[];
}

export interface CgroupHierarchy {
  readonly version: 1 | 2;
  /** v1: `["cpu", "cpuacct"]`, or `["name=systemd"]`; v2: empty. */
  readonly controllers: readonly string[];
  /** Where it is mounted: `/sys/fs/cgroup/pids`, `/sys/fs/cgroup/unified`, `/sys/fs/cgroup`. */
  readonly mount: string;
  /** The cgroup that tsrun itself is in, from the hierarchy's root: `/user.slice`. */
  readonly own: string;
}

/** The programs that write the id maps of those who may not: newuidmap(1), newgidmap(1). Absolute paths. */
export interface MapTools {
  readonly newuidmap: string;
  readonly newgidmap: string;
}
