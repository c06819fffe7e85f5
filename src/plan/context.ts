import type { HostFacts, MapTools } from "../host/facts.ts";
import type { Config, IdMapping } from "../spec/types.ts";
import type { LastCapabilities } from "./capabilities.ts";
import type { Landing } from "./inside-proc.ts";
import type { Passwd } from "./passwd.ts";
import type { Program, Slot, SlotTable } from "./step.ts";
import type { Trial } from "./trial.ts";

/**
 * What the planners of a container share. Each planner appends steps to the programs below; they run in this order:
 *
 *     prepare   tsrun, before anything is spawned: opens what the container cannot reach by path
 *     unshare   agent: makes and enters cgroups, joins and makes namespaces; its child is the container's init and runs
 *               all that follows
 *     attach    tsrun, when the init exists: id maps and idmapped mounts, then limits, scheduling and the OOM score
 *     build     init: file systems, devices, terminal, sysctl, host name; then createRuntime and createContainer hooks run
 *     restrict  tsrun, after build, which needs devices, and before those hooks: the device rules
 *     enter     init: masked and read-only paths, pivot_root, an end to everything that building has opened
 *     identity  init: everything that is given up or set for the process
 *     exec      init, on start: startContainer hooks have run; execve
 */
export interface PlanContext {
  readonly config: Config;
  readonly id: string;
  /** The types of namespaces that the config has. */
  readonly namespaceTypes: ReadonlySet<string>;
  /** Absolute path of the bundle; relative sources and root.path start here. */
  readonly bundle: string;
  /** Absolute path of the root file system. */
  readonly rootfsPath: string;
  readonly facts: HostFacts;
  readonly slots: SlotTable;
  readonly prepare: Program;
  readonly unshare: Program;
  readonly attach: Program;
  readonly build: Program;
  readonly restrict: Program;
  readonly enter: Program;
  readonly identity: Program;
  readonly exec: Program;
  /** What the caller should know although the container runs; each is logged once. */
  readonly warnings: string[];
  /** The init's process id as tsrun sees it. */
  readonly initPid: Slot;
  /** Where a container that waits for start listens; inherited by the init. */
  listening?: Slot | undefined;
  /** The state directory with its lock, which the first agent inherits: see planClone. */
  readonly lock: Slot;
  /** In build and enter: an O_PATH descriptor of the root of the container's file system, set by planRootfs. */
  readonly rootfs: Slot;
  /** --no-pivot: the root is moved over "/" and entered by chroot(2), for hosts that run from an initramfs. */
  readonly noPivot: boolean;
  /** Mount point of a cgroup hierarchy on the host to the absolute directory of the container's cgroup in it. */
  readonly cgroupPaths: ReadonlyMap<string, string>;
  /** Destinations of mounts to what symlinks of the root file system make of them (readResolvedDestinations). */
  readonly resolvedDestinations?: ReadonlyMap<string, string>;
  /** The cgroup namespace that the config names is tsrun's own (sharesCgroupNamespace). */
  readonly sharesCgroupNamespace?: boolean;
  /** User namespaces for idmapped mounts that have mappings of their own; opened by the lifecycle before `attach`. */
  readonly idmapNamespaces: IdmapNamespace[];
  /** What must hold of things found while `build` ran; judged by `checkDevices` when its slots are known. */
  readonly checks: DeviceCheck[];
  /** tmpcopyup: trees to copy after `build` and before the container's process starts. */
  readonly copies: CopyUp[];
  /**
   * The new file system that config.mounts has on /dev. What belongs directly into it is made by this descriptor: nobody
   * else can reach it yet, so nothing needs to be looked for first.
   */
  readonly dev: { mount?: Slot | undefined };
  /** What config.mounts has on /proc, /sys and /dev/pts, as descriptors: what is in them is found whatever becomes of their paths. */
  readonly kernelMounts: Map<string, Slot>;
  /** What the mounts came to lie on, see planOutsideProc; `next` is the slot for the next one. */
  readonly landings: { next: number; readonly list: Landing[] };
  /** The private procfs (planPrivateProc) where more than one planner needs it: from the beginning of `build` to `enter`. */
  readonly procfs: { mount?: Slot | undefined };
  /** tsrun try: what makes the root file system, and more. */
  readonly trial?: Trial | undefined;
  /** What writes the id maps where tsrun may not (needsMapTools). */
  readonly mapTools?: MapTools | undefined;
  /** Without a mount namespace: what was mounted in the caller's, in order; delete unmounts it in reverse. */
  readonly hostMounts: string[];
  /** What planIdentity leaves to be set when the seccomp filter is loaded. */
  lastCapabilities?: LastCapabilities | undefined;
  /** For HOME. */
  passwd?: Passwd | undefined;
}

/** `slot` must hold a descriptor of a user namespace with exactly these mappings, in tsrun, when `attach` runs. */
export interface IdmapNamespace {
  readonly uidMappings: readonly IdMapping[];
  readonly gidMappings: readonly IdMapping[];
  readonly slot: Slot;
}

/** A device that `build` found in place of making it. */
export interface DeviceCheck {
  /** Path inside the container, or on the host. */
  readonly path: string;
  readonly pointer: string;
  /** Negative errno when it was made, so that there is nothing to check; otherwise what fstat(2) said. */
  readonly found: Slot;
  readonly mode: Slot;
  readonly rdev: Slot;
  /** S_IFCHR, S_IFBLK or S_IFIFO. */
  readonly type: number;
  readonly major: number;
  readonly minor: number;
}

/** Both are descriptors in the init: pidfd_getfd(2), or a walk by the init itself. */
export interface CopyUp {
  readonly from: Slot;
  readonly to: Slot;
  readonly destination: string;
  readonly pointer: string;
  /** Which of mode, uid and gid the tmpfs has of its options, and not of the directory that it hides. */
  readonly asked: readonly string[];
}

/** True when the init runs in a user namespace that tsrun makes or joins for it. */
export function hasUserNamespace(context: PlanContext): boolean {
  return context.namespaceTypes.has("user");
}

/** True when the container gets its own mount namespace, new or joined. */
export function hasMountNamespace(context: PlanContext): boolean {
  return context.namespaceTypes.has("mount");
}
