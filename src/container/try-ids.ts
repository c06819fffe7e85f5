import type { HostFacts } from "../host/facts.ts";
import { findMapTools } from "../host/map-tools.ts";
import { GROUP_IDS, type IdKind, USER_IDS } from "../plan/id-maps.ts";
import type { IdMapping } from "../spec/types.ts";
import { freeRange, type IdAccess, type Remedy, readIdAccess, subordinateIds, toolRemedies } from "./explain-maps.ts";

/** Whom a container of a caller without root can have, by their ids inside. */
export interface CallerIds {
  readonly uidMappings: readonly IdMapping[];
  readonly gidMappings: readonly IdMapping[];
  /** Why there is nobody but the caller; undefined when there is. */
  readonly missing: Remedy | undefined;
}

/** 0 is the caller; its subordinate ids follow where it has some of both kinds, and programs that may map them. */
export function readCallerIds(facts: HostFacts): CallerIds {
  const tools = findMapTools();
  const read = (kind: IdKind) => readIdAccess(kind, tools[kind.tool], facts);
  return callerIds(read(USER_IDS), read(GROUP_IDS));
}

/** Nobody but the caller, for the reason given. */
export function onlyCaller({ euid, egid }: HostFacts, missing: Remedy): CallerIds {
  return {
    uidMappings: [{ containerID: 0, hostID: euid, size: 1 }],
    gidMappings: [{ containerID: 0, hostID: egid, size: 1 }],
    missing,
  };
}

export function callerIds(users: IdAccess, groups: IdAccess): CallerIds {
  const [missing] = [...missingFor(USER_IDS, users), ...missingFor(GROUP_IDS, groups)];
  return {
    uidMappings: mappingsOf(users, missing === undefined),
    gidMappings: mappingsOf(groups, missing === undefined),
    missing,
  };
}

function missingFor(kind: IdKind, access: IdAccess): Remedy[] {
  const faults = toolRemedies(kind, access);
  if (faults.length > 0 || subordinateIds(access).length > 0) return faults;
  const user = access.account?.name ?? String(access.uid);
  const { first, count } = freeRange(access.grants);
  const option = kind.of === "user" ? "--add-subuids" : "--add-subgids";
  return [
    {
      why: `user "${user}" has no subordinate ${kind.of} ids in ${kind.given}`,
      hint: `as root: usermod ${option} ${first}-${first + count - 1} ${user}`,
    },
  ];
}

/** As many lines as the kernel takes: nobody has hundreds of grants but by mistake. */
const MOST = 300;

function mappingsOf(access: IdAccess, withSubordinates: boolean): IdMapping[] {
  const mappings: IdMapping[] = [{ containerID: 0, hostID: access.own, size: 1 }];
  if (!withSubordinates) return mappings;
  let next = 1;
  const taken = [{ first: access.own, count: 1 }];
  for (const { first, count } of subordinateIds(access).slice(0, MOST)) {
    if (taken.some((one) => first < one.first + one.count && one.first < first + count)) continue;
    taken.push({ first, count });
    mappings.push({ containerID: next, hostID: first, size: count });
    next += count;
  }
  return mappings;
}
