import { AT_FDCWD } from "../abi/fcntl.ts";
import { TsrunError } from "../errors.ts";
import type { CgroupFacts, CgroupHierarchy } from "../host/facts.ts";
import { readText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import type { Resources } from "../spec/types.ts";

/** What `tsrun try` has an option for; each is a property of linux.resources as well. */
const CONTROLLERS = ["memory", "cpu", "pids"] as const;

type Controller = (typeof CONTROLLERS)[number];

/** Throws for a limit that no cgroup can enforce here: in terms of the options, and before anything is made. */
export function checkLimits(resources: Resources, facts: CgroupFacts): void {
  for (const controller of CONTROLLERS) if (resources[controller] !== undefined) checkController(controller, facts);
}

/** Where a controller is: bound to a v1 hierarchy, or else in the v2 one, when there is one. */
function hierarchyOf({ hierarchies }: CgroupFacts, controller: Controller): CgroupHierarchy | undefined {
  return (
    hierarchies.find(({ controllers }) => controllers.includes(controller)) ??
    hierarchies.find(({ version }) => version === 2)
  );
}

function checkController(controller: Controller, facts: CgroupFacts): void {
  const hierarchy = hierarchyOf(facts, controller);
  if (hierarchy === undefined || !isEnabled(hierarchy, controller)) throw missing(controller);
  const parent = parentOf(hierarchy, facts);
  const isThere = hierarchy.version === 1 || words(`${parent}/cgroup.controllers`).includes(controller);
  const handsDown = hierarchy.version === 1 || words(`${parent}/cgroup.subtree_control`).includes(controller);
  const isOurs = isWritable(parent) && (handsDown || isWritable(`${parent}/cgroup.subtree_control`));
  if (!isThere || !isOurs) throw notDelegated(controller, parent);
}

/** Where the container's cgroup will be made, see cgroupDirectories. */
function parentOf({ mount, own }: CgroupHierarchy, { mode }: CgroupFacts): string {
  const path = mode === "unified" ? own.slice(0, own.lastIndexOf("/")) : own;
  return path === "/" ? mount : mount + path;
}

function isEnabled({ version, mount }: CgroupHierarchy, controller: Controller): boolean {
  return version === 1 || words(`${mount}/cgroup.controllers`).includes(controller);
}

function words(path: string): string[] {
  const text = readText(path);
  return typeof text === "number" ? [] : text.trim().split(" ");
}

/** With the effective ids. */
function isWritable(path: string): boolean {
  const W_OK = 2;
  const AT_EACCESS = 0x200;
  return sys("faccessat2", AT_FDCWD, path, W_OK, AT_EACCESS) === 0;
}

function optionOf(controller: Controller): string {
  return controller === "cpu" ? "--cpus" : `--${controller}`;
}

function missing(controller: Controller): TsrunError {
  const hint =
    controller === "memory"
      ? "some distributions leave it off: start the kernel with cgroup_enable=memory"
      : "it has to be mounted below /sys/fs/cgroup, and built into the kernel";
  const message = `cannot limit ${controller}: this machine has no cgroup controller "${controller}" (${optionOf(controller)})`;
  return new TsrunError(message, { code: "ENOTSUP", hint });
}

function notDelegated(controller: Controller, parent: string): TsrunError {
  const message = `cannot limit ${controller}: the cgroup controller "${controller}" is not delegated to you in "${parent}" (${optionOf(controller)})`;
  const hint = "as root, or where systemd runs: systemd-run --user --scope -p Delegate=yes tsrun try …";
  return new TsrunError(message, { code: "EACCES", hint });
}
