import { errnoNumber, errnoText } from "../abi/errno.ts";
import { AT_EMPTY_PATH, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN } from "../abi/fcntl.ts";
import { TsrunError } from "../errors.ts";
import { nanoseconds } from "../kernel/clock.ts";
import { close, openDirectory, sleep } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { doesNotExist } from "./names.ts";
import { salvageState } from "./salvage.ts";

const EWOULDBLOCK = -errnoNumber("EAGAIN");

/** How long a command waits for another one that is at work on the same container. */
const PATIENCE_MS = 10_000;

/**
 * Locks the container (flock(2) on its directory: the kernel frees it when the holder dies, however it dies). Throws
 * when another command holds it too long, or when the container was deleted meanwhile.
 */
export function lockContainer(directory: number, id: string, patience = PATIENCE_MS): void {
  if (!lockIfExists(directory, id, patience)) throw doesNotExist();
}

/** The same; false when the container was deleted meanwhile. */
export function lockIfExists(directory: number, id: string, patience = PATIENCE_MS): boolean {
  const end = nanoseconds() + patience * 1e6;
  for (let pause = 1; ; pause = Math.min(pause * 2, 50)) {
    const locked = flock(directory, LOCK_EX | LOCK_NB);
    if (locked === 0) return !isRemoved(directory);
    if (locked !== EWOULDBLOCK) throw new TsrunError(`cannot lock container "${id}": ${errnoText(-locked)}`);
    if (nanoseconds() > end) throw busy(directory, id);
    sleep(pause);
  }
}

function busy(directory: number, id: string): TsrunError {
  const creator = salvageState(directory)?.creator ?? 0;
  const holder = creator === 0 ? "another command" : `process ${creator}, which creates it,`;
  return new TsrunError(`cannot lock container "${id}": ${holder} is still at work on it`, { code: "EBUSY" });
}

/** Locks the container without waiting; false when another command has it, or has deleted it. */
export function lockAtOnce(directory: number): boolean {
  return flock(directory, LOCK_EX | LOCK_NB) === 0 && !isRemoved(directory);
}

export function unlockContainer(directory: number): void {
  flock(directory, LOCK_UN);
}

/**
 * True when some command, the caller too, holds the lock: of an unfinished create, that it is still alive. Asks through
 * a descriptor of its own: through the caller's, the question would take its lock away.
 */
export function isLocked(directory: number): boolean {
  const own = openDirectory(".", directory);
  if (own < 0) return false;
  const locked = flock(own, LOCK_SH | LOCK_NB) === EWOULDBLOCK;
  close(own);
  return locked;
}

function flock(directory: number, operation: number): number {
  for (;;) {
    const result = sys("flock", directory, operation);
    if (result !== -errnoNumber("EINTR")) return result;
  }
}

/** An open directory that was removed has no link left (statx(2): stx_nlink, bytes 16 to 19). */
function isRemoved(directory: number): boolean {
  const STATX_NLINK = 4;
  const buffer = new Uint32Array(64);
  const bytes = new Uint8Array(buffer.buffer);
  return sys("statx", directory, "", AT_EMPTY_PATH, STATX_NLINK, bytes) === 0 && buffer[4] === 0;
}
