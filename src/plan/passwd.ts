import { AT_EMPTY_PATH, O_NOCTTY, O_NONBLOCK, O_RDONLY } from "../abi/fcntl.ts";
import { RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from "../abi/openat2.ts";
import { S_IFMT, S_IFREG, statLayout } from "../abi/stat.ts";
import type { Arch } from "../abi/syscalls.ts";
import { openAt } from "./paths.ts";
import { add, addressOf, numberedSlot, type Program, type Slot, type SlotTable, slot } from "./step.ts";

/** What the container has as /etc/passwd. */
export interface Passwd {
  readonly descriptor: Slot;
  /** True for what can be read without a second thought; known when the program has replied. */
  readonly isFile: () => boolean;
}

/**
 * Opens the container's /etc/passwd while the process is still root, from inside: what is mounted there counts. It may
 * be missing, or anything else: a link out of the root or a fifo that would block are no reason to fail.
 */
export function planOpenPasswd(program: Program, slots: SlotTable, rootfs: Slot, arch: Arch): Passwd {
  const descriptor = slot(slots, PASSWD);
  const how = { flags: O_RDONLY | O_NONBLOCK | O_NOCTTY, resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
  openAt(
    program,
    descriptor,
    rootfs,
    "etc/passwd",
    how,
    { what: 'open "/etc/passwd"', pointer: "/process/env" },
    {
      tolerate: ["ENOENT", "ENOTDIR", "EACCES", "ELOOP", "EXDEV", "EPERM", "ENXIO", "EISDIR", "ENODEV", "EIO", "EBUSY"],
    },
  );
  return { descriptor, isFile: planLook(program, slots, descriptor, arch) };
}

const PASSWD = "/etc/passwd";

/** Asks what was opened, if anything was. */
function planLook(program: Program, slots: SlotTable, descriptor: Slot, arch: Arch): () => boolean {
  const { words, mode, size } = statLayout(arch);
  const word = (index: number): Slot => numberedSlot(`stat of ${PASSWD}, word ${index}`, index);
  const first = slots.next;
  slots.next += words;
  const modeSlot = word(first + mode);
  const sizeSlot = word(first + size);
  add(program, {
    call: "newfstatat",
    args: [descriptor, "", addressOf(word(first), [modeSlot, sizeSlot]), AT_EMPTY_PATH],
    tolerate: ["EBADF"],
    what: `look at "${PASSWD}"`,
    pointer: "/process/env",
  });
  return () => isOrdinary(modeSlot.value ?? 0, sizeSlot.value ?? 0);
}

/** What procfs has is of size 0, and reading some of it takes it away from others (/proc/kmsg). */
function isOrdinary(mode: number, size: number): boolean {
  return (mode & S_IFMT) === S_IFREG && size > 0;
}

/** The home directory of a user in the text of passwd(5); `/` when it has none. */
export function homeOf(uid: number, passwd: string): string {
  for (const line of passwd.split("\n")) {
    const fields = line.split(":");
    if (fields.length >= 6 && fields[2] === String(uid)) return fields[5] === "" ? "/" : fields[5]!;
  }
  return "/";
}
