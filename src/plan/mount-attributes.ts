import { MOUNT_ATTR__ATIME } from "../abi/mount.ts";
import type { Attributes } from "./mount-options.ts";
import { changeAttributes, type Origin } from "./mount-steps.ts";
import { label, type Program, place, type Slot } from "./step.ts";

/**
 * In a user namespace the attributes that the host gave a mount are locked (mount_namespaces(7)) and clearing one is
 * EPERM. They then stay, as with runc, and the others are changed one by one.
 */
export function planAttributes(
  program: Program,
  tree: Slot,
  { set, clear }: Attributes,
  recursive: boolean,
  locked: boolean,
  origin: Origin,
): void {
  if (set === 0 && clear === 0) return;
  if (!locked || clear === 0) {
    changeAttributes(program, tree, { set, clear, recursive }, origin);
    return;
  }
  const each = label();
  const done = label();
  changeAttributes(program, tree, { set, clear, recursive }, origin, {
    tolerate: ["EPERM"],
    onTolerated: each,
    onZero: done,
  });
  place(program, each);
  const keep = { tolerate: ["EPERM"] } as const;
  for (const bits of separate(clear)) {
    changeAttributes(program, tree, { set: set & bits, clear: bits, recursive }, origin, keep);
  }
  const rest = set & ~clear;
  if (rest !== 0) changeAttributes(program, tree, { set: rest, recursive }, origin);
  place(program, done);
}

/** The bits one by one; those of the access time are one field. */
function separate(clear: number): number[] {
  const parts: number[] = (clear & MOUNT_ATTR__ATIME) !== 0 ? [MOUNT_ATTR__ATIME] : [];
  for (let bit = 1; bit <= clear; bit *= 2) {
    if ((clear & bit) !== 0 && (bit & MOUNT_ATTR__ATIME) === 0) parts.push(bit);
  }
  return parts;
}
