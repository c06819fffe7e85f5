import { AT_FDCWD, O_CLOEXEC, O_RDONLY } from "../abi/fcntl.ts";
import { MOUNT_ATTR_IDMAP } from "../abi/mount.ts";
import type { IdMapping } from "../spec/types.ts";
import { hasUserNamespace, type PlanContext } from "./context.ts";
import { type MountEntry, refused } from "./mount-entry.ts";
import { changeAttributes, closeFd, type Origin } from "./mount-steps.ts";
import { add, type Slot, slot, text } from "./step.ts";

/**
 * Shows a bind mount's owners through a mapping (mount_setattr(2) MOUNT_ATTR_IDMAP), in `attach`: by then there is a user
 * namespace that has the mapping, and the copy of the mount is still detached, as the kernel wants it.
 */
export function planIdmap(context: PlanContext, entry: MountEntry, tree: Slot): void {
  const { attach } = context;
  const { origin, options, mount } = entry;
  const mappings =
    mount.uidMappings === undefined && mount.gidMappings === undefined
      ? parseIdmap(options.idmapMappings, context, origin)
      : { uids: mount.uidMappings ?? [], gids: mount.gidMappings ?? [] };
  const own = mappings === undefined;
  const userNamespace = own ? openOwnNamespace(context, origin) : namespaceWith(context, mappings, origin);
  const recursive = options.idmap === "ridmap";
  const hint = { hint: "the file system of the source must support idmapped mounts" };
  changeAttributes(attach, tree, { set: MOUNT_ATTR_IDMAP, userNamespace, recursive }, origin, hint);
  if (own) closeFd(attach, userNamespace);
}

export interface Mappings {
  readonly uids: readonly IdMapping[];
  readonly gids: readonly IdMapping[];
}

function openOwnNamespace(context: PlanContext, origin: Origin): Slot {
  if (!hasUserNamespace(context))
    throw refused({ origin }, "without mappings, idmap needs a user namespace of the container");
  const own = slot(context.slots, "the container's user namespace");
  const path = text("/proc/", context.initPid, "/ns/user");
  add(context.attach, { call: "openat", args: [AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0], into: own, ...origin });
  return own;
}

function namespaceWith(context: PlanContext, { uids, gids }: Mappings, origin: Origin): Slot {
  if (uids.length === 0 || gids.length === 0) throw refused({ origin }, "both uidMappings and gidMappings are needed");
  const wanted = JSON.stringify([uids, gids]);
  const known = context.idmapNamespaces.find((one) => JSON.stringify([one.uidMappings, one.gidMappings]) === wanted);
  if (known !== undefined) return known.slot;
  const namespace = slot(context.slots, `user namespace ${context.idmapNamespaces.length} for idmapped mounts`);
  context.idmapNamespaces.push({ uidMappings: uids, gidMappings: gids, slot: namespace });
  return namespace;
}

/**
 * crun's `idmap=uids=0-1000-10#10-2000-5;gids=0-1000-10`: first id in the mount, first id on the host, how many. With "@"
 * before it the second is an id of the container's user namespace. Undefined for an option without mappings.
 */
export function parseIdmap(value: string, context: PlanContext, origin: Origin): Mappings | undefined {
  if (value === "") return undefined;
  let uids: IdMapping[] = [];
  let gids: IdMapping[] = [];
  for (const part of value.split(";")) {
    const at = part.indexOf("=");
    const name = part.slice(0, at);
    const list = part.slice(at + 1);
    if (name === "uids") uids = parseRanges(list, context.config.linux?.uidMappings ?? [], origin);
    else if (name === "gids") gids = parseRanges(list, context.config.linux?.gidMappings ?? [], origin);
    else throw refused({ origin }, `idmap "${part}" should be uids=FROM-TO-COUNT or gids=FROM-TO-COUNT`);
  }
  return { uids, gids };
}

function parseRanges(list: string, container: readonly IdMapping[], origin: Origin): IdMapping[] {
  return list.split(/[#,]/).map((range) => {
    const match = /^(@?)(\d{1,10})-(\d{1,10})-(\d{1,10})$/.exec(range);
    if (match === null) throw refused({ origin }, `idmap range "${range}" should be FROM-TO-COUNT`);
    const [, relative, from, to, count] = match;
    const hostID = relative === "@" ? onHost(Number(to), container, origin) : Number(to);
    return { containerID: Number(from), hostID, size: Number(count) };
  });
}

function onHost(id: number, container: readonly IdMapping[], origin: Origin): number {
  for (const { containerID, hostID, size } of container) {
    if (id >= containerID && id < containerID + size) return hostID + id - containerID;
  }
  throw refused({ origin }, `idmap: the container's user namespace has no id ${id}`);
}
