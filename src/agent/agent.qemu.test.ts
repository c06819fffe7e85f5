import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { type ErrnoName, errnoName } from "../abi/errno.ts";
import type { Arch } from "../abi/syscalls.ts";
import { sys } from "../kernel/kernel.ts";
import {
  bytes,
  label,
  place,
  program,
  type Slot,
  type Step,
  slot,
  socket,
  space,
  strings,
  struct,
} from "../plan/step.ts";
import { type AgentUnderTest, emulator, makeFile, PEER, readPeer, startAgent } from "./agent-under-test.ts";

const AT_FDCWD = -100;
const O_RDWR = 2;
const SEEK_SET = 0;
const SIGSTOP = 19;
const SIGCONT = 18;

for (const arch of ["x86-64", "aarch64"] satisfies Arch[]) {
  describe.skipIf(emulator(arch) === null)(`the agent on ${arch} (needs qemu-user for a foreign machine)`, () => {
    let agent: AgentUnderTest;
    beforeEach(() => {
      agent = startAgent(arch);
    });
    afterEach(() => {
      agent.end();
    });

    const newSlot = (name: string): Slot => slot(agent.slots, name);
    const nothing = (): Step => ({ call: "getpid", args: [], what: "do nothing" });
    const say = (text: string): Step => ({ call: "write", args: [PEER, text, text.length], what: `say ${text}` });
    const open = (path: string, into: Slot): Step => ({
      call: "openat",
      args: [AT_FDCWD, path, O_RDWR],
      into,
      what: `open ${path}`,
    });
    const missing = (tolerate: ErrnoName[] = []): Step => ({
      call: "openat",
      args: [AT_FDCWD, `${agent.directory}/missing`, 0],
      tolerate,
      what: "open what is missing",
    });
    /** lseek(2) gives back whatever it is asked for: a number for a slot. */
    const number = (fd: Slot, value: number, into: Slot): Step => ({
      call: "lseek",
      args: [fd, value, SEEK_SET],
      into,
      what: `make ${value}`,
    });
    /** On /proc/self/mem offsets are unsigned: -errno comes back as it is, an error of any number. */
    const error = (fd: Slot, errno: number, tolerate: ErrnoName[]): Step => ({
      call: "lseek",
      args: [fd, -errno, SEEK_SET],
      tolerate,
      what: `fail with ${errno}`,
    });

    test("passes immediates and strings, and stores results", () => {
      const [file, position] = [newSlot("file"), newSlot("position")];
      const path = makeFile(agent, "data", "content");
      const { values } = agent.run(open(path, file), number(file, 0x123456789a, position));
      expect(values?.get(position)).toBe(0x123456789an);
      expect(Number(values?.get(file))).toBeGreaterThan(PEER);
    });

    test("passes bytes, and room that the kernel fills", () => {
      const [file, count, room] = [newSlot("file"), newSlot("count"), space(7)];
      const path = makeFile(agent, "data", "content");
      const { values } = agent.run(
        open(path, file),
        { call: "pread64", args: [file, room, 7, 0], into: count, what: "read" },
        { call: "write", args: [PEER, room, 7], what: "send" },
        { call: "write", args: [PEER, bytes(new TextEncoder().encode(" and more")), 9], what: "send" },
      );
      expect(values?.get(count)).toBe(7n);
      expect(readPeer(agent)).toBe("content and more");
    });

    test("finds its own socket by `socket`", () => {
      const room = struct("u64", 1, 2, 3);
      const silent = program("silent", { silent: true });
      silent.steps.push({ call: "write", args: [socket, room, 24], what: "answer" });
      expect(agent.startProgram(silent).outcome()).toEqual({ values: new Map() });
    });

    describe("takes the value of a slot", () => {
      // mmap needs all six arguments to be right for the third page of the file, and no other, to appear at the address.
      const address = 0x10000000;
      const map = [address, 4096, 1 /* PROT_READ */, 0x100001 /* MAP_SHARED | MAP_FIXED_NOREPLACE */, 0, 8192];
      for (let n = 0; n < 6; n++) {
        test(`as argument ${n}`, () => {
          const [file, numbers] = [newSlot("file"), newSlot("numbers")];
          const [value, beyond] = [newSlot("value"), newSlot("beyond")];
          const path = makeFile(agent, "data", ["a", "b", "c", "d"].map((letter) => letter.repeat(4096)).join(""));
          const fds = { immediate: PEER + 1, path };
          const args: (number | Slot)[] = map.with(4, fds.immediate);
          args[n] = n === 4 ? file : value;
          const outcome = agent.run(
            open(path, file),
            open(path, numbers),
            number(numbers, map[n]!, value),
            { call: "mmap", args, what: "map" },
            { call: "write", args: [PEER, address + 4000, 96], what: "send" },
            { call: "write", args: [PEER, address + 4096, 1], tolerate: ["EFAULT"], into: beyond, what: "send more" },
          );
          expect(outcome.failed).toBeUndefined();
          expect(outcome.values?.get(file)).toBe(BigInt(fds.immediate));
          expect(outcome.values?.get(beyond)).toBe(-14n);
          expect(readPeer(agent)).toBe("c".repeat(96));
        });
      }
    });

    test("a struct holds pointers, and the results of steps", () => {
      const [file, length] = [newSlot("file"), newSlot("length")];
      const iovec = struct("iovec", "one two three", 4, "pointed to", length);
      const path = makeFile(agent, "data", "");
      const outcome = agent.run(
        { call: "writev", args: [PEER, iovec, 1], what: "send the first" },
        open(path, file),
        number(file, 7, length),
        { call: "writev", args: [PEER, iovec, 2], what: "send both" },
      );
      expect(outcome.failed).toBeUndefined();
      expect(readPeer(agent)).toBe("one one pointed");
    });

    test("a struct may be used for the first time after its slots are computed", () => {
      const [file, length] = [newSlot("file"), newSlot("length")];
      const iovec = struct("iovec", "pointed to", length);
      const outcome = agent.run(
        open(makeFile(agent, "data", ""), file),
        number(file, 7, length),
        { call: "writev", args: [PEER, iovec, 1], what: "send" },
        number(file, 2, length),
        { call: "writev", args: [PEER, iovec, 1], what: "send again" },
        { call: "write", args: [PEER, "!!!", length], what: "send as many" },
      );
      expect(outcome.failed).toBeUndefined();
      expect(readPeer(agent)).toBe("pointedpo!!");
    });

    test("an error that is not tolerated names its step and stops the program", () => {
      expect(agent.run(nothing(), say("before"), missing(), say("after")).failed).toBe("ENOENT of step 2");
      expect(readPeer(agent)).toBe("before");
    });

    test("the program after one that failed runs", () => {
      expect(agent.run(missing()).failed).toBe("ENOENT of step 0");
      expect(agent.run(nothing()).failed).toBeUndefined();
    });

    test("a tolerated error is stored as a negative number", () => {
      const result = newSlot("result");
      const { values } = agent.run({ ...missing(["EEXIST", "ENOENT"]), into: result }, say("after"));
      expect(values?.get(result)).toBe(-2n);
      expect(readPeer(agent)).toBe("after");
    });

    test("each errno from 1 to 127 is tolerated by its own bit only", () => {
      const memory = newSlot("memory");
      expect(agent.run(open("/proc/self/mem", memory)).failed).toBeUndefined();
      for (const errno of [1, 2, 4, 11, 31, 32, 40, 61, 63, 64, 65, 66, 88, 95, 96, 126, 127]) {
        const name = errnoName(errno) as ErrnoName;
        expect(agent.run(error(memory, errno, [name])).failed).toBeUndefined();
        const other = errnoName((errno + 64) % 128) as ErrnoName;
        const neighbours = [errno - 1, errno + 1].filter((n) => n > 0 && n < 128).map(errnoName) as ErrnoName[];
        const others = [other, ...neighbours].filter((each) => !each.startsWith("errno"));
        expect(agent.run(error(memory, errno, others)).failed).toBe(`${name} of step 0`);
      }
    });

    test("an errno above 127 is never tolerated", () => {
      const memory = newSlot("memory");
      expect(agent.run(open("/proc/self/mem", memory)).failed).toBeUndefined();
      const all = Array.from({ length: 127 }, (_, i) => errnoName(i + 1)).filter((name) => !name.startsWith("errno"));
      for (const errno of [128, 129, 130, 133, 192, 255, 256, 384, 4000]) {
        expect(agent.run(error(memory, errno, all as ErrnoName[])).failed).toBe(`${errnoName(errno)} of step 0`);
      }
    });

    test("jumps forward on a positive result, on zero, and on a tolerated error", () => {
      const test = program("jumps");
      for (const [step, jump] of [
        [nothing(), "onPositive"],
        [{ call: "fchdir", args: [PEER], tolerate: ["ENOTDIR"], what: "fail" }, "onTolerated"],
        [{ call: "chdir", args: ["/"], what: "succeed with zero" }, "onZero"],
      ] as [Step, "onPositive" | "onZero" | "onTolerated"][]) {
        const there = label();
        test.steps.push({ ...step, [jump]: there }, missing(), missing());
        place(test, there);
        test.steps.push(say(`${jump} `));
      }
      expect(agent.startProgram(test).outcome().failed).toBeUndefined();
      expect(readPeer(agent)).toBe("onPositive onTolerated onZero ");
    });

    test("goes on with the next step where no jump fits", () => {
      const test = program("no jumps");
      const [wrong, end] = [label(), label()];
      test.steps.push(
        { ...nothing(), onZero: wrong, onTolerated: wrong },
        { call: "chdir", args: ["/"], onPositive: wrong, onTolerated: wrong, what: "succeed with zero" },
        { ...missing(["ENOENT"]), onPositive: wrong, onZero: wrong },
        say("straight on"),
        { ...nothing(), onPositive: end },
      );
      place(test, wrong);
      test.steps.push(missing());
      place(test, end);
      expect(agent.startProgram(test).outcome().failed).toBeUndefined();
      expect(readPeer(agent)).toBe("straight on");
    });

    test("jumps backward on a positive result: reads a file byte by byte", () => {
      const [file, room, test, again] = [newSlot("file"), space(1), program("loop"), label()];
      test.steps.push(open(makeFile(agent, "data", "loop"), file), {
        ...nothing(),
        onPositive: { kind: "label", at: 3 },
      });
      place(test, again);
      test.steps.push(
        { call: "write", args: [PEER, room, 1], what: "send a byte" },
        { call: "read", args: [file, room, 1], onPositive: again, what: "read a byte" },
      );
      expect(agent.startProgram(test).outcome().failed).toBeUndefined();
      expect(readPeer(agent)).toBe("loop");
    });

    test("jumps backward on zero and on a tolerated error", () => {
      const test = program("loops");
      const [remove, check, done] = [label(), label(), label()];
      const path = makeFile(agent, "data", "");
      test.steps.push({ ...nothing(), onPositive: check });
      place(test, done);
      test.steps.push(say("gone"), { ...nothing(), onPositive: { kind: "label", at: 6 } });
      place(test, remove);
      test.steps.push({ call: "unlinkat", args: [AT_FDCWD, path, 0], what: "remove" });
      place(test, check);
      test.steps.push(
        {
          call: "faccessat2",
          args: [AT_FDCWD, path, 0, 0],
          onZero: remove,
          onTolerated: done,
          tolerate: ["ENOENT", "ENOSYS"],
          what: "look",
        },
        missing(),
      );
      expect(agent.startProgram(test).outcome().failed).toBeUndefined();
      expect(existsSync(path)).toBeFalse();
      expect(readPeer(agent)).toBe("gone");
    });

    describe("a call that waits", () => {
      const [SOL_SOCKET, SO_RCVTIMEO, MSG_DONTWAIT] = [1, 20, 0x40];
      const receive = (flags: number, retry: boolean): Step => ({
        call: "recvfrom",
        args: [PEER, space(5), 5, flags, 0, 0],
        retry,
        what: "receive",
      });
      /** With a time limit, recvfrom(2) does not begin again by itself when a stop signal interrupts it (signal(7)). */
      const limit = (): Step => ({
        call: "setsockopt",
        args: [PEER, SOL_SOCKET, SO_RCVTIMEO, struct("timespec", 9, 0), 16],
        what: "limit",
      });
      const interrupt = () => {
        Bun.sleepSync(200);
        sys("kill", agent.pid, SIGSTOP);
        Bun.sleepSync(50);
        sys("kill", agent.pid, SIGCONT);
        Bun.sleepSync(50);
      };

      test("is repeated on EAGAIN", () => {
        const running = agent.start(receive(MSG_DONTWAIT, true));
        Bun.sleepSync(50);
        sys("write", agent.peer, "hello", 5);
        expect(running.outcome().failed).toBeUndefined();
      });

      test("fails with EAGAIN where it is not to be repeated", () => {
        expect(agent.run(receive(MSG_DONTWAIT, false)).failed).toBe("EAGAIN of step 0");
      });

      test("is repeated on EINTR", () => {
        const running = agent.start(limit(), receive(0, true));
        interrupt();
        sys("write", agent.peer, "hello", 5);
        expect(running.outcome().failed).toBeUndefined();
      });

      test("fails with EINTR where it is not to be repeated", () => {
        const running = agent.start(limit(), receive(0, false));
        interrupt();
        sys("write", agent.peer, "hello", 5);
        expect(running.outcome().failed).toBe("EINTR of step 1");
      });

      test("fails with other errors although it is to be repeated", () => {
        expect(agent.run({ ...missing(), retry: true }).failed).toBe("ENOENT of step 0");
      });
    });

    test("slots outlive the program", () => {
      const file = newSlot("file");
      expect(agent.run(open(makeFile(agent, "data", ""), file)).failed).toBeUndefined();
      for (let i = 0; i < 20; i++) {
        const outcome = agent.run({ call: "write", args: [file, `${i} `, `${i} `.length], what: "write" });
        expect(outcome.failed).toBeUndefined();
      }
      const written = Array.from({ length: 20 }, (_, i) => `${i} `).join("");
      expect(readFileSync(`${agent.directory}/data`, "utf8")).toBe(written);
    });

    test("a long program arrives in several batches", () => {
      const file = newSlot("file");
      const steps = [open(makeFile(agent, "data", ""), file)];
      for (let i = 0; i < 3000; i++)
        steps.push({ call: "write", args: [file, `${i},`, `${i},`.length], what: "write" });
      const running = agent.start(...steps);
      expect(running.batches.length).toBeGreaterThan(2);
      expect(running.outcome().failed).toBeUndefined();
      const written = Array.from({ length: 3000 }, (_, i) => `${i},`).join("");
      expect(readFileSync(`${agent.directory}/data`, "utf8")).toBe(written);
    });

    test("a step that fails in a later batch is named", () => {
      const running = agent.start(...Array.from({ length: 3000 }, nothing), missing());
      const last = running.batches.at(-1)!.steps.length - 1;
      expect(running.outcome().failed).toBe(`ENOENT of step ${last}`);
    });

    test("long data comes through the heap", () => {
      const file = newSlot("file");
      const long = Array.from({ length: 60_000 }, (_, i) => `word ${i} `).join("");
      const outcome = agent.run(
        open(makeFile(agent, "data", ""), file),
        { call: "write", args: [file, long, long.length], what: "write a string" },
        { call: "write", args: [file, bytes(Buffer.from(long).reverse()), long.length], what: "write bytes" },
      );
      expect(outcome.failed).toBeUndefined();
      expect(readFileSync(`${agent.directory}/data`, "latin1")).toBe(long + Buffer.from(long).reverse().toString());
    });

    test("becomes another program, with a long environment", () => {
      const script = 'printf %s "$# $1 $NAME_0 $NAME_2999" >&4';
      const environment = Array.from({ length: 3000 }, (_, i) => `NAME_${i}=value ${i}`);
      const test = program("exec", { silent: true });
      test.steps.push({
        call: "execve",
        args: ["/bin/sh", strings(["sh", "-c", script, "sh", "an argument"]), strings(environment)],
        what: "execute",
      });
      expect(agent.startProgram(test).outcome().failed).toBe("the agent is gone");
      expect(readPeer(agent)).toBe("1 an argument value 0 value 2999");
    });

    test("ends when its socket is closed", () => {
      expect(agent.end()).toBe(0);
      agent = startAgent(arch);
    });

    test("ends when its socket is closed after programs have run", () => {
      agent.run(nothing(), missing(["ENOENT"]));
      agent.run(missing());
      expect(agent.end()).toBe(0);
      agent = startAgent(arch);
    });
  });
}
