import { O_CLOEXEC, O_DIRECTORY, O_NOCTTY, O_NOFOLLOW, O_PATH, O_RDWR } from "../abi/fcntl.ts";
import { TIOCGPTPEER, TIOCSCTTY, TIOCSPTLCK, TIOCSWINSZ } from "../abi/ioctl.ts";
import { RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from "../abi/openat2.ts";
import { S_IFREG } from "../abi/stat.ts";
import { TsrunError } from "../errors.ts";
import type { Process } from "../spec/types.ts";
import { utf8 } from "../text.ts";
import { attachMount, cloneTree } from "./mount-steps.ts";
import { openAt, openInRoot } from "./paths.ts";
import { add, addAll, type Program, type Slot, type SlotTable, slot, struct } from "./step.ts";

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;

export interface TerminalContext {
  readonly process: Process;
  readonly pointer: string;
  readonly slots: SlotTable;
  readonly rootfs: Slot;
  /** The devpts that config.mounts has on /dev/pts, where it is still being built. */
  readonly devpts?: Slot | undefined;
  /** A connected stream socket that the other end of the terminal is sent to. */
  readonly console: Slot;
  /** Make the terminal /dev/console too: for the container's first process. */
  readonly isConsole: boolean;
}

/**
 * A pseudo-terminal of the container's own devpts as descriptors 0, 1 and 2. The slave is asked of its master
 * (TIOCGPTPEER) and never opened by name, so that nothing can be put in its place (CVE-2025-52565).
 */
export function planTerminal(program: Program, context: TerminalContext): void {
  const { process, slots, rootfs, devpts } = context;
  const pointer = `${context.pointer}/terminal`;
  const master = slot(slots, "ptmx");
  const terminal = slot(slots, "pty");
  const uid = process.user?.uid ?? 0;
  const opening = { flags: O_RDWR | O_NOCTTY, resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
  const origin = { what: 'open "/dev/pts/ptmx"', pointer };
  const hint = "process.terminal needs a devpts mount on /dev/pts";
  // By the mount's descriptor nothing else can be opened, a device that a racer has put there for example.
  const [directory, name] = devpts === undefined ? [rootfs, "dev/pts/ptmx"] : [devpts, "ptmx"];
  openAt(program, master, directory, name, opening, origin, { hint });
  addAll(program, [
    { call: "ioctl", args: [master, TIOCSPTLCK, struct("int", 0)], what: "unlock the terminal", pointer },
    {
      call: "ioctl",
      args: [master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC],
      into: terminal,
      what: "open the terminal of /dev/pts/ptmx",
      pointer,
    },
  ]);
  if (process.consoleSize !== undefined) planConsoleSize(program, context, master);
  add(program, {
    call: "fchown",
    args: [terminal, uid, -1],
    tolerate: ["EPERM", "EINVAL", "EROFS"],
    what: "give the terminal to the user of the process",
    pointer,
  });
  if (context.isConsole) planConsole(program, context, terminal);
  planSendDescriptor(program, slots, context.console, master, "/dev/pts/ptmx", pointer);
  add(program, { call: "ioctl", args: [terminal, TIOCSCTTY, 0], what: "make it the controlling terminal", pointer });
  for (const fd of [0, 1, 2]) {
    add(program, { call: "dup3", args: [terminal, fd, 0], what: `make the terminal descriptor ${fd}`, pointer });
  }
  addAll(program, [
    { call: "close", args: [terminal], what: "close the terminal" },
    { call: "close", args: [master], what: "close ptmx" },
    // It leads to a process of the host, which may wait for its end.
    { call: "close", args: [context.console], what: "close the console socket" },
  ]);
}

function planConsoleSize(program: Program, { process, pointer }: TerminalContext, master: Slot): void {
  const { height, width } = process.consoleSize!;
  add(program, {
    call: "ioctl",
    args: [master, TIOCSWINSZ, struct("winsize", (height & 0xffff) + (width & 0xffff) * 0x10000)],
    what: `set the size of the terminal to ${width}x${height}`,
    pointer: `${pointer}/consoleSize`,
  });
}

/**
 * Binds the terminal on /dev/console, which is made where it is missing. What may be there instead, or be put there meanwhile,
 * is neither opened nor followed.
 */
function planConsole(program: Program, { slots, rootfs, pointer }: TerminalContext, terminal: Slot): void {
  const directory = slot(slots, "/dev");
  const target = slot(slots, "/dev/console");
  const mount = slot(slots, "console mount");
  const what = 'mount the terminal on "/dev/console"';
  const where = `${pointer}/terminal`;
  openInRoot(program, directory, rootfs, "/dev", { what, pointer: where }, {}, O_DIRECTORY);
  const node = [directory, "console", S_IFREG | 0o600, 0];
  const flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  addAll(program, [
    { call: "mknodat", args: node, tolerate: ["EEXIST"], what, pointer: where },
    { call: "openat", args: [directory, "console", flags, 0], into: target, what, pointer: where },
  ]);
  cloneTree(program, mount, { from: terminal, path: "", recursive: false }, { what, pointer: where });
  attachMount(program, mount, target, { what, pointer: where });
  addAll(program, [
    { call: "close", args: [mount], what },
    { call: "close", args: [target], what },
    { call: "close", args: [directory], what },
  ]);
}

/**
 * One message with one descriptor (SCM_RIGHTS, unix(7)) and a name that is not empty: readers drop an empty message.
 * The descriptor is copied so that its number is stored into the control message.
 */
export function planSendDescriptor(
  program: Program,
  slots: SlotTable,
  console: Slot,
  fd: Slot,
  name: string,
  pointer: string,
): void {
  const CMSG_LEN_4 = 20;
  const CMSG_SPACE_4 = 24;
  const copy = slot(slots, `copy of ${fd.name}`);
  const control = struct("cmsg_rights", CMSG_LEN_4, SOL_SOCKET + SCM_RIGHTS * 0x100000000, copy);
  const header = struct("msghdr", 0, 0, struct("iovec", name, name.length), 1, control, CMSG_SPACE_4, 0);
  addAll(program, [
    { call: "dup", args: [fd], into: copy, what: `copy ${fd.name}`, pointer },
    { call: "sendmsg", args: [console, header, MSG_NOSIGNAL], what: `send ${fd.name} to the socket`, pointer },
    { call: "close", args: [copy], what: `close the copy of ${fd.name}` },
  ]);
}

const MSG_NOSIGNAL = 0x4000;

/** A sockaddr_un (unix(7)). Throws for what does not fit; an empty path would be an abstract name. */
export function unixAddress(path: string): Uint8Array {
  const SUN_PATH_SIZE = 108;
  const name = utf8(path);
  if (name.length === 0 || name.length >= SUN_PATH_SIZE) {
    const message = `cannot use ${JSON.stringify(path)} as the path of a socket: should be of 1 to 107 bytes`;
    throw new TsrunError(message, { code: name.length === 0 ? "ENOENT" : "ENAMETOOLONG" });
  }
  const address = new Uint8Array(2 + SUN_PATH_SIZE);
  address[0] = 1;
  address.set(name, 2);
  return address;
}
