import { expect, test } from "bun:test";
import { processTable } from "./process-table.ts";

const EF = [
  "UID        PID  PPID  C STIME TTY          TIME CMD",
  "root         1     0  0 08:00 ?        00:00:01 /sbin/init",
  "root     22790     1  0 09:59 ?        00:00:00 /bin/sleep 600",
  "nobody   22791 22790  0 09:59 ?        00:00:00 sh -c 22790",
  "",
].join("\n");

test("the heading, and the lines of the processes, in ps's order", () => {
  const lines = EF.split("\n");
  expect(processTable(EF, [22791, 22790])).toBe(`${lines[0]}\n${lines[2]}\n${lines[3]}\n`);
});

test("no processes: the heading", () => {
  expect(processTable(EF, [])).toBe(`${EF.split("\n")[0]}\n`);
});

test("each thread of a process is a line", () => {
  const output = "    PID     LWP CMD\n     10      10 a\n     10      11 a\n     11      12 b\n";
  expect(processTable(output, [10])).toBe("    PID     LWP CMD\n     10      10 a\n     10      11 a\n");
});

test("words before the process id, with spaces and numbers in them", () => {
  const output = [
    "COMMAND                       PID",
    "sleep 600                   22790",
    "sleep 22790                     7",
  ];
  expect(processTable(`${output.join("\n")}\n`, [22790])).toBe(`${output[0]}\n${output[1]}\n`);
});

test("a column that is wider than its heading", () => {
  const output = ["S   PID CMD", "averylongname 22790 x", ""];
  expect(processTable(output.join("\n"), [22790])).toBe(`${output[0]}\n${output[1]}\n`);
});

test("PPID is not PID", () => {
  expect(() => processTable(" PPID CMD\n    1 x\n", [1])).toThrow("couldn't find PID field in ps output");
  expect(() => processTable("", [1])).toThrow("couldn't find PID field in ps output");
});
