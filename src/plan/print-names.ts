/** The flags of each call by the kernel's names, in the order in which strace(1) shows them. */
import * as fcntl from "../abi/fcntl.ts";
import * as ioctl from "../abi/ioctl.ts";
import * as mount from "../abi/mount.ts";
import * as openat2 from "../abi/openat2.ts";
import * as prctl from "../abi/prctl.ts";
import * as sched from "../abi/sched.ts";
import * as seccomp from "../abi/seccomp.ts";
import * as socket from "../abi/socket.ts";
import * as stat from "../abi/stat.ts";
import type { Names } from "./print-values.ts";

/** The constants of a header whose names match. */
function named(header: Readonly<Record<string, unknown>>, pattern: RegExp): Names {
  const names: [string, number][] = [];
  for (const [name, value] of Object.entries(header)) {
    if (pattern.test(name) && typeof value === "number") names.push([name, value]);
  }
  return names.sort((a, b) => a[1] - b[1]);
}

export const openNames = (): Names =>
  named(fcntl, /^O_(?!RDONLY|WRONLY|RDWR|PATH|DIRECTORY)/).concat([
    ["O_PATH", fcntl.O_PATH],
    ["O_DIRECTORY", fcntl.O_DIRECTORY],
  ]);
export const accessModes = (): Names => named(fcntl, /^O_(RDONLY|WRONLY|RDWR)$/);
export const resolveNames = (): Names => named(openat2, /^RESOLVE_/);
export const atNames = (): Names => named(fcntl, /^AT_(?!FDCWD|REMOVEDIR)/);
export const openTreeNames = (): Names => [...named(mount, /^OPEN_TREE_/), ...atNames()];
export const moveMountNames = (): Names => named(mount, /^MOVE_MOUNT_/);
export const fsopenNames = (): Names => named(mount, /^FSOPEN_/);
export const fspickNames = (): Names => named(mount, /^FSPICK_/);
export const fsmountNames = (): Names => named(mount, /^FSMOUNT_/);
export const fsconfigNames = (): Names => named(mount, /^FSCONFIG_/);
export const mountAttributeNames = (): Names => named(mount, /^MOUNT_ATTR_(?!_|SIZE)/);
export const mountNames = (): Names => named(mount, /^MS_/);
export const umountNames = (): Names => named(mount, /^(MNT|UMOUNT)_/);
export const cloneNames = (): Names => named(sched, /^CLONE_(?!ARGS)/);
export const schedulerFlagNames = (): Names => Object.entries(sched.schedulerFlags);
export const prctlNames = (): Names => named(prctl, /^PR_(?!CAP_AMBIENT_)/);
export const ambientNames = (): Names => named(prctl, /^PR_CAP_AMBIENT_/);
export const closeRangeNames = (): Names => named(prctl, /^CLOSE_RANGE_/);
export const keyctlNames = (): Names => named(prctl, /^KEYCTL_/);
export const personalityNames = (): Names => named(prctl, /^PER_/);
export const fcntlNames = (): Names => named(fcntl, /^F_/);
export const ioctlNames = (): Names => named(ioctl, /^(TIOC|SIOC)/);
export const interfaceFlags = (): Names => named(ioctl, /^IFF_/);
export const fileTypeNames = (): Names => named(stat, /^S_IF(?!MT)/);
export const addressFamilies = (): Names => named(socket, /^AF_/);
export const protocols = (): Names => named(socket, /^IPPROTO_/);
export const messageNames = (): Names => named(socket, /^MSG_/);

export function socketType(value: number): string {
  const type = value & ~(fcntl.O_CLOEXEC | fcntl.O_NONBLOCK);
  const name = named(socket, /^SOCK_/).find(([, number]) => number === type)?.[0] ?? String(type);
  return name + ((value & fcntl.O_CLOEXEC) === 0 ? "" : "|SOCK_CLOEXEC");
}

/** All bits of a key's permissions, linux/key.h. */
export function keyPermissionNames(): Names {
  const rights = ["VIEW", "READ", "WRITE", "SEARCH", "LINK", "SETATTR"];
  const owners = [
    ["POS", 24],
    ["USR", 16],
    ["GRP", 8],
    ["OTH", 0],
  ] as const;
  return owners.flatMap(([owner, shift]) =>
    rights.map((right, bit) => [`KEY_${owner}_${right}`, 2 ** (bit + shift)] as const),
  );
}
export const seccompFlagNames = (): Names => named(seccomp, /^SECCOMP_FILTER_FLAG_/);
