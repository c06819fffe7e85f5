import type { HostFacts } from "../host/facts.ts";
import {
  type Account,
  type Grant,
  type IdRange,
  readAccount,
  readGrants,
  readSetuidFacts,
  type SetuidFacts,
} from "../host/subordinate-ids.ts";
import type { IdKind } from "../plan/id-maps.ts";
import type { IdMapping } from "../spec/types.ts";

/** Something that is missing, and the command that brings it. */
export interface Remedy {
  readonly why: string;
  readonly hint: string;
}

/** What of this machine decides about who may map which ids. */
export interface IdAccess {
  /** Path of newuidmap or newgidmap. */
  readonly tool: string;
  readonly setuid: SetuidFacts;
  /** tsrun is in a user namespace: the host's root is nobody there. */
  readonly nested: boolean;
  readonly uid: number;
  /** The caller's id of this kind. */
  readonly own: number;
  readonly account: Account | undefined;
  /** All lines of /etc/subuid or /etc/subgid. */
  readonly grants: readonly Grant[];
}

export function readIdAccess(kind: IdKind, tool: string, facts: HostFacts): IdAccess {
  return {
    tool,
    setuid: readSetuidFacts(tool),
    nested: facts.inUserNamespace,
    uid: facts.euid,
    own: facts[kind.own],
    account: readAccount(facts.euid),
    grants: readGrants(kind.given),
  };
}

/** The caller's subordinate ids, in the file's order. */
export function subordinateIds({ grants, account, uid }: IdAccess): Grant[] {
  return grants.filter(({ owner, count }) => count > 0 && (owner === account?.name || owner === String(uid)));
}

/** What keeps newuidmap or newgidmap from working for this caller at all. */
export function toolRemedies(kind: IdKind, access: IdAccess): Remedy[] {
  const { tool, setuid, nested, own, account } = access;
  if (!setuid.exists) return [{ why: `there is no ${kind.tool}`, hint: INSTALL }];
  if (nested) return [{ why: `in this user namespace "${tool}" has no privileges`, hint: "start tsrun outside of it" }];
  const remedies: Remedy[] = [];
  if (!setuid.isPrivileged) {
    const hint = `as root: chown root ${tool} && chmod u+s ${tool}`;
    remedies.push({ why: `"${tool}" is not set-uid root`, hint });
  }
  if (setuid.isOnNosuid) {
    const hint = `as root: mount -o remount,suid "$(findmnt -no TARGET -T ${tool})"`;
    remedies.push({ why: `"${tool}" is on a file system that is mounted nosuid`, hint });
  }
  if (setuid.noNewPrivileges) {
    const hint = "start tsrun outside of what sets it, such as a container or a unit with NoNewPrivileges=yes";
    remedies.push({ why: `this process has no_new_privs, with which "${tool}" has no privileges`, hint });
  }
  if (kind.of === "group" && account !== undefined && account.gid !== own) {
    const why = `the caller's group is ${own}, and ${kind.tool} wants that of "${account.name}" in /etc/passwd, ${account.gid}`;
    remedies.push({ why, hint: "start tsrun with the user's own group" });
  }
  return remedies;
}

const INSTALL = "as root: apt-get install uidmap (Debian, Ubuntu), or dnf install shadow-utils (Fedora)";

/** What of `mappings` the caller was not given. */
export function grantRemedies(kind: IdKind, mappings: readonly IdMapping[], access: IdAccess): Remedy[] {
  const given = subordinateIds(access);
  const missing = missingIds(mappings, access.own, given);
  const [first] = missing;
  if (first === undefined) return [];
  const user = access.account?.name ?? String(access.uid);
  const names = missing.map(rangeText).join(", ");
  const others = access.grants.find((grant) => !given.includes(grant) && missing.some((one) => overlaps(one, grant)));
  const why =
    given.length === 0
      ? `user "${user}" has no subordinate ${kind.of} ids in ${kind.given}`
      : `${kind.of} id ${names} is not among the subordinate ids of "${user}" in ${kind.given}: ${given.map(rangeText).join(", ")}`;
  if (others === undefined && missing.every(({ first }) => first >= LOWEST)) {
    return [{ why, hint: `as root: ${addCommand(kind, missing, user)}` }];
  }
  const whose = others === undefined ? "" : `, but of "${others.owner}"`;
  return [{ why: `${why}${whose}`, hint: otherIds(kind, access, user) }];
}

/** Below are the ids of users and of the system themselves (SUB_UID_MIN of login.defs(5) is 100000). */
const LOWEST = 65536;
const MANY = 65536;

/** Never a command that gives away the ids of somebody else. */
function otherIds(kind: IdKind, access: IdAccess, user: string): string {
  const given = subordinateIds(access);
  if (given.length > 0)
    return `map ids that are the caller's in linux.${kind.property}: ${given.map(rangeText).join(", ")}`;
  const range = freeRange(access.grants);
  return `as root: ${addCommand(kind, [range], user)}; then map those in linux.${kind.property}`;
}

/** Ids that nobody has, as useradd(8) would choose them. */
export function freeRange(grants: readonly Grant[]): IdRange {
  const first = grants.reduce((end, grant) => Math.max(end, grant.first + grant.count), 100_000);
  return { first, count: MANY };
}

function addCommand(kind: IdKind, ranges: readonly IdRange[], user: string): string {
  const option = kind.of === "user" ? "--add-subuids" : "--add-subgids";
  const options = ranges.map(({ first, count }) => `${option} ${first}-${first + count - 1}`);
  return `usermod ${options.join(" ")} ${user}`;
}

function rangeText({ first, count }: IdRange): string {
  return count === 1 ? String(first) : `${first}-${first + count - 1}`;
}

function overlaps(a: IdRange, b: IdRange): boolean {
  return a.first < b.first + b.count && b.first < a.first + a.count;
}

/** Host ids of `mappings` that are neither the caller's own, alone on a line, nor in `given`; ascending. */
export function missingIds(mappings: readonly IdMapping[], own: number, given: readonly IdRange[]): IdRange[] {
  let missing = mappings
    .filter(({ hostID, size }) => size !== 1 || hostID !== own)
    .map(({ hostID, size }): IdRange => ({ first: hostID, count: size }));
  for (const range of given) missing = missing.flatMap((one) => without(one, range));
  return missing.sort((a, b) => a.first - b.first);
}

function without(range: IdRange, taken: IdRange): IdRange[] {
  if (!overlaps(range, taken)) return [range];
  const end = range.first + range.count;
  const before = { first: range.first, count: taken.first - range.first };
  const after = { first: taken.first + taken.count, count: end - taken.first - taken.count };
  return [before, after].filter(({ count }) => count > 0);
}
