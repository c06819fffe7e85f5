import { AT_EMPTY_PATH, O_NOCTTY, O_NONBLOCK, O_RDONLY } from "../abi/fcntl.ts";
import { RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from "../abi/openat2.ts";
import { S_IFMT, S_IFREG, statLayout } from "../abi/stat.ts";
import type { Arch } from "../abi/syscalls.ts";
import { openAt } from "./paths.ts";
import { add, addressOf, type Program, program, type Slot, type SlotTable, slot } from "./step.ts";

/**
 * Opens the container's /etc/passwd while the process is still root, from inside: what is mounted there counts. It may
 * be missing, or anything else: a link out of the root or a fifo that would block are no reason to fail.
 */
export function planOpenPasswd(program: Program, slots: SlotTable, rootfs: Slot): Slot {
  const passwd = slot(slots, PASSWD);
  const how = { flags: O_RDONLY | O_NONBLOCK | O_NOCTTY, resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
  openAt(
    program,
    passwd,
    rootfs,
    "etc/passwd",
    how,
    { what: 'open "/etc/passwd"', pointer: "/process/env" },
    {
      tolerate: ["ENOENT", "ENOTDIR", "EACCES", "ELOOP", "EXDEV", "EPERM", "ENXIO", "EISDIR", "ENODEV", "EIO", "EBUSY"],
    },
  );
  return passwd;
}

const PASSWD = "/etc/passwd";

/** The descriptor that planOpenPasswd has planned. */
export function passwdSlot(program: Program): Slot | undefined {
  return program.steps.find(({ into }) => into?.name === PASSWD)?.into;
}

/** Asks what was opened; `isFile` tells when the program has replied. */
export function planLookAtPasswd(
  slots: SlotTable,
  passwd: Slot,
  arch: Arch,
): { looking: Program; isFile: () => boolean } {
  const looking = program("look");
  const { words, mode, size } = statLayout(arch);
  const word = (index: number): Slot => ({ kind: "slot", name: `stat of ${PASSWD}, word ${index}`, index });
  const first = slots.next;
  slots.next += words;
  const modeSlot = word(first + mode);
  const sizeSlot = word(first + size);
  const buffer = addressOf(word(first), [modeSlot, sizeSlot]);
  add(looking, { call: "newfstatat", args: [passwd, "", buffer, AT_EMPTY_PATH], what: `look at "${PASSWD}"` });
  return { looking, isFile: () => isOrdinary(modeSlot.value ?? 0, sizeSlot.value ?? 0) };
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
