import type { HostFacts } from "../host/facts.ts";
import type { Config } from "../spec/types.ts";
import type { Program, Slot, SlotTable } from "./step.ts";

/**
 * What the planners of a container share. Each planner appends steps to the programs below; they run in this order:
 *
 *     prepare   tsrun, before anything is spawned: opens what the container cannot reach by path
 *     unshare   agent: joins and makes namespaces; its child is the container's init and runs all that follows
 *     attach    tsrun, when the init exists: id maps, cgroups, idmapped mounts
 *     build     init: file systems, devices, tty; then createRuntime and createContainer hooks run
 *     enter     init: masked and read-only paths, pivot_root, sysctl, hostname
 *     identity  init: everything that is given up or set for the process
 *     exec      init, on start: startContainer hooks have run; execve
 */
export interface PlanContext {
  readonly config: Config;
  readonly id: string;
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
  readonly enter: Program;
  readonly identity: Program;
  readonly exec: Program;
  /** What the caller should know although the container runs; each is logged once. */
  readonly warnings: string[];
  /** The init's process id as tsrun sees it. */
  readonly initPid: Slot;
  /** In build and later: an O_PATH descriptor of the root of the container's file system, set by planRootfs. */
  readonly rootfs: Slot;
}

/** True when the init runs in a user namespace that tsrun makes or joins for it. */
export function hasUserNamespace(context: PlanContext): boolean {
  return context.config.linux?.namespaces?.some((namespace) => namespace.type === "user") ?? false;
}

/** True when the container gets its own mount namespace, new or joined. */
export function hasMountNamespace(context: PlanContext): boolean {
  return context.config.linux?.namespaces?.some((namespace) => namespace.type === "mount") ?? false;
}
