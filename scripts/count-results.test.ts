import { expect, test } from "bun:test";
import { addUp, closingLine, countResults, failedTests, skippedTests } from "./count-results.ts";

const bunOutput = `bun test v1.4.5 (a7733435c)

src/a.test.ts:
(pass) one [0.15ms]
(skip) two (needs binutils)
error: expect(received).toBe(expected)
Expected: 1
(fail) three [1.2ms]

 1 pass
 1 skip
 1 fail
 4 expect() calls
Ran 3 tests across 1 file. [1.72s]

1 test failed:
(fail) three [1.2ms]
`;

test("the summary of bun test counts", () => {
  expect(countResults(bunOutput, 1)).toEqual({ passed: 1, failed: 1, skipped: 1 });
  expect(skippedTests(bunOutput)).toEqual(new Map([["needs binutils", ["two (needs binutils)"]]]));
  const cause = ["error: expect(received).toBe(expected)", "Expected: 1"];
  expect(failedTests(bunOutput)).toEqual([{ name: "three [1.2ms]", cause }]);
});

test("a reason to skip is found where it is given", () => {
  const output =
    "skipped: topic: name: not on this kernel\n(skip) topic: name\n(skip) other (needs root)\n" +
    "(skip) a group (needs a board) > test\n(skip) bare\n";
  expect([...skippedTests(output)]).toEqual([
    ["not on this kernel", ["topic: name"]],
    ["needs root", ["other (needs root)"]],
    ["needs a board", ["a group (needs a board) > test"]],
    ["no reason given", ["bare"]],
  ]);
});

test("an error outside of any test is a failure", () => {
  expect(countResults(" 2 pass\n 0 fail\n 1 error\n", 1)).toEqual({ passed: 2, failed: 1, skipped: 0 });
});

test("a suite that ends with an error has failed, whatever its summary says", () => {
  expect(countResults(" 2 pass\n 0 fail\n", 139)).toEqual({ passed: 2, failed: 1, skipped: 0 });
});

test("a suite that crashes before its summary has failed; what ran before counts", () => {
  expect(countResults("(pass) one\n(pass) two\nSegmentation fault\n", 139)).toEqual({
    passed: 2,
    failed: 1,
    skipped: 0,
  });
  expect(countResults("(pass) one\n(fail) two\n", 1)).toEqual({ passed: 1, failed: 1, skipped: 0 });
});

test("a suite that ran nothing has failed", () => {
  expect(countResults("", 0)).toEqual({ passed: 0, failed: 1, skipped: 0 });
  expect(countResults("0 passed, 0 failed\n", 0)).toEqual({ passed: 0, failed: 1, skipped: 0 });
});

test("a suite whose every test is skipped has not failed", () => {
  expect(countResults(" 0 pass\n 3 skip\n 0 fail\n", 0)).toEqual({ passed: 0, failed: 0, skipped: 3 });
});

test("several summaries add up", () => {
  const output = "7 passed, 0 failed\nmore\n2 passed, 1 failed, 3 skipped\n";
  expect(countResults(output, 1)).toEqual({ passed: 9, failed: 1, skipped: 3 });
});

test("what a test prints is no summary", () => {
  expect(countResults("the word: 9 passed, 0 failed\n5 pass\n 1 pass\n 0 fail\n", 0).passed).toBe(1);
});

test("the closing line names skipped tests only where there are some", () => {
  expect(closingLine({ passed: 3, failed: 0, skipped: 0 })).toBe("3 passed, 0 failed");
  const sum = addUp([
    { passed: 3, failed: 1, skipped: 0 },
    { passed: 1, failed: 0, skipped: 2 },
  ]);
  expect(closingLine(sum)).toBe("4 passed, 1 failed, 2 skipped");
});
