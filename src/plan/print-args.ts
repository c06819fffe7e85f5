/** How the arguments of each call look in strace(1). */
import { capabilityNames } from "../abi/capability.ts";
import { AT_FDCWD, AT_REMOVEDIR, O_CREAT } from "../abi/fcntl.ts";
import { IFNAMSIZ, SIOCSIFFLAGS, TIOCGPTPEER } from "../abi/ioctl.ts";
import { PR_CAP_AMBIENT, PR_CAPBSET_DROP, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_NAME } from "../abi/prctl.ts";
import { rlimitNames } from "../abi/resource.ts";
import { schedulerPolicies } from "../abi/sched.ts";
import { S_IFBLK, S_IFCHR, S_IFMT } from "../abi/stat.ts";
import type { SyscallName } from "../abi/syscalls.ts";
import { utf8 } from "../text.ts";
import { printBpf } from "./print-bpf.ts";
import * as names from "./print-names.ts";
import { capabilitySet, flags, limit, type Names, octal, oneOf, quoted } from "./print-values.ts";
import type { Arg, Data, Slot, StructType, Word } from "./step.ts";

type Show = (arg: Word) => string;

/** The arguments of a call; those that it ignores are left out. */
export function printArgs(call: SyscallName, args: readonly Arg[]): string[] {
  const special = specialCall(call, args);
  if (special !== undefined) return special;
  const shows = plainCall(call);
  if (shows === undefined) return args.map(value);
  return shows.map((show, i) => show(args[i] ?? 0));
}

// --- values -----------------------------------------------------------------------------------------------------------

/** An argument about which nothing is known but what it is. */
function value(arg: Word): string {
  if (typeof arg === "string") return quoted(utf8(arg));
  if (typeof arg === "number" || typeof arg === "bigint") return String(arg);
  return arg.kind === "slot" ? `<${arg.name}>` : data(arg);
}

function data(arg: Data): string {
  switch (arg.kind) {
    case "bytes":
      return quoted(arg.bytes);
    case "space":
      return "{...}";
    case "strings":
      return `[${arg.strings.map((text) => quoted(utf8(text))).join(", ")}]`;
    case "words of a command":
      return `[${arg.words.map((word) => (typeof word === "string" ? quoted(utf8(word)) : `"<${word.name}>"`)).join(", ")}]`;
    case "text":
      return quoted(utf8(arg.parts.map((part) => (typeof part === "string" ? part : `<${part.name}>`)).join("")));
    case "address":
      return arg.slot.index === 0
        ? "<slots>"
        : `[<${[arg.slot, ...(arg.rest ?? [])].map(({ name }) => name).join(">, <")}>]`;
    case "socket":
      return "<socket>";
    case "beside":
      return `<${arg.of === "socket" ? arg.of : arg.of.name}>${arg.by < 0 ? "" : "+"}${arg.by}`;
    case "pair":
      return `${value(arg.low)} | ${value(arg.high)} << 32`;
    case "words":
      return words(arg.type, arg.words);
  }
}

/** What is known only when it runs is shown as it is; a number by `show`. */
function number(show: (value: number) => string): Show {
  return (arg) => (typeof arg === "number" || typeof arg === "bigint" ? show(Number(arg)) : value(arg));
}

const anyFlags = (table: () => Names): Show => number((bits) => flags(bits, table()));
const anyOf = (table: () => Names): Show => number((one) => oneOf(one, table()));

const fd: Show = number((descriptor) => (descriptor === AT_FDCWD ? "AT_FDCWD" : String(descriptor | 0)));
const pointer: Show = number((address) => (address === 0 ? "NULL" : `0x${address.toString(16)}`));
const mode: Show = number(octal);
/** Of 32 bits, or -1 for "leave as it is". */
const id: Show = number((one) => String(one | 0));
const mountFlags: Show = anyFlags(names.mountNames);

function openFlags(bits: number): string {
  const access = oneOf(bits & 3, names.accessModes());
  const rest = flags(bits & ~3, names.openNames());
  return rest === "0" ? access : `${access}|${rest}`;
}

function words(type: StructType, list: readonly Word[]): string {
  const fields = structFields(type, list);
  return `{${fields.map(([name, text]) => `${name}=${text}`).join(", ")}}`;
}

/** Low and high half of a word that holds two fields. */
function halves(word: Word): [number, number] {
  const whole = BigInt.asUintN(64, BigInt(word as number | bigint));
  return [Number(whole & 0xffffffffn), Number(whole >> 32n)];
}

function structFields(type: StructType, list: readonly Word[]): [string, string][] {
  const at = (index: number): Word => list[index] ?? 0;
  switch (type) {
    case "open_how":
      return openHow(list);
    case "mount_attr":
      return [
        ["attr_set", anyFlags(names.mountAttributeNames)(at(0))],
        ["attr_clr", anyFlags(names.mountAttributeNames)(at(1))],
        ["propagation", mountFlags(at(2))],
        ["userns_fd", value(at(3))],
      ];
    case "clone_args":
      return cloneArgs(list);
    case "rlimit":
      return [
        ["rlim_cur", limit(at(0) as number | bigint)],
        ["rlim_max", limit(at(1) as number | bigint)],
      ];
    case "sched_attr":
      return schedulerAttributes(list);
    case "timespec":
      return [
        ["tv_sec", value(at(0))],
        ["tv_nsec", value(at(1))],
      ];
    case "winsize": {
      const [size] = halves(at(0));
      return [
        ["ws_row", String(size & 0xffff)],
        ["ws_col", String(size >>> 16)],
        ["ws_xpixel", "0"],
        ["ws_ypixel", "0"],
      ];
    }
    case "msghdr":
      return message(list);
    case "iovec":
      return [
        ["iov_base", value(at(0))],
        ["iov_len", value(at(1))],
      ];
    case "cmsg_rights":
      return [
        ["cmsg_len", value(at(0))],
        ["cmsg_level", "SOL_SOCKET"],
        ["cmsg_type", "SCM_RIGHTS"],
        ["cmsg_data", `[${value(at(2))}]`],
      ];
    case "sock_fprog":
      return [
        ["len", value(at(0))],
        ["filter", "{...}"],
      ];
    default:
      return list.map((word, index) => [String(index), value(word)]);
  }
}

function openHow([bits, permissions, resolve]: readonly Word[]): [string, string][] {
  const makes = (Number(bits) & O_CREAT) !== 0 || permissions !== 0;
  return [
    ["flags", openFlags(Number(bits))],
    ...(makes ? ([["mode", octal(Number(permissions))]] as [string, string][]) : []),
    ["resolve", flags(Number(resolve), names.resolveNames())],
  ];
}

function cloneArgs(list: readonly Word[]): [string, string][] {
  const [bits = 0, pidfd = 0, , , signal = 0] = list;
  const cgroup = list[10] ?? 0;
  return [
    ["flags", anyFlags(names.cloneNames)(bits)],
    ...(pidfd === 0 ? [] : ([["pidfd", "{...}"]] as [string, string][])),
    ["exit_signal", signal === 17 ? "SIGCHLD" : value(signal)],
    ["stack", "NULL"],
    ["stack_size", "0"],
    ...(cgroup === 0 ? [] : ([["cgroup", value(cgroup)]] as [string, string][])),
  ];
}

function schedulerAttributes(list: readonly Word[]): [string, string][] {
  const [size, policy] = halves(list[0] ?? 0);
  const [nice, priority] = halves(list[2] ?? 0);
  return [
    ["size", String(size)],
    ["sched_policy", schedulerPolicies[policy] ?? String(policy)],
    ["sched_flags", flags(Number(list[1] ?? 0), names.schedulerFlagNames())],
    ["sched_nice", String(nice | 0)],
    ["sched_priority", String(priority)],
    ["sched_runtime", value(list[3] ?? 0)],
    ["sched_deadline", value(list[4] ?? 0)],
    ["sched_period", value(list[5] ?? 0)],
  ];
}

function message(list: readonly Word[]): [string, string][] {
  const [, , iov = 0, count = 0, control = 0, length = 0] = list;
  return [
    ["msg_name", "NULL"],
    ["msg_namelen", "0"],
    ["msg_iov", `[${value(iov)}]`],
    ["msg_iovlen", value(count)],
    ["msg_control", `[${value(control)}]`],
    ["msg_controllen", value(length)],
    ["msg_flags", "0"],
  ];
}

// --- calls ------------------------------------------------------------------------------------------------------------

/** Calls whose arguments each have a meaning of their own, whatever the others are. */
function plainCall(call: SyscallName): readonly Show[] | undefined {
  switch (call) {
    case "accept4":
      return [fd, pointer, pointer, value];
    case "capset":
      return [capabilityHeader, capabilityData];
    case "chdir":
    case "chroot":
      return [value];
    case "clone3":
      return [value, value];
    case "close":
    case "dup":
    case "fchdir":
      return [fd];
    case "close_range":
      return [fd, value, anyFlags(names.closeRangeNames)];
    case "bind":
    case "connect":
      return [fd, unixAddress, value];
    case "dup3":
      return [fd, fd, number((bits) => (bits === 0 ? "0" : openFlags(bits)))];
    case "execve":
      return [value, value, value];
    case "exit_group":
    case "getpgid":
      return [value];
    case "faccessat2":
      return [fd, value, number((bits) => (bits === 0 ? "F_OK" : bits === 1 ? "X_OK" : String(bits))), accessFlags];
    case "fchmodat":
      return [fd, value, mode];
    case "fchown":
      return [fd, id, id];
    case "fchownat":
      return [fd, value, id, id, anyFlags(names.atNames)];
    case "fsconfig":
      return [fd, anyOf(names.fsconfigNames), pointer, pointer, value];
    case "fsmount":
      return [fd, anyFlags(names.fsmountNames), anyFlags(names.mountAttributeNames)];
    case "fsopen":
      return [value, anyFlags(names.fsopenNames)];
    case "fspick":
      return [fd, value, anyFlags(names.fspickNames)];
    case "kill":
      return [value, number((signal) => (signal === 9 ? "SIGKILL" : String(signal)))];
    case "lseek":
      return [fd, value, number((whence) => ["SEEK_SET", "SEEK_CUR", "SEEK_END"][whence] ?? String(whence))];
    case "madvise":
      return [number((address) => `0x${address.toString(16)}`), value, anyOf(() => [["MADV_DONTNEED", 4]])];
    case "memfd_create":
      return [value, number((bits) => flags(bits, [["MFD_CLOEXEC", 1]]))];
    case "mkdirat":
      return [fd, value, mode];
    case "mount":
      return [pointer, value, pointer, mountFlags, pointer];
    case "mount_setattr":
      return [fd, value, anyFlags(names.atNames), value, value];
    case "move_mount":
      return [fd, value, fd, value, anyFlags(names.moveMountNames)];
    case "fstatfs":
      return [fd, () => "{...}"];
    case "newfstatat":
      return [fd, value, () => "{...}", anyFlags(names.atNames)];
    case "open_tree":
      return [fd, value, anyFlags(names.openTreeNames)];
    case "openat2":
      return [fd, value, value, value];
    case "personality":
      return [anyOf(names.personalityNames)];
    case "ppoll":
      return [pollDescriptors, value, pointer, pointer, value];
    case "prlimit64":
      return [value, number((resource) => rlimitNames[resource] ?? String(resource)), pointer, pointer];
    case "sched_setaffinity":
      return [value, value, cpuSet];
    case "sendmsg":
      return [fd, value, anyFlags(names.messageNames)];
    case "setgroups":
      return [value, groupList];
    case "setns":
    case "unshare":
      return call === "setns" ? [fd, anyFlags(names.cloneNames)] : [anyFlags(names.cloneNames)];
    case "setresgid":
    case "setresuid":
      return [id, id, id];
    case "setsid":
      return [];
    case "socket":
      return [
        anyOf(names.addressFamilies),
        number(names.socketType),
        number((one) => (one === 0 ? "0" : oneOf(one, names.protocols()))),
      ];
    case "symlinkat":
      return [value, fd, value];
    case "umask":
      return [mode];
    case "umount2":
      return [value, anyFlags(names.umountNames)];
    case "unlinkat":
      return [fd, value, number((bits) => flags(bits, [["AT_REMOVEDIR", AT_REMOVEDIR]]))];
    case "wait4":
      return [value, value, value, pointer];
    default:
      return undefined;
  }
}

/** AT_EACCESS has the number that AT_REMOVEDIR has elsewhere. */
const accessFlags: Show = number((bits) => flags(bits, [["AT_EACCESS", AT_REMOVEDIR], ...names.atNames()]));

/** Calls where one argument says what another one is. */
function specialCall(call: SyscallName, args: readonly Arg[]): string[] | undefined {
  const [a = 0, b = 0, c = 0, d = 0] = args;
  switch (call) {
    case "bpf":
      return printBpf(Number(a), b, c);
    case "openat": {
      const shown = [fd(a), value(b), openFlags(Number(c))];
      return (Number(c) & O_CREAT) === 0 ? shown : [...shown, mode(d)];
    }
    case "mknodat":
      return makeNode(args);
    case "fcntl": {
      const command = oneOf(Number(b), names.fcntlNames());
      return command.startsWith("F_GET") ? [fd(a), command] : [fd(a), command, value(c)];
    }
    case "ioctl":
      return [fd(a), oneOf(Number(b), names.ioctlNames()), ioctlArgument(Number(b), c)];
    case "prctl":
      return processControl(args);
    case "seccomp":
      return ["SECCOMP_SET_MODE_FILTER", flags(Number(b), names.seccompFlagNames()), value(c)];
    case "keyctl":
      return keyControl(args);
    case "ioprio_set": {
      const classes = ["IOPRIO_CLASS_NONE", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"];
      const priority = `IOPRIO_PRIO_VALUE(${classes[Number(c) >> 13]}, ${Number(c) & 0x1fff})`;
      return [a === 1 ? "IOPRIO_WHO_PROCESS" : value(a), value(b), priority];
    }
    default:
      return undefined;
  }
}

function makeNode([directory = 0, name = 0, type = 0, device = 0]: readonly Arg[]): string[] {
  const bits = Number(type);
  const kind = oneOf(bits & S_IFMT, names.fileTypeNames());
  const shown = [fd(directory), value(name), `${kind}|${octal(bits & ~S_IFMT)}`];
  const isDevice = (bits & S_IFMT) === S_IFCHR || (bits & S_IFMT) === S_IFBLK;
  if (!isDevice) return shown;
  const number = Number(device);
  const hex = (part: number) => (part === 0 ? "0" : `0x${part.toString(16)}`);
  return [...shown, `makedev(${hex((number >>> 8) & 0xfff)}, ${hex((number & 0xff) | ((number >>> 12) & 0xfff00))})`];
}

function ioctlArgument(request: number, arg: Arg): string {
  if (request === TIOCGPTPEER) return `0x${Number(arg).toString(16)}`;
  if (request === SIOCSIFFLAGS && typeof arg === "object" && arg.kind === "bytes") {
    const name = quoted(arg.bytes.subarray(0, arg.bytes.indexOf(0)));
    return `{ifr_name=${name}, ifr_flags=${flags(arg.bytes[IFNAMSIZ]!, names.interfaceFlags())}}`;
  }
  if (typeof arg === "object" && arg.kind === "words" && arg.type === "int")
    return `[${arg.words.map(value).join(", ")}]`;
  return value(arg);
}

function processControl([option = 0, b = 0, c = 0]: readonly Arg[]): string[] {
  const name = oneOf(Number(option), names.prctlNames());
  const capability = (arg: Arg) => capabilityNames[Number(arg)] ?? String(arg);
  switch (Number(option)) {
    case PR_SET_NAME:
      return [name, value(b)];
    case PR_CAPBSET_DROP:
      return [name, capability(b)];
    case PR_CAP_AMBIENT: {
      const change = oneOf(Number(b), names.ambientNames());
      return [name, change, change.endsWith("CLEAR_ALL") ? "0" : capability(c), "0", "0"];
    }
    case PR_SET_DUMPABLE:
      return [name, b === 0 ? "SUID_DUMP_DISABLE" : value(b)];
    case PR_SET_KEEPCAPS:
      return [name, value(b)];
    default:
      return [name, value(b), "0", "0", "0"];
  }
}

function keyControl([operation = 0, b = 0, c = 0]: readonly Arg[]): string[] {
  const name = oneOf(Number(operation), names.keyctlNames());
  if (name === "KEYCTL_SETPERM") return [name, value(b), flags(Number(c), names.keyPermissionNames())];
  return [name, value(b)];
}

// --- arguments that are more than a number ----------------------------------------------------------------------------

const capabilityHeader: Show = () => "{version=_LINUX_CAPABILITY_VERSION_3, pid=0}";

/** Two structs of effective, permitted, inheritable; the low 32 capabilities, then the high ones. */
const capabilityData: Show = (arg) => {
  if (typeof arg !== "object" || arg.kind !== "words") return value(arg);
  const [low0, low1, low2, high0, high1, high2] = arg.words.flatMap(halves) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const set = (low: number, high: number) => capabilitySet(BigInt(low) | (BigInt(high) << 32n));
  return `{effective=${set(low0, high0)}, permitted=${set(low1, high1)}, inheritable=${set(low2, high2)}}`;
};

const unixAddress: Show = (arg) => {
  if (typeof arg !== "object" || arg.kind !== "bytes") return value(arg);
  const end = arg.bytes.indexOf(0, 2);
  return `{sa_family=AF_UNIX, sun_path=${quoted(arg.bytes.subarray(2, end < 0 ? undefined : end))}}`;
};

const groupList: Show = (arg) => {
  if (typeof arg !== "object" || arg.kind !== "bytes") return pointer(arg);
  const view = new DataView(arg.bytes.buffer, arg.bytes.byteOffset, arg.bytes.byteLength);
  const ids = Array.from({ length: arg.bytes.length / 4 }, (_, i) => view.getUint32(4 * i, true));
  return `[${ids.join(", ")}]`;
};

const cpuSet: Show = (arg) => {
  if (typeof arg !== "object" || arg.kind !== "bytes") return value(arg);
  const cpus = [...arg.bytes].flatMap((byte, i) =>
    [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => byte & (1 << bit)).map((bit) => 8 * i + bit),
  );
  return `[${cpus.join(" ")}]`;
};

/** struct pollfd: the descriptor, which clone3(2) has written there, and POLLIN. */
const pollDescriptors: Show = () => "[{fd=<pidfd>, events=POLLIN}]";

/** The name of a slot as an argument shows it. */
export function slotName(slot: Slot): string {
  return `<${slot.name}>`;
}
