import { expect, test } from "bun:test";
import { resultsTable } from "./results-table.ts";

const output =
  "skipped: a: no such device\n(skip) a\n(skip) b (no such device)\n(skip) c (another reason)\nagain: d: Error: too late\n";

test("a line per suite, why tests were skipped or tried again, and the sum", () => {
  expect(
    resultsTable([
      { name: "unit", seconds: 1.25, passed: 1200, failed: 0, skipped: 0, output: "" },
      { name: "another suite", seconds: 100, passed: 7, failed: 1, skipped: 3, output },
    ]),
  ).toEqual([
    "suite           passed   failed  skipped  seconds",
    "unit              1200        0        0      1.3",
    "another suite        7        1        3    100.0",
    "    skipped 2 tests: no such device",
    "    skipped c (another reason): another reason",
    "    tried again: d: Error: too late",
    "all               1207        1        3",
  ]);
});
