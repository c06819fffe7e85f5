/** The programs of the OCI runtime-tools suite, one after another: they use fixed paths for their cgroups. */
import { afterAll, beforeAll, test as bunTest, expect } from "bun:test";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { slow } from "../../tests/helpers/time.ts";
import { loadProfile, removeProfile } from "./apparmor.ts";
import { judge } from "./judge.ts";
import { readCounts, readExceptions } from "./lists.ts";
import { CGROUPS, isTrue } from "./machine.ts";
import { programs, runProgram } from "./program.ts";
import { parseTap } from "./tap.ts";

const here = import.meta.dir;
/** RUNTIME: a path, or a name in PATH. */
const RUNTIME = runtimeOf(process.env.RUNTIME);
const WHERE = `runtime-tools, ${CGROUPS}${process.env.TSRUN_GUEST ? " in the guest" : ""}`;

/** Programs give a container ten seconds, however slow the machine is: in the guest, with others beside it, that may be too little. */
const WAITED_IN_VAIN = "timeout in waiting for the container status";
const ROUNDS = slow(1) > 1 ? 3 : 1;
/** Kills a shell as soon as its container runs, though it is only then that the shell says which signals it wants. */
const KILLS_EARLY = "killsig";

const counts = readCounts(readFileSync(`${here}/counts.txt`, "utf8"), isTrue);
const listed = readExceptions(readFileSync(`${here}/expected.txt`, "utf8"));
const exceptions = listed.filter(({ where }) => where.every(isTrue));

function runtimeOf(given: string | undefined): string {
  if (given === undefined || given === "") return resolve(here, "../../bin/tsrun");
  return given.includes("/") ? resolve(given) : given;
}

beforeAll(loadProfile, slow(60_000));
afterAll(removeProfile, slow(60_000));

for (const program of programs()) {
  const own = exceptions.filter((exception) => exception.program === program);
  const skip = own.find(({ kind }) => kind === "skip");
  const title = `${WHERE}: ${program}`;
  if (skip !== undefined) {
    console.log(`skipped: ${title}: ${skip.reason}`);
    bunTest.skip(title, () => {});
  } else {
    bunTest(
      title,
      async () => {
        let wrong: string[] = [];
        const isRace = program === KILLS_EARLY;
        for (let round = 0; round < (isRace ? 5 : ROUNDS); round++) {
          const ending = await runProgram(program, RUNTIME);
          const { ok, notOk, skipped } = parseTap(ending.stdout);
          console.log(`${program}: ${ok.length} ok, ${notOk.length} not ok, ${skipped} skipped`);
          wrong = judge(ending, counts.get(program) ?? { ok: 0, skipped: 0 }, own);
          if (wrong.length > 0) console.log(ending.stderr.trim());
          if (wrong.length === 0) break;
          if (!isRace && !`${ending.stdout}${ending.stderr}`.includes(WAITED_IN_VAIN)) break;
        }
        expect(wrong).toEqual([]);
      },
      slow(90_000) * ROUNDS,
    );
  }
}

bunTest(`${WHERE}: counts.txt and expected.txt name programs that there are`, () => {
  const named = [...counts.keys(), ...listed.map(({ program }) => program)];
  expect(named.filter((name) => !programs().includes(name))).toEqual([]);
});
