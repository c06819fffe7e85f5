import { PROC_SUPER_MAGIC } from "../abi/magic.ts";
import { propertyOf, TsrunError } from "../errors.ts";
import type { PlanContext } from "./context.ts";
import { destinationOf, type MountEntry } from "./mount-entry.ts";
import { add, addressOf, numberedSlot, type Slot } from "./step.ts";

/** Where a mount came to lie; judged by `checkOutsideProc` when its slot is known. */
export interface Landing {
  /** f_type of the file system that was there, see statfs(2). */
  readonly type: Slot;
  readonly what: string;
  readonly destination: string;
  readonly pointer: string;
}

/** Size of struct statfs in 64-bit words, the first of which is f_type; the same on every 64-bit machine. */
const STATFS_WORDS = 15;

/** Room for so many: each is written over the rest of the one before. */
export function reserveLandings(context: PlanContext, count: number): void {
  context.landings.next = context.slots.next;
  context.slots.next += count + STATFS_WORDS - 1;
}

/**
 * Asks what is mounted on. Symlinks of an image may lead a volume into /proc, where it would cover what the container is
 * confined with (CVE-2019-16884), and its destination does not tell that.
 */
export function planOutsideProc(context: PlanContext, entry: MountEntry, target: Slot): void {
  const { origin, destination } = entry;
  // What config.json itself has in /proc has been judged, and a new /dev has no symlinks yet.
  if (/^\/proc(\/|$)/.test(destination) || destinationOf(context, entry).parent !== undefined) return;
  const type = numberedSlot(`file system at ${destination}`, context.landings.next++);
  const what = `find out what "${destination}" is on`;
  add(context.build, { call: "fstatfs", args: [target, addressOf(type)], what, pointer: origin.pointer });
  context.landings.list.push({ type, what: origin.what, destination, pointer: origin.pointer });
}

/** To be called when `build` has replied. Throws for the first mount that came to lie in a procfs. */
export function checkOutsideProc(landings: readonly Landing[]): void {
  for (const { type, what, destination, pointer } of landings) {
    if (type.value !== PROC_SUPER_MAGIC) continue;
    const why = `"${destination}" cannot be mounted because it is inside /proc, where a symlink leads to`;
    throw new TsrunError(`cannot ${what}: ${why} (${propertyOf(pointer)})`, { code: "EPERM", pointer });
  }
}
