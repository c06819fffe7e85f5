import { describe, expect, test } from "bun:test";
import type { Process } from "../spec/types.ts";
import { type Data, program, slot, slotTable } from "./step.ts";
import { planSendDescriptor, planTerminal, unixAddress } from "./terminal.ts";
import { printProgram } from "./test-printer.ts";

function planned(process: Partial<Process> = {}, isConsole = false, ownDevpts = false) {
  const slots = slotTable();
  const steps = program("p");
  planTerminal(steps, {
    process: { args: ["sh"], cwd: "/", terminal: true, ...process },
    pointer: "/process",
    slots,
    rootfs: slot(slots, "rootfs"),
    devpts: ownDevpts ? slot(slots, "mount of devpts") : undefined,
    console: slot(slots, "console"),
    isConsole,
  });
  return steps;
}

test("the slave is asked of its master, never opened by name", () => {
  expect(printProgram(planned({ user: { uid: 7, gid: 8 } }))).toEqual([
    '$ptmx = openat2($rootfs, "dev/pts/ptmx", {0x80102, 0, 0x12}, 0x18)',
    "ioctl($ptmx, 0x40045431, {0})",
    "$pty = ioctl($ptmx, 0x5441, 0x80102)",
    "fchown($pty, 7, -1) ? EPERM EINVAL EROFS",
    "$copy of ptmx = dup($ptmx)",
    'sendmsg($console, {0, 0, {"/dev/pts/ptmx", 0xd}, 1, {0x14, 0x100000001, $copy of ptmx}, 0x18, 0}, 0x4000)',
    "close($copy of ptmx)",
    "ioctl($pty, 0x540e, 0)",
    "dup3($pty, 0, 0)",
    "dup3($pty, 1, 0)",
    "dup3($pty, 2, 0)",
    "close($pty)",
    "close($ptmx)",
    "close($console)",
  ]);
});

test("consoleSize: rows, then columns, 16 bits each, and no pixels", () => {
  const { steps } = planned({ consoleSize: { height: 33, width: 77 } });
  const sizing = steps.find(({ pointer }) => pointer === "/process/consoleSize")!;
  const { words } = sizing.args[2] as Data & { kind: "words" };
  const size = new Uint16Array(BigUint64Array.of(BigInt(words[0] as number)).buffer);
  expect([...size]).toEqual([33, 77, 0, 0]);
  expect(sizing.args[1]).toBe(0x5414);
});

test("a devpts that was mounted for the container is asked itself, whatever is at its place by then", () => {
  expect(printProgram(planned({}, true, true))[0]).toBe(
    '$ptmx = openat2($mount of devpts, "ptmx", {0x80102, 0, 0x12}, 0x18)',
  );
});

test("/dev/console: made where it is missing, as a file, through no link", () => {
  const lines = printProgram(planned({}, true));
  const at = lines.findIndex((line) => line.includes('"console"'));
  expect(lines.slice(at - 1, at + 2)).toEqual([
    '$/dev = openat2($rootfs, "dev", {0x290000, 0, 0x12}, 0x18)',
    'mknodat($/dev, "console", 0x8180, 0) ? EEXIST',
    '$/dev/console = openat($/dev, "console", 0x2a0000, 0)',
  ]);
  expect(lines.some((line) => line.startsWith("move_mount("))).toBe(true);
});

test("a missing devpts says what is needed", () => {
  expect(planned().steps[0]).toMatchObject({
    pointer: "/process/terminal",
    hint: "process.terminal needs a devpts mount on /dev/pts",
  });
});

test("a sent descriptor: struct msghdr, iovec and cmsghdr", () => {
  const slots = slotTable();
  const steps = program("p");
  planSendDescriptor(steps, slots, slot(slots, "socket"), slot(slots, "fd"), "name", "");
  expect(printProgram(steps)).toEqual([
    "$copy of fd = dup($fd)",
    'sendmsg($socket, {0, 0, {"name", 4}, 1, {0x14, 0x100000001, $copy of fd}, 0x18, 0}, 0x4000)',
    "close($copy of fd)",
  ]);
  const copy = steps.steps[0]!.into!;
  expect(copy.home).toMatchObject({ type: "cmsg_rights" });
});

describe("unixAddress", () => {
  test("family, path, NUL", () => {
    const address = unixAddress("/a");
    expect([address.length, ...address.subarray(0, 6)]).toEqual([110, 1, 0, 0x2f, 0x61, 0, 0]);
  });

  test("107 bytes fit, 108 are refused and not cut", () => {
    expect(unixAddress("/".padEnd(107, "x"))[109]).toBe(0);
    expect(() => unixAddress("/".padEnd(108, "x"))).toThrow("should be of 1 to 107 bytes");
    expect(() => unixAddress(`/${"ä".repeat(54)}`)).toThrow("should be of 1 to 107 bytes");
  });

  test("an empty path would be a name in the abstract name space", () => {
    expect(() => unixAddress("")).toThrow('cannot use "" as the path of a socket');
  });
});
