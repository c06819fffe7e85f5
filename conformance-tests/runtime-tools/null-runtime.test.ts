/** A runtime that does nothing but fail must fail the suite: many of its lines are ok whenever the runtime fails. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { judge } from "./judge.ts";
import { readCounts, readExceptions } from "./lists.ts";
import { isTrue } from "./machine.ts";
import { programs, runProgram } from "./program.ts";

/** Programs that ask for nothing but failure. What they ask for is in tests/ too, with its opposite. */
const ASK_FOR_FAILURE = ["linux_ns_path_type", "prestart_fail", "process_rlimits_fail"];

/** They sleep most of their time, and there are no containers that could be in each other's way. */
const SIDE_BY_SIDE = 8;

test("runtime-tools: /bin/false passes only what asks for failure", async () => {
  const counts = readCounts(readFileSync(`${import.meta.dir}/counts.txt`, "utf8"), isTrue);
  const listed = readExceptions(readFileSync(`${import.meta.dir}/expected.txt`, "utf8"));
  const exceptions = listed.filter(({ where }) => where.every(isTrue));
  const waiting = programs().filter((name) => !exceptions.some((e) => e.kind === "skip" && e.program === name));
  const passed: string[] = [];
  const worker = async () => {
    for (let program = waiting.shift(); program !== undefined; program = waiting.shift()) {
      const own = exceptions.filter((exception) => exception.program === program);
      // Without what is left behind: others make and remove theirs meanwhile.
      const ending = { ...(await runProgram(program, "/bin/false")), left: [] };
      if (judge(ending, counts.get(program) ?? { ok: 0, skipped: 0 }, own).length === 0) passed.push(program);
    }
  };
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, worker));
  expect(passed.sort()).toEqual(ASK_FOR_FAILURE);
}, 400_000);
