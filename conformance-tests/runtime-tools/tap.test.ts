import { expect, test } from "bun:test";
import { parseTap } from "./tap.ts";

test("ok, not ok and skipped lines, and the plan", () => {
  expect(parseTap("TAP version 13\nok 1 - one\nnot ok 2 - two\nok 3 # SKIP no such system\nok 4\n1..4\n")).toEqual({
    ok: ["one", ""],
    notOk: ["two"],
    skipped: 1,
    planned: 4,
    errors: [],
  });
});

test("lines in details are no tests, and their error is found", () => {
  const output =
    'TAP version 13\n  ---\n  {\n    "error": "no hook",\n    "stdout": "not ok 7 - x"\n  }\n  ...\n1..0\n';
  expect(parseTap(output)).toEqual({ ok: [], notOk: [], skipped: 0, planned: 0, errors: ["no hook"] });
});

test("details without an error, and details that are no JSON", () => {
  expect(parseTap('  ---\n  {"reference": "https://x"}\n  ...\n').errors).toEqual([]);
  expect(parseTap("  ---\n  level: MUST\n  ...\n").errors).toEqual(["details that cannot be read: level: MUST"]);
});

test("several streams, whose plans add up", () => {
  const stream = "TAP version 13\nok 1 - a\n1..1\n";
  expect(parseTap(stream + stream)).toMatchObject({ ok: ["a", "a"], planned: 2 });
});

test("no plan", () => {
  expect(parseTap("").planned).toBeUndefined();
});
