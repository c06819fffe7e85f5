/** Linux uapi/linux/stat.h, asm/stat.h: the mode word, device numbers, and where struct stat has them. */
import type { Arch } from "./syscalls.ts";

export const S_IFMT = 0o170000;
export const S_IFIFO = 0o010000;
export const S_IFCHR = 0o020000;
export const S_IFDIR = 0o040000;
export const S_IFBLK = 0o060000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;

/** Size of struct stat in 64-bit words, and the words that hold st_mode (in the low half), st_rdev and st_size. */
export function statLayout(arch: Arch): { words: number; mode: number; rdev: number; size: number } {
  return arch === "x86-64" ? { words: 18, mode: 3, rdev: 5, size: 6 } : { words: 16, mode: 2, rdev: 4, size: 6 };
}

/** A device number as mknod(2) takes it and stat(2) gives it (new_encode_dev in linux/kdev_t.h). */
export function makeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}
