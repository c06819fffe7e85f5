/** A user of the machine without any privilege, and with what /etc/subuid is to say of it, for the time of one command. */
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import type { Config, IdMapping } from "./config.ts";

/** Nobody's on any machine that we know; the subordinate ids neither. */
export const UID = 54_321;
export const GID = 54_322;
export const NAME = "tsrun-user";
export const FIRST = 700_000;
export const COUNT = 65_536;

/** Lines for the user's files. */
export interface Grants {
  readonly subuid: string;
  readonly subgid: string;
}

export const GIVEN: Grants = { subuid: `${NAME}:${FIRST}:${COUNT}\n`, subgid: `${NAME}:${FIRST}:${COUNT}\n` };
export const NONE: Grants = { subuid: "", subgid: "" };

export interface UserOptions {
  readonly grants?: Grants;
  /** Shell commands of root in the mount namespace of this command alone, before it becomes the user. */
  readonly before?: string;
  /** Flags of setpriv(1). */
  readonly setpriv?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

let number = 0;

/**
 * The words before a command that the user runs: in a mount namespace of its own, in which /etc has the user. `home` is
 * a directory for the files that are shown there.
 */
export function asUser(home: string, options: UserOptions = {}): string[] {
  const { grants = GIVEN, before = ":", setpriv = [], env = {} } = options;
  const etc = `${home}/etc-${++number}`;
  mkdirSync(etc, { mode: 0o755 });
  const files = {
    passwd: `${read("/etc/passwd")}${NAME}:x:${UID}:${GID}::/nonexistent:/bin/sh\n`,
    group: `${read("/etc/group")}${NAME}:x:${GID}:\n`,
    ...grants,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(`${etc}/${name}`, text, { mode: 0o644 });
  const names = Object.keys(files).join(" ");
  const script = `set -e
    for name in ${names}; do [ -e /etc/$name ] || : >/etc/$name; mount --bind ${etc}/$name /etc/$name; done
    ${before}
    exec "$@"`;
  const ids = ["--reuid", `${UID}`, "--regid", `${GID}`, "--clear-groups", "--inh-caps=-all"];
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const become = ["setpriv", ...ids, ...setpriv, "env", "-u", "HOME", ...variables];
  return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", ...become];
}

function read(path: string): string {
  return readFileSync(path, "utf8").replace(/\n*$/, "\n");
}

/** A directory that belongs to the user. */
export function ownDirectory(path: string, mode = 0o700): string {
  mkdirSync(path, { mode });
  chmodSync(path, mode);
  chownSync(path, UID, GID);
  return path;
}

/** The user is the container's root, and it alone is there. */
export function onlyItself(config: Config, rootfs: string): void {
  mapTo(config, [{ containerID: 0, hostID: UID, size: 1 }], [{ containerID: 0, hostID: GID, size: 1 }]);
  give(rootfs, UID, GID);
}

/** The user is the container's root, and the others of the container are its subordinate ids. */
export function withSubordinates(config: Config, rootfs: string): void {
  const rest: IdMapping = { containerID: 1, hostID: FIRST, size: COUNT };
  mapTo(config, [{ containerID: 0, hostID: UID, size: 1 }, rest], [{ containerID: 0, hostID: GID, size: 1 }, rest]);
  give(rootfs, UID, GID);
}

export function mapTo(config: Config, uids: IdMapping[], gids: IdMapping[]): void {
  config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== "user");
  config.linux.namespaces.push({ type: "user" });
  config.linux.uidMappings = uids;
  config.linux.gidMappings = gids;
  delete config.linux.cgroupsPath;
}

/** The root file system's directories, as after unpacking an image as this user; programs can stay root's. */
export function give(rootfs: string, uid: number, gid: number): void {
  chownSync(rootfs, uid, gid);
  for (const folder of readdirSync(rootfs)) if (folder !== "sbin") chownSync(`${rootfs}/${folder}`, uid, gid);
}
