import { expect, test } from "bun:test";
import { AT_FDCWD, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_PATH, O_WRONLY } from "../abi/fcntl.ts";
import { MS_REC, MS_SLAVE } from "../abi/mount.ts";
import { RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from "../abi/openat2.ts";
import { PR_CAPBSET_DROP, PR_SET_NAME } from "../abi/prctl.ts";
import { CLONE_INTO_CGROUP, CLONE_NEWNS, CLONE_NEWPID, CLONE_PARENT } from "../abi/sched.ts";
import { makeDevice, S_IFCHR, S_IFREG } from "../abi/stat.ts";
import { printStep, stepLine } from "./print.ts";
import {
  addressOf,
  bytes,
  label,
  numberedSlot,
  type Slot,
  type Step,
  slot,
  slotTable,
  socket,
  strings,
  struct,
  text,
} from "./step.ts";
import { unixAddress } from "./terminal.ts";

const table = slotTable();
const root: Slot = slot(table, "rootfs");
const found: Slot = slot(table, "destination /dev/pts");

function printed(call: Step["call"], ...args: Step["args"]): string {
  return printStep({ call, args, what: "" }, 0).text;
}

test("openat2 with struct open_how, and a result", () => {
  const how = struct("open_how", O_PATH | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS | RESOLVE_IN_ROOT);
  const step: Step = { call: "openat2", args: [root, "dev/pts", how, 24], into: found, what: "" };
  expect(printStep(step, 0).text).toBe(
    'openat2(<rootfs>, "dev/pts", {flags=O_RDONLY|O_CLOEXEC|O_PATH|O_DIRECTORY, resolve=RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}, 24) = <destination /dev/pts>',
  );
});

test("the mode is shown where a file may be made", () => {
  expect(printed("openat", AT_FDCWD, "/f", O_WRONLY | O_CLOEXEC, 0)).toBe('openat(AT_FDCWD, "/f", O_WRONLY|O_CLOEXEC)');
  expect(printed("openat", AT_FDCWD, "/f", O_WRONLY | O_CREAT, 0o600)).toBe(
    'openat(AT_FDCWD, "/f", O_WRONLY|O_CREAT, 0600)',
  );
});

test("mknodat: a device number only for devices", () => {
  expect(printed("mknodat", root, "null", S_IFCHR | 0o666, makeDevice(1, 3))).toBe(
    'mknodat(<rootfs>, "null", S_IFCHR|0666, makedev(0x1, 0x3))',
  );
  expect(printed("mknodat", root, "big", S_IFCHR | 0o666, makeDevice(0xabc, 0x12345))).toBe(
    'mknodat(<rootfs>, "big", S_IFCHR|0666, makedev(0xabc, 0x12345))',
  );
  expect(printed("mknodat", root, "file", S_IFREG | 0o755, 0)).toBe('mknodat(<rootfs>, "file", S_IFREG|0755)');
});

test("flags beyond 32 bits, and a slot in a struct", () => {
  const flags = CLONE_PARENT + CLONE_NEWNS + CLONE_NEWPID + CLONE_INTO_CGROUP;
  expect(printed("clone3", struct("clone_args", flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, slot(table, "cgroup")), 88)).toBe(
    "clone3({flags=CLONE_PARENT|CLONE_NEWNS|CLONE_NEWPID|CLONE_INTO_CGROUP, exit_signal=0, stack=NULL, stack_size=0, cgroup=<cgroup>}, 88)",
  );
});

test("prctl shows as many arguments as the option has", () => {
  expect(printed("prctl", PR_SET_NAME, "init")).toBe('prctl(PR_SET_NAME, "init")');
  expect(printed("prctl", PR_CAPBSET_DROP, 5, 0, 0, 0)).toBe("prctl(PR_CAPBSET_DROP, CAP_KILL)");
});

test("capabilities, limits, groups", () => {
  const data = struct("cap_data", (1n << 5n) | (1n << 32n), 1n << 34n, 1n << 7n);
  expect(printed("capset", struct("cap_header", 0x20080522), data)).toBe(
    "capset({version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=1<<CAP_KILL|1<<CAP_SYSLOG, permitted=1<<CAP_CHOWN|1<<CAP_BPF, inheritable=0})",
  );
  expect(printed("prlimit64", 0, 7, struct("rlimit", 1024, 18446744073709551615n), 0)).toBe(
    "prlimit64(0, RLIMIT_NOFILE, {rlim_cur=1024, rlim_max=RLIM64_INFINITY}, NULL)",
  );
  expect(printed("setgroups", 2, bytes(new Uint8Array(Uint32Array.of(5, 70000).buffer)))).toBe(
    "setgroups(2, [5, 70000])",
  );
  expect(printed("setgroups", 0, 0)).toBe("setgroups(0, NULL)");
});

test("strings as C writes them", () => {
  expect(printed("symlinkat", 'a"\\\n\x01é', root, "\u001f7")).toBe(
    'symlinkat("a\\"\\\\\\n\\1\\303\\251", <rootfs>, "\\0377")',
  );
  expect(printed("execve", "/bin/sh", strings(["sh", "-c"]), strings([]))).toBe('execve("/bin/sh", ["sh", "-c"], [])');
  expect(printed("openat", AT_FDCWD, text("/proc/", slot(table, "init"), "/uid_map"), O_WRONLY, 0)).toBe(
    'openat(AT_FDCWD, "/proc/<init>/uid_map", O_WRONLY)',
  );
});

test("addresses, null pointers, sockets", () => {
  expect(printed("mount", 0, "/", 0, MS_REC | MS_SLAVE, 0)).toBe('mount(NULL, "/", NULL, MS_REC|MS_SLAVE, NULL)');
  expect(printed("connect", root, bytes(unixAddress("/run/a")), 110)).toBe(
    'connect(<rootfs>, {sa_family=AF_UNIX, sun_path="/run/a"}, 110)',
  );
  expect(printed("write", socket, addressOf(numberedSlot("slots", 0)), 80)).toBe("write(<socket>, <slots>, 80)");
});

test("a call without a format of its own", () => {
  expect(printed("tgkill", 1, "x")).toBe('tgkill(1, "x")');
});

test("a line says why, and what may happen", () => {
  const step: Step = {
    call: "fchdir",
    args: [root],
    what: "enter */ it",
    pointer: "/process/cwd",
    tolerate: ["EPERM", "EACCES"],
    onTolerated: { ...label(), at: 9 },
    onZero: { ...label(), at: 7 },
  };
  expect(stepLine(printStep(step, 3))).toBe(
    "   3 fchdir(<rootfs>)  /* process.cwd: enter * / it; EPERM EACCES → 9; 0 → 7 */",
  );
});
