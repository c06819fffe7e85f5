import { closeSync, existsSync, mkdirSync, openSync, readSync, writeSync } from "node:fs";
import { command } from "./command.ts";

/** Why there can be no such file system here. */
export const noStuckFileSystem = existsSync("/dev/fuse") ? undefined : "the kernel has no FUSE";

/**
 * Mounts a FUSE file system at `dir` that never answers: who looks something up there waits, and cannot be frozen
 * meanwhile. Returns what ends it: everyone waiting gets an error, and the mount is gone.
 */
export function stuckFileSystem(dir: string): () => void {
  mkdirSync(dir);
  const fd = openSync("/dev/fuse", "r+");
  const mounted = Bun.spawnSync({
    cmd: ["mount", "-i", "-t", "fuse", "-o", "fd=3,rootmode=40000,user_id=0,group_id=0", "none", dir],
    stdio: ["ignore", "ignore", "pipe", fd],
  });
  if (mounted.exitCode !== 0) throw new Error(`cannot mount FUSE: ${mounted.stderr}`);
  answerInit(fd);
  let isOpen = true;
  return () => {
    if (!isOpen) return;
    isOpen = false;
    closeSync(fd);
    command(["umount", "-l", dir]);
  };
}

/** The only request that is answered: struct fuse_in_header, fuse_out_header and fuse_init_out of linux/fuse.h. */
function answerInit(fd: number): void {
  const request = new DataView(new ArrayBuffer(1 << 17));
  readSync(fd, request);
  const [HEADER, INIT_OUT] = [16, 64];
  const answer = new DataView(new ArrayBuffer(HEADER + INIT_OUT));
  answer.setUint32(0, HEADER + INIT_OUT, true);
  answer.setBigUint64(8, request.getBigUint64(8, true), true);
  answer.setUint32(HEADER, 7, true);
  answer.setUint32(HEADER + 4, 31, true);
  answer.setUint16(HEADER + 16, 16, true); // max_background
  answer.setUint32(HEADER + 20, 4096, true); // max_write
  writeSync(fd, answer);
}
