/**
 * Fuzzing: `tests/fuzz/run.sh`, or `make fuzz`. Says of every property whether a counterexample was found, and how to see
 * it again; closes with `N passed, N failed`. From the environment:
 *
 *     MINUTES=n       so long in all; without it the bounded run, of at most some number of cases each
 *     TARGET=config   one target, or one of its properties (config/text)
 *     SEED=n          the same cases as in the run that printed this seed
 *     CASE=n:n:n      one case of that run, as it was made smaller
 *
 * Every target runs in a process of its own, which is ended when one case takes too long.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { countResults } from "../../scripts/count-results.ts";
import { removeLeaks } from "../helpers/leaks.ts";
import { slow } from "../helpers/time.ts";
import { markOf } from "./mark.ts";
import { targetNames } from "./targets.ts";

const bun = process.execPath;
/** A case is a few system calls, or a few commands with limits of their own. */
const LIMIT_OF_A_CASE_MS = slow(120_000);
const LONGEST = 4000;

const { MINUTES = "", TARGET = "", SEED = "", CASE = "" } = process.env;
const seed = SEED === "" ? crypto.getRandomValues(new Int32Array(1))[0]! : Number(SEED);
const chosen = targetNames().filter((name) => TARGET === "" || TARGET.split("/")[0] === name);
const directory = mkdtempSync("/tmp/tsrun-fuzz-");
const current = `${directory}/current`;

const wrong = complaint();
if (wrong !== undefined) {
  console.error(`fuzz: ${wrong}`);
  process.exit(2);
}
console.log(`seed ${seed}`);
let output = "";
let status = 0;
for (const name of chosen) status = Math.max(status, await runTarget(name));
rmSync(directory, { recursive: true, force: true });
const { passed, failed, skipped } = countResults(output, status);
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exitCode = failed > 0 ? 1 : 0;

function complaint(): string | undefined {
  if (chosen.length === 0) return `TARGET=${TARGET}: targets are ${targetNames().join(", ")}`;
  if (!Number.isInteger(seed)) return `SEED=${SEED}: a whole number`;
  if (MINUTES !== "" && !(Number(MINUTES) > 0)) return `MINUTES=${MINUTES}: a number above 0`;
  if (CASE !== "" && !TARGET.includes("/")) return "CASE is one of a property: TARGET=target/property";
  return undefined;
}

/** Passes on what the process says; 0, or 1 when a property fails, or the process did. */
async function runTarget(name: string): Promise<number> {
  writeFileSync(current, name);
  const child = Bun.spawn([bun, `${import.meta.dir}/run-target.ts`, name], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...environment() },
  });
  let hung = false;
  const watch = setInterval(() => {
    if (Date.now() - lastCase() < LIMIT_OF_A_CASE_MS) return;
    hung = true;
    child.kill("SIGKILL");
  }, 1000);
  const decoder = new TextDecoder();
  for await (const bytes of child.stdout) say(decoder.decode(bytes, { stream: true }));
  await child.exited;
  clearInterval(watch);
  if (hung || child.signalCode !== null || (child.exitCode ?? 2) > 1) {
    sayHow(name, hung, child.signalCode);
    removeLeaks(markOf(child.pid));
  }
  return child.exitCode === 0 ? 0 : 1;
}

function environment(): Record<string, string> {
  return {
    FUZZ_SEED: String(seed),
    FUZZ_CURRENT: current,
    ...(CASE === "" ? {} : { FUZZ_CASE: CASE }),
    ...(TARGET.includes("/") ? { FUZZ_PROPERTY: TARGET } : {}),
    ...(MINUTES === "" ? {} : { FUZZ_SECONDS: String((Number(MINUTES) * 60) / chosen.length) }),
  };
}

function lastCase(): number {
  return existsSync(current) ? statSync(current).mtimeMs : Date.now();
}

/** The case that the process did not survive. */
function sayHow(name: string, hung: boolean, signal: string | number | null): void {
  const [property = name, ...lines] = readFileSync(current, "utf8").split("\n");
  const what = hung
    ? `a case takes more than ${LIMIT_OF_A_CASE_MS / 1000} s`
    : `the process ended with ${signal ?? "an error"}`;
  say(`seed ${seed}: ${what}\n  ${lines.join("\n").slice(0, LONGEST)}\n(fail) ${property}: ends by itself\n`);
}

function say(text: string): void {
  output += text;
  process.stdout.write(text);
}
