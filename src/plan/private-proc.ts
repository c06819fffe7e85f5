import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH, O_WRONLY } from "../abi/fcntl.ts";
import { FSCONFIG_CMD_CREATE, FSMOUNT_CLOEXEC, FSOPEN_CLOEXEC } from "../abi/mount.ts";
import { RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV } from "../abi/openat2.ts";
import type { Extras, Origin } from "./mount-steps.ts";
import { openAt } from "./paths.ts";
import { add, addAll, label, type Program, place, type Slot, type SlotTable, slot } from "./step.ts";

/**
 * A procfs of our own that is mounted nowhere, so that nothing in the container's mount tree can send a write elsewhere
 * (CVE-2019-16884, CVE-2025-52881); as an O_PATH descriptor.
 *
 * Where the kernel does not allow a new procfs (a user namespace that sees only a part of the host's), the host's own
 * takes its place: so this has to be planned where "/proc" still is the host's. RESOLVE_NO_XDEV then refuses whatever is
 * mounted over a part of it.
 */
export function planPrivateProc(program: Program, slots: SlotTable): Slot {
  const context = slot(slots, "procfs context");
  const procfs = slot(slots, "private procfs");
  const fallback = label();
  const done = label();
  const what = "open a private procfs";
  const refusal = { tolerate: ["EPERM", "EACCES"] as const, onTolerated: fallback, what };
  addAll(program, [
    { call: "fsopen", args: ["proc", FSOPEN_CLOEXEC], into: context, ...refusal },
    { call: "fsconfig", args: [context, FSCONFIG_CMD_CREATE, 0, 0, 0], ...refusal },
    { call: "fsmount", args: [context, FSMOUNT_CLOEXEC, 0], into: procfs, ...refusal, onPositive: done },
  ]);
  place(program, fallback);
  const flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  add(program, { call: "openat", args: [AT_FDCWD, "/proc", flags, 0], into: procfs, what });
  place(program, done);
  return procfs;
}

/**
 * Opens `/proc/thread-self/attr/<name>` of whoever runs the program, for writing: attributes are a task's own to set, and
 * the kernel takes the write only from the process that opened the file. thread-self is an ordinary symlink of procfs.
 */
export function openAttribute(
  program: Program,
  into: Slot,
  procfs: Slot,
  name: string,
  origin: Origin,
  extras: Extras = {},
): void {
  const resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;
  openAt(program, into, procfs, `thread-self/attr/${name}`, { flags: O_WRONLY, resolve }, origin, extras);
}
