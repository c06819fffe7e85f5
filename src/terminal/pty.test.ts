import { afterEach, describe, expect, test } from "bun:test";
import { errnoNumber } from "../abi/errno.ts";
import { AT_FDCWD, O_CLOEXEC, O_NOCTTY, O_NONBLOCK, O_RDWR } from "../abi/fcntl.ts";
import { close, writeAll } from "../kernel/files.ts";
import { addressOf, sys } from "../kernel/kernel.ts";
import { runProgram } from "../kernel/run-program.ts";
import { program, slot, slotTable } from "../plan/step.ts";
import { planSendDescriptor } from "../plan/terminal.ts";
import { openPassThrough } from "./console.ts";
import { isTerminal, receiveDescriptor, resizeTerminal, restoreTerminal, setNonBlocking, setRawMode } from "./pty.ts";

const open: number[] = [];
afterEach(() => {
  for (const fd of open.splice(0)) close(fd);
});

function kept(fd: number): number {
  expect(fd).toBeGreaterThanOrEqual(0);
  open.push(fd);
  return fd;
}

function terminal(): { master: number; slave: number } {
  const [TIOCSPTLCK, TIOCGPTPEER] = [0x40045431, 0x5441];
  const master = kept(sys("openat", AT_FDCWD, "/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC, 0));
  expect(sys("ioctl", master, TIOCSPTLCK, new Int32Array(1))).toBe(0);
  return { master, slave: kept(sys("ioctl", master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) };
}

function streamPair(): [number, number] {
  const pair = new Int32Array(2);
  expect(sys("socketpair", 1, 1 | O_CLOEXEC, 0, pair)).toBe(0);
  return [kept(pair[0]!), kept(pair[1]!)];
}

function attributes(fd: number): Uint8Array {
  const TCGETS = 0x5401;
  const termios = new Uint8Array(60);
  expect(sys("ioctl", fd, TCGETS, termios)).toBe(0);
  return termios;
}

function readable(fd: number): string {
  const buffer = new Uint8Array(100);
  return Buffer.from(buffer.subarray(0, Math.max(0, sys("read", fd, buffer, buffer.length)))).toString();
}

function send(socket: number, fd: number): void {
  const slots = slotTable();
  const sending = program("p");
  const [to, what] = [slot(slots, "socket"), slot(slots, "fd")];
  to.value = socket;
  what.value = fd;
  planSendDescriptor(sending, slots, to, what, "tty", "");
  runProgram(sending, sys);
}

describe("raw mode", () => {
  test("every byte passes as it is, and nothing is echoed", () => {
    const { master, slave } = terminal();
    setRawMode(slave);
    writeAll(master, Buffer.from("\u0003\r\u0004"));
    expect(readable(slave)).toBe("\u0003\r\u0004");
    writeAll(slave, Buffer.from("a\n"));
    expect(readable(master)).toBe("a\n");
  });

  test("is undone exactly", () => {
    const { slave } = terminal();
    const before = attributes(slave);
    const saved = setRawMode(slave)!;
    expect(attributes(slave)).not.toEqual(before);
    restoreTerminal(slave, saved);
    expect(attributes(slave)).toEqual(before);
  });

  test("of what is no terminal: nothing to undo", () => {
    const [socket] = streamPair();
    expect([isTerminal(socket), isTerminal(terminal().slave)]).toEqual([false, true]);
    expect(setRawMode(socket)).toBeUndefined();
  });
});

describe("size", () => {
  const [TIOCGWINSZ, TIOCSWINSZ] = [0x5413, 0x5414];

  function sizeOf(fd: number): number[] {
    const size = new Uint8Array(8);
    expect(sys("ioctl", fd, TIOCGWINSZ, size)).toBe(0);
    return [...new Uint16Array(size.buffer)];
  }

  test("goes from one terminal to the other", () => {
    const [from, to] = [terminal(), terminal()];
    sys("ioctl", from.slave, TIOCSWINSZ, new Uint8Array(Uint16Array.of(33, 77, 1, 2).buffer));
    resizeTerminal(from.slave, to.master);
    expect(sizeOf(to.slave)).toEqual([33, 77, 1, 2]);
  });

  test("stays when the first is no terminal", () => {
    const { master, slave } = terminal();
    resizeTerminal(streamPair()[0], master);
    expect(sizeOf(slave)).toEqual([0, 0, 0, 0]);
  });
});

test("a terminal that does not block says so", () => {
  const { master } = terminal();
  setNonBlocking(master);
  expect(sys("fcntl", master, 3) & O_NONBLOCK).toBe(O_NONBLOCK);
  expect(sys("read", master, new Uint8Array(1), 1)).toBe(-errnoNumber("EAGAIN"));
});

describe("a descriptor through a socket", () => {
  test("what is sent arrives, close-on-exec", () => {
    const [mine, theirs] = streamPair();
    const { master, slave } = terminal();
    send(theirs, master);
    const received = kept(receiveDescriptor(mine, addressOf));
    expect(received).not.toBe(master);
    expect(sys("fcntl", received, 1)).toBe(1);
    setRawMode(slave);
    writeAll(received, Buffer.from("x"));
    expect(readable(slave)).toBe("x");
  });

  test("a message without one is an error, not descriptor 0", () => {
    const [mine, theirs] = streamPair();
    writeAll(theirs, Buffer.from("tty"));
    expect(receiveDescriptor(mine, addressOf)).toBe(-errnoNumber("EBADMSG"));
  });

  test("so is the end", () => {
    const [mine, theirs] = streamPair();
    close(theirs);
    open.splice(open.indexOf(theirs), 1);
    expect(receiveDescriptor(mine, addressOf)).toBe(-errnoNumber("EBADMSG"));
  });

  test("pass-through: the agent inherits one end, and what it sends comes out of the other", () => {
    const { master, slave } = terminal();
    const pass = openPassThrough(slave);
    expect(sys("fcntl", pass.theirs, 1)).toBe(0);
    send(pass.theirs, master);
    kept(pass.receive());
  });

  test("pass-through: an agent that ends without having sent anything", () => {
    expect(() => openPassThrough(0).receive()).toThrow("cannot receive the container's terminal: bad message");
  });
});
