/**
 * Compiled profiles, so that the second container with a profile pays nothing for it: `<root>/@seccomp/<hash>`, beside the
 * containers' directories (no id has an "@"), and trusted as these are. Whatever goes wrong here, the profile is compiled.
 */
import { AT_FDCWD, O_CLOEXEC, O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } from "../abi/fcntl.ts";
import { close, openDirectory, readBytes, readEntries, writeAll } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import type { Filter } from "../seccomp/filter.ts";
import type { Seccomp, SeccompArch } from "../spec/types.ts";

/** The commit that the build was made from; the build defines it. Another compiler, another program. */
declare const TSRUN_COMMIT: string | undefined;

const DIRECTORY = "@seccomp";
/** Engines use a handful of profiles; when there are more, all go, and those in use come back. */
const MAX_ENTRIES = 64;
/** u32 flags, u32 bits: 1 notifies, 2 isMute; then the program. */
const HEADER_SIZE = 8;
const NOTIFIES = 1;
const IS_MUTE = 2;

/** The name of what `profile` compiles to: the same text, the same program. */
export function cacheKey(profile: Seccomp, native: SeccompArch): string {
  const build = typeof TSRUN_COMMIT === "string" ? TSRUN_COMMIT : "";
  return new Bun.CryptoHasher("sha256").update(`${build} ${native} ${textOfProfile(profile)}`).digest("hex");
}

/** Values beyond 2^53 are bigint, which JSON does not have; a replacer for all would be slow. */
function textOfProfile(profile: Seccomp): string {
  try {
    return JSON.stringify(profile);
  } catch {
    return JSON.stringify(profile, (_, value) => (typeof value === "bigint" ? `${value}n` : value));
  }
}

export function cachedFilter(root: string, key: string): Filter | undefined {
  const directory = openCache(root);
  if (directory < 0) return undefined;
  const content = readBytes(key, directory, O_NOFOLLOW, 16384);
  close(directory);
  return typeof content === "number" ? undefined : decodeFilter(content);
}

/** A file under another name first: who reads the cache meanwhile finds a whole program or none. */
export function cacheFilter(root: string, key: string, filter: Filter): void {
  sys("mkdirat", AT_FDCWD, `${root}/${DIRECTORY}`, 0o700);
  const directory = openCache(root);
  if (directory < 0) return;
  makeRoom(directory);
  const draft = `${key}.${sys("getpid")}`;
  const fd = sys("openat", directory, draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600);
  const written = fd < 0 ? fd : writeAll(fd, encodeFilter(filter));
  if (fd >= 0) close(fd);
  if (written === 0) sys("renameat2", directory, draft, directory, key, 0);
  else sys("unlinkat", directory, draft, 0);
  close(directory);
}

function openCache(root: string): number {
  return openDirectory(`${root}/${DIRECTORY}`, AT_FDCWD, O_NOFOLLOW);
}

function makeRoom(directory: number): void {
  const entries = readEntries(directory);
  if (typeof entries === "number" || entries.length < MAX_ENTRIES) return;
  for (const { name } of entries) sys("unlinkat", directory, name, 0);
}

export function encodeFilter({ program, flags, notifies, isMute }: Filter): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE + program.length);
  new Uint32Array(bytes.buffer).set([flags, (notifies ? NOTIFIES : 0) | (isMute ? IS_MUTE : 0)]);
  bytes.set(program, HEADER_SIZE);
  return bytes;
}

/** Undefined for what cannot be a program; the kernel checks the rest. */
export function decodeFilter(content: Uint8Array): Filter | undefined {
  const bytes = content.slice();
  if (bytes.length <= HEADER_SIZE || bytes.length % 8 !== 0) return undefined;
  const [flags = 0, bits = 0] = new Uint32Array(bytes.buffer, 0, 2);
  const program = bytes.subarray(HEADER_SIZE);
  return { program, flags, notifies: (bits & NOTIFIES) !== 0, isMute: (bits & IS_MUTE) !== 0 };
}
