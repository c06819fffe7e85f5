import { O_NONBLOCK, O_RDONLY } from "../abi/fcntl.ts";
import { RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from "../abi/openat2.ts";
import { openAt } from "./paths.ts";
import { type Program, type Slot, type SlotTable, slot } from "./step.ts";

/**
 * Opens the container's /etc/passwd while the process is still root, from inside: what is mounted there counts. It may
 * be missing, or anything else: a link out of the root or a fifo that would block are no reason to fail.
 */
export function planOpenPasswd(program: Program, slots: SlotTable, rootfs: Slot): Slot {
  const passwd = slot(slots, PASSWD);
  const how = { flags: O_RDONLY | O_NONBLOCK, resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
  openAt(
    program,
    passwd,
    rootfs,
    "etc/passwd",
    how,
    { what: 'open "/etc/passwd"', pointer: "/process/env" },
    {
      tolerate: ["ENOENT", "ENOTDIR", "EACCES", "ELOOP", "EXDEV", "EPERM", "ENXIO", "EISDIR"],
    },
  );
  return passwd;
}

const PASSWD = "/etc/passwd";

/** The descriptor that planOpenPasswd has planned. */
export function passwdSlot(program: Program): Slot | undefined {
  return program.steps.find(({ into }) => into?.name === PASSWD)?.into;
}

/** The home directory of a user in the text of passwd(5); `/` when it has none. */
export function homeOf(uid: number, passwd: string): string {
  for (const line of passwd.split("\n")) {
    const fields = line.split(":");
    if (fields.length >= 6 && fields[2] === String(uid)) return fields[5] === "" ? "/" : fields[5]!;
  }
  return "/";
}
