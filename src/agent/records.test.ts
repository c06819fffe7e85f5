import { expect, test } from "bun:test";
import { syscallNumber } from "../abi/syscalls.ts";
import { add, addAll, label, type Program, place, program, type Step, slot, slotTable } from "../plan/step.ts";
import { BATCH, RECORD_ARGS, RECORD_ON_POSITIVE, RECORD_ON_ZERO, RECORD_SIZE, timesSize } from "./layout.ts";
import { type Batch, encodePrograms } from "./records.ts";

const nr = (call: Step["call"]) => syscallNumber(call, "x86-64");

interface DecodedRecord {
  readonly nr: number;
  readonly args: number[];
  readonly onPositive: number;
  readonly onZero: number;
}

/** The records of a batch, the last one included; jumps in records. */
function records({ message, recordsAt }: Batch): DecodedRecord[] {
  const view = new DataView(message.buffer, message.byteOffset + recordsAt - BATCH);
  return Array.from({ length: view.byteLength / RECORD_SIZE }, (_, i) => ({
    nr: view.getUint32(i * RECORD_SIZE, true),
    args: [0, 1, 2].map((n) => Number(view.getBigInt64(i * RECORD_SIZE + RECORD_ARGS + 8 * n, true))),
    onPositive: view.getInt32(i * RECORD_SIZE + RECORD_ON_POSITIVE, true) / RECORD_SIZE,
    onZero: view.getInt32(i * RECORD_SIZE + RECORD_ON_ZERO, true) / RECORD_SIZE,
  }));
}

function encode(timed: boolean, ...programs: Program[]): Batch[] {
  return encodePrograms(programs, { arch: "x86-64", socket: 8, slots: slotTable(), timed });
}

/** getpid, with a jump over umask to setsid. */
function jumping(): Program {
  const made = program("jumping");
  const end = label();
  addAll(made, [
    { call: "getpid", args: [], what: "a", onPositive: end },
    { call: "umask", args: [0], what: "b" },
    { call: "setsid", args: [], what: "c" },
  ]);
  end.at = 2;
  return made;
}

test("without times there is a record for each step, and the reply", () => {
  const [batch] = encode(false, jumping());
  expect(records(batch!).map((record) => record.nr)).toEqual([nr("getpid"), nr("umask"), nr("setsid"), nr("write")]);
  expect(records(batch!)[0]!.onPositive).toBe(2);
  expect(batch!.times).toBeUndefined();
});

test("a timed step has a clock before it, and jumps lead to clocks", () => {
  const [batch] = encode(true, jumping(), jumping());
  const found = records(batch!);
  const clock = nr("clock_gettime");
  const steps = [nr("getpid"), nr("umask"), nr("setsid"), nr("getpid"), nr("umask"), nr("setsid")];
  expect(found.map((record) => record.nr)).toEqual([...steps.flatMap((step) => [clock, step]), clock, nr("write")]);
  for (const at of [1, 7]) {
    expect(found[at]!.onPositive).toBe(3);
    expect(found[at]!.onZero).toBe(1);
  }
  const addresses = found.filter((record) => record.nr === clock).map(({ args }) => args[1]);
  expect(addresses).toEqual(addresses.map((_, i) => batch!.times!.address + 16 * i));
});

test("a label at the end of a program leads to the last clock", () => {
  const made = program("ends");
  const end = label();
  addAll(made, [
    { call: "getpid", args: [], what: "a", onPositive: end },
    { call: "setsid", args: [], what: "b" },
  ]);
  place(made, end);
  expect(records(encode(true, made)[0]!)[1]!.onPositive).toBe(3);
});

test("a silent program sends its times before execve", () => {
  const made = program("exec", { silent: true });
  addAll(made, [
    { call: "close_range", args: [3, 4, 0], what: "a" },
    { call: "execve", args: ["/a", 0, 0], what: "b", tolerate: ["ENOENT"] },
    { call: "execve", args: ["/b", 0, 0], what: "c" },
  ]);
  const [batch] = encode(true, made);
  const clock = nr("clock_gettime");
  const wanted = [clock, nr("close_range"), nr("write"), nr("execve"), clock, nr("execve"), clock, nr("getpid")];
  expect(records(batch!).map((record) => record.nr)).toEqual(wanted);
  expect(records(batch!)[2]!.args).toEqual([8, batch!.times!.address, timesSize(1)]);
  expect(batch!.times!.sent).toBe(1);
});

test("the clock is not asked behind a seccomp filter, where labels lead past its record", () => {
  const made = program("exec", { silent: true });
  const end = label();
  addAll(made, [
    { call: "close_range", args: [3, 4, 0], what: "a" },
    { call: "seccomp", args: [1, 0, 0], what: "b" },
    { call: "execve", args: ["/a", 0, 0], what: "c", onPositive: end },
    { call: "execve", args: ["/b", 0, 0], what: "d" },
  ]);
  place(made, end);
  add(made, { call: "exit_group", args: [1], what: "e" });
  const found = records(encode(true, made)[0]!);
  const ran: number[] = [];
  for (let at = 0; at < found.length && found[at]!.nr !== nr("exit_group"); at += found[at]!.onZero)
    ran.push(found[at]!.nr);
  const wanted = ["clock_gettime", "close_range", "write", "seccomp", "execve", "execve"] as const;
  expect(ran).toEqual(wanted.map((name) => nr(name)));
  const first = found.findIndex((record) => record.nr === nr("execve"));
  expect(found[first + found[first]!.onPositive]!.nr).toBe(nr("exit_group"));
});

test("timed steps fill a batch twice as fast, and no batch is too long", () => {
  const made = program("long");
  const table = slotTable();
  for (let i = 0; i < 1500; i++) add(made, { call: "getpid", args: [], into: slot(table, String(i)), what: String(i) });
  const once = encodePrograms([made], { arch: "x86-64", socket: 8, slots: table });
  const twice = encodePrograms([made], { arch: "x86-64", socket: 8, slots: table, timed: true });
  expect(once.flatMap(({ steps }) => steps)).toEqual(made.steps);
  expect(twice.flatMap(({ steps }) => steps)).toEqual(made.steps);
  expect(twice.length).toBeGreaterThan(1.5 * once.length);
  for (const batch of twice) expect(records(batch)).toHaveLength(2 * batch.steps.length + 2);
});
