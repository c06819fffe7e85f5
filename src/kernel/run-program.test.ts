import { describe, expect, test } from "bun:test";
import type { SyscallName } from "../abi/syscalls.ts";
import { TsrunError } from "../errors.ts";
import {
  add,
  addAll,
  addressOf,
  bytes,
  commandLine,
  label,
  pair,
  place,
  program,
  type Slot,
  type Step,
  slot,
  slotTable,
  socket,
  space,
  strings,
  struct,
  text,
} from "../plan/step.ts";
import type { ChildEnd } from "./child.ts";
import type { Sys, SysArg } from "./kernel.ts";
import { runProgram } from "./run-program.ts";

type Call = [SyscallName, ...SysArg[]];

const EPERM = -1;
const EINTR = -4;
const EAGAIN = -11;

/** A kernel that remembers what it was asked, and answers in turn; 0 when it runs out of answers. */
function recorder(...answers: number[]): { sys: Sys; calls: Call[] } {
  const calls: Call[] = [];
  return {
    calls,
    sys: (name, ...args) => {
      calls.push([name, ...args.filter((arg) => arg !== undefined)]);
      return answers.shift() ?? 0;
    },
  };
}

const step = (call: SyscallName, args: Step["args"] = [], more: Partial<Step> = {}): Step => ({
  call,
  args,
  what: call,
  ...more,
});

function run(steps: Step[], ...answers: number[]): Call[] {
  const { sys, calls } = recorder(...answers);
  runProgram({ ...program("p"), steps }, sys);
  return calls;
}

test("steps in order, arguments as they are", () => {
  expect(run([step("setsid"), step("chdir", ["/"]), step("umask", [0o22]), step("prctl", [1n << 40n])])).toEqual([
    ["setsid"],
    ["chdir", "/"],
    ["umask", 18],
    ["prctl", 1n << 40n],
  ]);
});

test("an empty program asks nothing", () => expect(run([])).toEqual([]));

describe("slots", () => {
  const fresh = (): Slot => slot(slotTable(), "fd");

  test("a result is an argument of later steps, and known afterwards", () => {
    const fd = fresh();
    expect(run([step("openat", ["/a"], { into: fd }), step("close", [fd])], 7)).toEqual([
      ["openat", "/a"],
      ["close", 7],
    ]);
    expect(fd.value).toBe(7);
  });

  test("one that nothing has set is a fault of the plan", () => {
    expect(() => run([step("close", [fresh()])])).toThrow('slot "fd" is used before it is known');
    expect(() => run([step("openat", [text("/proc/", fresh())])])).toThrow('slot "fd" is used before it is known');
  });

  test("a tolerated error is the result", () => {
    const fd = fresh();
    run([step("openat", ["/a"], { into: fd, tolerate: ["EPERM"] })], EPERM);
    expect(fd.value).toBe(EPERM);
  });

  test("a text with slots in it", () => {
    const pid = fresh();
    pid.value = 12;
    expect(run([step("openat", [text("/proc/", pid, "/uid_map")])])).toEqual([["openat", "/proc/12/uid_map"]]);
  });

  test("in a struct: the value of the step that has run before", () => {
    const fd = fresh();
    const attributes = struct("mount_attr", 1, 2, 3, fd);
    const [, call] = run([step("openat", ["/a"], { into: fd }), step("mount_setattr", [attributes])], 9);
    expect([...(call![1] as BigUint64Array)]).toEqual([1n, 2n, 3n, 9n]);
  });

  test("in a struct, when that was used before: the new value is put into its home", () => {
    const fd = fresh();
    const attributes = struct("mount_attr", fd);
    const setattr = step("mount_setattr", [attributes]);
    const seen: bigint[] = [];
    const sys: Sys = (name, ...args) => {
      if (name === "openat") return 9;
      seen.push((args[0] as BigUint64Array)[0]!);
      return 0;
    };
    runProgram({ ...program("p"), steps: [setattr, step("openat", ["/a"], { into: fd }), setattr] }, sys);
    expect(seen).toEqual([0n, 9n]);
  });

  test("what the kernel writes through a pointer", () => {
    const table = slotTable();
    const [mode, rdev] = [slot(table, "mode"), slot(table, "rdev")];
    const sys: Sys = (_, ...args) => {
      (args[0] as BigUint64Array).set([3n, BigInt.asUintN(64, -2n)]);
      return 0;
    };
    runProgram({ ...program("p"), steps: [step("fstat", [addressOf(mode, [rdev])])] }, sys);
    expect([mode.value, rdev.value]).toEqual([3, -2]);
  });
});

describe("data", () => {
  const passed = (arg: Step["args"][number]) => run([step("write", [arg])])[0]![1];

  test("bytes", () => expect(passed(bytes(Uint8Array.of(1, 2)))).toEqual(Uint8Array.of(1, 2)));

  test("room for the kernel", () => expect(passed(space(3))).toEqual(new Uint8Array(3)));

  test("words of a struct are 64 bits, negative ones too", () => {
    expect(passed(struct("rlimit", -1, 0xffffffffffffffffn, 5))).toEqual(
      BigUint64Array.of(0xffffffffffffffffn, 0xffffffffffffffffn, 5n),
    );
  });

  test("strings are addresses, and NULL behind them", () => {
    const array = passed(strings(["a", "b"])) as BigUint64Array;
    expect(array).toHaveLength(3);
    expect(array[2]).toBe(0n);
    expect(array[0]).not.toBe(array[1]!);
    expect(array[0]).not.toBe(0n);
  });

  test("a struct in a struct is its address", () => {
    const [outer] = passed(struct("msghdr", struct("iovec", 1))) as BigUint64Array;
    expect(outer).not.toBe(0n);
  });

  test("the same data is the same memory for every step", () => {
    const room = space(8);
    const [first, second] = run([step("read", [room]), step("write", [room])]);
    expect(first![1]).toBe(second![1]!);
  });

  test("the agent's socket is not for tsrun", () => {
    expect(() => run([step("write", [socket])])).toThrow('data of kind "socket" is only for the agent');
  });
});

describe("jumps", () => {
  function jumping(when: "onPositive" | "onZero" | "onTolerated", answer: number): string[] {
    const target = label();
    const steps = program("p");
    addAll(steps, [step("openat", [], { tolerate: ["EPERM"], [when]: target }), step("setsid")]);
    place(steps, target);
    add(steps, step("umask"));
    return run(steps.steps, answer).map(([name]) => name);
  }

  for (const [when, answer] of [
    ["onPositive", 5],
    ["onZero", 0],
    ["onTolerated", EPERM],
  ] as const) {
    test(`${when}: taken`, () => expect(jumping(when, answer)).toEqual(["openat", "umask"]));
    for (const other of [5, 0, EPERM].filter((value) => value !== answer)) {
      test(`${when}: not taken on ${other}`, () => expect(jumping(when, other)).toEqual(["openat", "setsid", "umask"]));
    }
  }

  test("behind the last step is the end", () => {
    const end = label();
    const steps = program("p");
    addAll(steps, [step("openat", [], { onZero: end }), step("setsid")]);
    place(steps, end);
    expect(run(steps.steps, 0)).toHaveLength(1);
  });
});

describe("errors", () => {
  test("one that is not tolerated ends the program", () => {
    const { sys, calls } = recorder(0, -13);
    const steps = [
      step("setsid"),
      step("chdir", ["/x"], { what: 'enter "/x"', pointer: "/process/cwd" }),
      step("umask"),
    ];
    expect(() => runProgram({ ...program("p"), steps }, sys)).toThrow(
      'cannot enter "/x": permission denied (process.cwd)',
    );
    expect(calls).toHaveLength(2);
  });

  test("tolerating one errno is not tolerating another", () => {
    expect(() => run([step("chdir", [], { tolerate: ["ENOENT", "EPERM"] })], -13)).toThrow(TsrunError);
  });

  test("EINTR and EAGAIN: again where the step says so, an error otherwise", () => {
    expect(run([step("ppoll", [], { retry: true })], EINTR, EAGAIN, 1)).toHaveLength(3);
    expect(() => run([step("ppoll")], EINTR)).toThrow("interrupted system call");
  });

  /** A kernel that fails at step n, for every n: nothing behind n runs, and the error is that step's. */
  test("at every step", () => {
    const steps = Array.from({ length: 9 }, (_, i) => step("chdir", [`/${i}`], { what: `do ${i}` }));
    for (const n of steps.keys()) {
      const { sys, calls } = recorder(...new Array<number>(n).fill(0), EPERM);
      expect(() => runProgram({ ...program("p"), steps }, sys)).toThrow(`cannot do ${n}: operation not permitted`);
      expect(calls).toHaveLength(n + 1);
    }
  });
});

test("a step that can be explained is asked again when it fails, and what the kernel wrote is in the error", () => {
  const log = space(32);
  const sys: Sys = (_, level, buffer) => {
    if (level === 1) (buffer as Uint8Array).set(new TextEncoder().encode("first\nsecond\n\nthird\nfourth\n"));
    return EPERM;
  };
  const loading = step("bpf", [0], { explain: { args: [1, log], log } });
  expect(() => runProgram({ ...program("p"), steps: [loading] }, sys)).toThrow(
    "cannot bpf: operation not permitted: second; third; fourth",
  );
});

test("two fields of a word, known when the step runs", () => {
  const table = slotTable();
  const first = slot(table, "first");
  const steps = [step("dup", [], { into: first }), step("bpf", [struct("bpf_attr", pair(first, -1), pair(3, first))])];
  expect(run(steps, 7)[1]![1]).toEqual(new BigUint64Array([0xffffffff00000007n, 0x700000003n]));
});

test("an observer is told of every step, the one that fails too", () => {
  const told: [string, number][] = [];
  const { sys } = recorder(3, EPERM, -13);
  const steps = [step("setsid"), step("umask", [], { tolerate: ["EPERM"] }), step("chdir"), step("close")];
  const observe = ({ call }: Step, result: number) => void told.push([call, result]);
  expect(() => runProgram({ ...program("p"), steps }, sys, observe)).toThrow();
  expect(told).toEqual([
    ["setsid", 3],
    ["umask", EPERM],
    ["chdir", -13],
  ]);
});

describe("execve is a child that is waited for", () => {
  const pid: Slot = { ...slot(slotTable(), "pid"), value: 4711 };
  const command = step("execve", ["/usr/bin/newuidmap", commandLine("newuidmap", pid, "0"), 0], {
    what: "map ids",
    pointer: "/linux/uidMappings",
  });
  function ran(end: ChildEnd, steps = [command]): unknown[] {
    const seen: unknown[] = [];
    const { sys, calls } = recorder();
    runProgram({ ...program("p"), steps }, sys, undefined, (path, argv) => {
      seen.push([path, ...argv]);
      return end;
    });
    return [...seen, ...calls];
  }

  test("with the values of slots; the program goes on when it has succeeded", () => {
    expect(ran({ started: 0, status: 0, output: "" }, [command, step("setsid")])).toEqual([
      ["/usr/bin/newuidmap", "newuidmap", "4711", "0"],
      ["setsid"],
    ]);
  });

  test.each([
    [{ started: -2, status: 0, output: "" }, "cannot map ids: no such file or directory (linux.uidMappings)"],
    [{ started: 0, status: 256, output: "not\nallowed" }, "cannot map ids: not; allowed (linux.uidMappings)"],
    [{ started: 0, status: 256, output: "" }, "cannot map ids: /usr/bin/newuidmap: exit status 1 (linux.uidMappings)"],
    [
      { started: 0, status: 9, output: "" },
      "cannot map ids: /usr/bin/newuidmap: killed by signal 9 (linux.uidMappings)",
    ],
  ])("%j", (end, message) => {
    expect(() => ran(end)).toThrow(message);
  });
});
