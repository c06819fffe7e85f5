import { expect, test } from "bun:test";
import { type Ending, judge } from "./judge.ts";
import { readCounts, readExceptions } from "./lists.ts";

const ended = (stdout: string, rest: Partial<Ending> = {}): Ending => {
  return { status: 0, stdout, stderr: "", left: [], ...rest };
};
const exceptions = (line: string) => readExceptions(line);
const two = { ok: 2, skipped: 0 };

test("as many ok lines as there should be", () => {
  expect(judge(ended("ok 1 - a\nok 2 - b\n1..2\n"), two, [])).toEqual([]);
});

test("fewer, more, and none", () => {
  expect(judge(ended("ok 1 - a\n1..1\n"), two, [])).toEqual(["1 ok lines instead of 2"]);
  expect(judge(ended("ok 1 - a\nok 2 - b\nok 3 - c\n1..3\n"), two, [])).toEqual(["3 ok lines instead of 2"]);
  expect(judge(ended(""), two, [])).toEqual(["0 ok lines instead of 2"]);
});

test("a plan that was not kept", () => {
  expect(judge(ended("ok 1 - a\nok 2 - b\n1..3\n"), two, [])).toEqual(["2 lines where 3 were planned"]);
});

test("more that was skipped than should be", () => {
  expect(judge(ended("ok 1 - a\nok 2 - b\nok 3 # SKIP\n"), two, [])).toEqual(["1 skipped lines instead of 0"]);
});

test("a not ok line, tolerated by its text, as often as the list says", () => {
  const ending = ended("ok 1 - a\nok 2 - b\nnot ok 3 - limit is set\n1..3\n");
  expect(judge(ending, two, [])).toEqual(["not ok: limit is set"]);
  expect(judge(ending, two, exceptions('not-ok all x "limit is": reason'))).toEqual([]);
  expect(judge(ending, two, exceptions('not-ok all x 2× "limit is": reason'))).toEqual([
    '1× "limit is" instead of 2×, as expected.txt has it',
  ]);
});

test("what is tolerated and no longer happens", () => {
  const ending = ended("ok 1 - a\nok 2 - b\n1..2\n");
  for (const kind of ["not-ok", "error", "left"]) {
    expect(judge(ending, two, exceptions(`${kind} all x "it": reason`))).toEqual([
      '0× "it" instead of 1×, as expected.txt has it',
    ]);
  }
});

test("a program without ok lines fails by its details", () => {
  const none = { ok: 0, skipped: 0 };
  const ending = ended('  ---\n  {"error": "hook was not called"}\n  ...\n1..0\n');
  expect(judge(ended("1..0\n"), none, [])).toEqual([]);
  expect(judge(ending, none, [])).toEqual(["error: hook was not called"]);
  expect(judge(ending, none, exceptions('error all x "hook was": reason'))).toEqual([]);
});

test("details of programs with ok lines are none: they tell of errors that were asked for", () => {
  expect(judge(ended('ok 1 - a\n  ---\n  {"error": "exists"}\n  ...\nok 2 - b\n1..2\n'), two, [])).toEqual([]);
});

test("exit status, and the time limit", () => {
  const all = "ok 1 - a\nok 2 - b\n1..2\n";
  expect(judge(ended(all, { status: 1, stderr: "why\n" }), two, [])).toEqual(["error: exit status 1: why"]);
  expect(judge(ended(all, { status: -1 }), two, [])).toEqual(["error: it took too long: "]);
});

test("what is left behind", () => {
  const ending = ended("ok 1 - a\nok 2 - b\n1..2\n", { left: ["cgroup /sys/fs/cgroup/x"] });
  expect(judge(ending, two, [])).toEqual(["left behind: cgroup /sys/fs/cgroup/x"]);
});

test("lists: what is not understood is an error", () => {
  for (const line of ["skip all x", 'skip all x "text": reason', "not-ok all x: reason", "fails all x: reason"]) {
    expect(() => readExceptions(line)).toThrow("not understood");
  }
  expect(() => readCounts("x 1", () => true)).toThrow("not understood");
});

test("counts: the last line that is true", () => {
  const text = "# comment\nx 1 0\nx 2 0 v2\n";
  expect(readCounts(text, (word) => word === "v2").get("x")).toEqual({ ok: 2, skipped: 0 });
  expect(readCounts(text, () => false).get("x")).toEqual({ ok: 1, skipped: 0 });
});
