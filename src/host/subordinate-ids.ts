import { errnoNumber } from "../abi/errno.ts";
import { AT_FDCWD } from "../abi/fcntl.ts";
import { readText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";

/** Ids of the host from `first` on. */
export interface IdRange {
  readonly first: number;
  readonly count: number;
}

/** A line of /etc/subuid or /etc/subgid (subuid(5)). */
export interface Grant extends IdRange {
  /** A name, or a user id in decimal; of a user also in /etc/subgid. */
  readonly owner: string;
}

/** A user of /etc/passwd. */
export interface Account {
  readonly name: string;
  readonly gid: number;
}

/** Whatever else is in the file, shadow's programs pass over it too. */
export function parseGrants(text: string): Grant[] {
  const grants: Grant[] = [];
  for (const line of text.split("\n")) {
    const [, owner, first, count] = /^([^#:][^:]*):(\d{1,10}):(\d{1,10})$/.exec(line.trim()) ?? [];
    if (owner !== undefined) grants.push({ owner, first: Number(first), count: Number(count) });
  }
  return grants;
}

export function parseAccount(passwd: string, uid: number): Account | undefined {
  for (const line of passwd.split("\n")) {
    const [name, , id, gid] = line.split(":");
    if (name !== undefined && name !== "" && id === String(uid)) return { name, gid: Number(gid) };
  }
  return undefined;
}

/** Empty where there is no such file. */
export function readGrants(path: string): Grant[] {
  const text = readText(path);
  return typeof text === "number" ? [] : parseGrants(text);
}

/** Undefined for a user that is known elsewhere (LDAP). */
export function readAccount(uid: number): Account | undefined {
  const text = readText("/etc/passwd");
  return typeof text === "number" ? undefined : parseAccount(text, uid);
}

/** What a program's file says about the privileges that it starts with. */
export interface SetuidFacts {
  readonly exists: boolean;
  /** Set-uid root, or with capabilities of its own (setcap(8)). */
  readonly isPrivileged: boolean;
  /** The file system is mounted nosuid. */
  readonly isOnNosuid: boolean;
  /** Of tsrun, and so of what it starts: neither counts (prctl(2)). */
  readonly noNewPrivileges: boolean;
}

export function readSetuidFacts(path: string): SetuidFacts {
  const PR_GET_NO_NEW_PRIVS = 39;
  const STATX_BASIC_STATS = 0x7ff;
  const buffer = new Uint8Array(256);
  const view = new DataView(buffer.buffer);
  const found = sys("statx", AT_FDCWD, path, 0, STATX_BASIC_STATS, buffer);
  const isSetuidRoot = (view.getUint16(0x1c, true) & 0o4000) !== 0 && view.getUint32(0x14, true) === 0;
  return {
    exists: found !== -errnoNumber("ENOENT") && found !== -errnoNumber("ENOTDIR"),
    isPrivileged: isSetuidRoot || sys("getxattr", path, "security.capability", new Uint8Array(64), 64) > 0,
    isOnNosuid: isMountedNosuid(path),
    noNewPrivileges: sys("prctl", PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) === 1,
  };
}

/** f_flags of statfs(2), its eleventh word on 64-bit machines. */
function isMountedNosuid(path: string): boolean {
  const ST_NOSUID = 2n;
  const buffer = new BigUint64Array(15);
  return sys("statfs", path, buffer) === 0 && (buffer[10]! & ST_NOSUID) !== 0n;
}
