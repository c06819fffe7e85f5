/**
 * Runs groups of test suites: `bun scripts/run-suites.ts build check integration guest reference conformance`, or one suite of a
 * group: `conformance/docker`. Prints a line per suite as it ends, then a table with why what was skipped, what failed, and
 * closes with `N passed, N failed`. Every suite's output is in build/logs.
 */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { addUp, type Counts, closingLine, countResults, type Failure, failedTests } from "./count-results.ts";
import { resultsTable } from "./results-table.ts";
import { chosenSuites, type Suite } from "./suites.ts";

const logs = "build/logs";
/** The guest takes longest: on two processors that other suites use too, half an hour. */
const TIME_LIMIT_S = 3000;
/** Checks and builds. What runs the program runs alone: tests count what containers leave behind, and some take times. */
const SIDE_BY_SIDE = 2;

interface Result extends Counts {
  readonly suite: Suite;
  readonly output: string;
  readonly seconds: number;
}

async function runSuites(names: readonly string[]): Promise<number> {
  process.chdir(resolve(import.meta.dir, ".."));
  mkdirSync(logs, { recursive: true });
  rmSync(`${logs}/summary`, { force: true });
  const suites = chosenSuites(names);
  if (typeof suites === "string") return fail(suites);
  if (suites.some((suite) => suite.root) && process.getuid?.() !== 0) return fail("containers need root here");
  const results = await runAll(suites);
  return report(results);
}

async function runAll(suites: readonly Suite[]): Promise<Result[]> {
  const waiting = suites.filter((suite) => !suite.program);
  const results: Result[] = [];
  const worker = async () => {
    for (let suite = waiting.shift(); suite !== undefined; suite = waiting.shift()) results.push(await run(suite));
  };
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, worker));
  const isBuilt = !results.some((result) => result.suite.name.startsWith("build") && result.failed > 0);
  const aside: Promise<Result>[] = [];
  for (const suite of suites.filter((suite) => suite.program)) {
    if (!isBuilt) results.push(notRun(suite));
    else if (suite.aside) aside.push(run(suite));
    else results.push(await run(suite));
  }
  return [...results, ...(await Promise.all(aside))];
}

async function run(suite: Suite): Promise<Result> {
  const started = performance.now();
  const log = `${logs}/${suite.name.replaceAll(/[^a-z0-9]+/g, "-")}.log`;
  const file = openSync(log, "w");
  const status = await exitStatus(suite, file);
  closeSync(file);
  const output = readFileSync(log, "utf8");
  const counts = suite.counts === "tests" ? countResults(output, status) : oneTest(status === 0);
  const result = { suite, output, seconds: (performance.now() - started) / 1000, ...counts };
  showResult(result, log);
  return result;
}

/** 127 for a command that cannot be started, as in a shell. */
async function exitStatus(suite: Suite, log: number): Promise<number> {
  try {
    return await ended(suite, log);
  } catch (error) {
    writeFileSync(log, `cannot run ${suite.command.join(" ")}: ${error}\n`);
    return 127;
  }
}

/** In a session of its own, so that everything it started can be ended with it. */
async function ended(suite: Suite, log: number): Promise<number> {
  const { MAKEFLAGS: _flags, MAKELEVEL: _level, MFLAGS: _mflags, ...inherited } = process.env;
  const child = Bun.spawn([...suite.command], {
    stdio: ["ignore", log, log],
    env: { ...inherited, NO_COLOR: "1", ...suite.environment },
    detached: true,
  });
  const end = () => killGroup(child.pid);
  const timer = setTimeout(end, TIME_LIMIT_S * 1000);
  running.add(end);
  const status = await child.exited;
  running.delete(end);
  clearTimeout(timer);
  return status;
}

const running = new Set<() => void>();

function killGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    for (const end of running) end();
    process.exit(130);
  });
}

function oneTest(passed: boolean): Counts {
  return { passed: passed ? 1 : 0, failed: passed ? 0 : 1, skipped: 0 };
}

function notRun(suite: Suite): Result {
  console.log(`${suite.name.padEnd(24)} not run, because the build failed`);
  return { suite, output: "", seconds: 0, ...oneTest(false) };
}

function showResult(result: Result, log: string): void {
  console.log(`${result.suite.name.padEnd(24)} ${closingLine(result).padEnd(36)} ${result.seconds.toFixed(1)} s`);
  if (result.failed > 0) console.log(`    see ${log}`);
}

/** What failed comes last, and once more by name, where it is seen when only the end of the output is. */
function report(results: readonly Result[]): number {
  const rows = results.map(({ suite, ...result }) => ({ name: suite.name, ...result }));
  console.log(`\n${resultsTable(rows).join("\n")}\n`);
  const failures = results.flatMap(failuresOf);
  for (const { name, cause } of failures) console.log(`${[`failed: ${name}`, ...cause].join("\n    ")}\n`);
  for (const { name } of failures) console.log(`failed: ${name}`);
  const sum = addUp(results);
  writeFileSync(`${logs}/summary`, `${closingLine(sum)}\n`);
  console.log(closingLine(sum));
  return sum.failed > 0 || sum.passed === 0 ? 1 : 0;
}

/** With the suite's name. Where no test's name is known, the end of the suite's output is the cause. */
function failuresOf({ suite, output, failed }: Result): Failure[] {
  if (failed === 0) return [];
  const failures = failedTests(output);
  if (failures.length === 0) return [{ name: suite.name, cause: output.trimEnd().split("\n").slice(-30) }];
  return failures.map(({ name, cause }) => ({ name: `${suite.name}: ${name}`, cause }));
}

function fail(message: string): number {
  console.error(`run-suites: ${message}`);
  return 1;
}

process.exitCode = await runSuites(process.argv.slice(2));
