import { AT_FDCWD, O_DIRECTORY, O_NOFOLLOW, O_PATH } from "../abi/fcntl.ts";
import {
  FSCONFIG_CMD_CREATE,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
} from "../abi/mount.ts";
import { RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS } from "../abi/openat2.ts";
import type { CgroupHierarchy } from "../host/facts.ts";
import { hasUserNamespace, type PlanContext } from "./context.ts";
import { type MountEntry, refused } from "./mount-entry.ts";
import { mountLabelOf } from "./mount-label.ts";
import { wholeAttributes } from "./mount-options.ts";
import {
  attachMount,
  changeAttributes,
  cloneTree,
  closeFd,
  configure,
  makeFileSystem,
  type Origin,
} from "./mount-steps.ts";
import { openAt, openDestination } from "./paths.ts";
import { add, addAll, label, place, type Slot, slot } from "./step.ts";

/**
 * Mounts of type cgroup. On unified v2 the container sees its part of the one hierarchy; on v1 and hybrid a tmpfs with a
 * directory for each, named as on the host, and a symlink for each controller that shares one. With a cgroup namespace
 * these are mounts of the hierarchies themselves, whose root is then the container's cgroup; without, its cgroup is bound.
 */
export function planCgroupMount(context: PlanContext, entry: MountEntry): void {
  const split = context.facts.cgroup.mode === "v1" || context.facts.cgroup.mode === "hybrid";
  if (entry.mount.type === "cgroup" && split) planSplit(context, entry);
  else planUnified(context, entry);
}

/** Whoever mounts cgroup2 in the host's namespace changes the options of all its mounts, nsdelegate among them. */
function hasCgroupNamespace(context: PlanContext): boolean {
  if (context.sharesCgroupNamespace === true) return false;
  return context.namespaceTypes.has("cgroup");
}

/**
 * Without a cgroup namespace, a container that runs as someone's user would write to cgroups that are not its own: it
 * gets them read-only, whatever is asked for (CVE-2023-25809).
 */
function attributesOf(context: PlanContext, entry: MountEntry): number {
  const unprivileged = hasUserNamespace(context) || context.facts.inUserNamespace;
  const wanted = wholeAttributes(entry.options);
  return unprivileged && !hasCgroupNamespace(context) ? wanted | MOUNT_ATTR_RDONLY : wanted;
}

function planUnified(context: PlanContext, entry: MountEntry): void {
  const { build, slots, rootfs } = context;
  const { origin, destination, options } = entry;
  const hierarchy = context.facts.cgroup.hierarchies.find(({ version }) => version === 2);
  const attributes = attributesOf(context, entry);
  const target = openDestination(build, slots, { root: rootfs, path: destination, kind: "directory" }, origin);
  const own = hierarchy === undefined ? undefined : context.cgroupPaths.get(hierarchy.mount);
  const mount = slot(slots, `mount of ${destination}`);
  if (hasCgroupNamespace(context)) makeUnified(context, mount, own, attributes, entry);
  // The whole hierarchy, where /proc/self/cgroup of the container fits; as a bind, for mounting cgroup2 without options
  // would take nsdelegate and the like from the host's.
  else if (hierarchy !== undefined) bindOwn(context, mount, hierarchy.mount, attributes, origin);
  else throw refused(entry, "this host has no cgroups of the second version");
  for (const { type, recursive } of options.propagation) {
    changeAttributes(build, mount, { propagation: type, recursive }, origin);
  }
  attachMount(build, mount, target, origin);
  closeFd(build, mount);
  closeFd(build, target);
}

/** In its mount namespace the container's init still reaches cgroups by the host's path. */
function bindOwn(context: PlanContext, into: Slot, path: string, attributes: number, origin: Origin): void {
  cloneTree(context.build, into, { from: AT_FDCWD, path, recursive: false }, origin);
  if (attributes !== 0) changeAttributes(context.build, into, { set: attributes }, origin);
}

/** EPERM and EBUSY: a user namespace that does not own the cgroup namespace; then its cgroup is bound, as runc does. */
function makeUnified(
  context: PlanContext,
  into: Slot,
  own: string | undefined,
  attributes: number,
  entry: MountEntry,
): void {
  const { build, slots } = context;
  const { origin, options, mount } = entry;
  const system = slot(slots, "context of cgroup2");
  const denied = label();
  const done = label();
  const fallBack = own === undefined ? {} : ({ tolerate: ["EPERM", "EBUSY"], onTolerated: denied } as const);
  const told = { fsContext: system, ...origin };
  add(build, { call: "fsopen", args: ["cgroup2", FSOPEN_CLOEXEC], into: system, ...origin, ...fallBack });
  configure(build, system, [`source=${mount.source ?? "cgroup"}`, ...options.data], origin);
  addAll(build, [
    { call: "fsconfig", args: [system, FSCONFIG_CMD_CREATE, 0, 0, 0], ...told, ...fallBack },
    { call: "fsmount", args: [system, FSMOUNT_CLOEXEC, attributes], into, ...told, ...fallBack },
  ]);
  closeFd(build, system, { onZero: done });
  place(build, denied);
  if (own !== undefined) {
    closeFd(build, system, { tolerate: ["EBADF"] });
    bindOwn(context, into, own, attributes, origin);
  }
  place(build, done);
}

function planSplit(context: PlanContext, entry: MountEntry): void {
  const { build, slots, rootfs } = context;
  const { origin, destination, options } = entry;
  const attributes = attributesOf(context, entry);
  const target = openDestination(build, slots, { root: rootfs, path: destination, kind: "directory" }, origin);
  const system = {
    type: "tmpfs",
    source: "tmpfs",
    data: ["mode=755"],
    attributes: attributes & ~MOUNT_ATTR_RDONLY,
    label: mountLabelOf(context),
  };
  const tmpfs = makeFileSystem(build, slots, system, origin);
  attachMount(build, tmpfs, target, origin);
  closeFd(build, target);
  for (const hierarchy of context.facts.cgroup.hierarchies) {
    planHierarchy(context, tmpfs, hierarchy, attributes & MOUNT_ATTR_RDONLY, entry);
  }
  if ((attributes & MOUNT_ATTR_RDONLY) !== 0) changeAttributes(build, tmpfs, { set: MOUNT_ATTR_RDONLY }, origin);
  for (const { type, recursive } of options.propagation) {
    changeAttributes(build, tmpfs, { propagation: type, recursive }, origin);
  }
  closeFd(build, tmpfs);
}

/** As on the host; in hybrid mode the second version is always called unified. */
function directoryName(hierarchy: CgroupHierarchy): string {
  return hierarchy.version === 2 ? "unified" : hierarchy.mount.slice(hierarchy.mount.lastIndexOf("/") + 1);
}

function planHierarchy(
  context: PlanContext,
  tmpfs: Slot,
  hierarchy: CgroupHierarchy,
  readOnly: number,
  entry: MountEntry,
): void {
  const { build, slots } = context;
  const name = directoryName(hierarchy);
  const origin = { ...entry.origin, what: `mount the cgroup hierarchy "${name}" on "${entry.destination}/${name}"` };
  const attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | readOnly;
  const mount = hierarchyMount(context, hierarchy, attributes, origin);
  if (mount === undefined) return;
  const directory = slot(slots, `${entry.destination}/${name}`);
  add(build, { call: "mkdirat", args: [tmpfs, name, 0o755], ...origin });
  const how = { flags: O_PATH | O_DIRECTORY | O_NOFOLLOW, resolve: RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
  openAt(build, directory, tmpfs, name, how, origin);
  attachMount(build, mount, directory, origin);
  closeFd(build, directory);
  closeFd(build, mount);
  if (hierarchy.controllers.length < 2) return;
  for (const controller of hierarchy.controllers) {
    if (controller === name) continue;
    add(build, { call: "symlinkat", args: [name, tmpfs, controller], ...origin, tolerate: ["EEXIST"] });
  }
}

/** Undefined when there is nothing to show: no cgroup namespace, and the container has no cgroup in this hierarchy. */
function hierarchyMount(
  context: PlanContext,
  hierarchy: CgroupHierarchy,
  attributes: number,
  origin: Origin,
): Slot | undefined {
  if (hasCgroupNamespace(context)) {
    const v2 = hierarchy.version === 2;
    const system = { type: v2 ? "cgroup2" : "cgroup", source: "cgroup", data: [...hierarchy.controllers], attributes };
    return makeFileSystem(context.build, context.slots, system, origin);
  }
  const own = context.cgroupPaths.get(hierarchy.mount);
  if (own === undefined) return undefined;
  const mount = slot(context.slots, `cgroup ${own}`);
  bindOwn(context, mount, own, attributes, origin);
  return mount;
}
