/**
 * Checks the properties of one target, in a process of its own: `run-target.ts TARGET`. What it is to do stands in the
 * environment (see fuzz.ts). Before each case it writes the case to $FUZZ_CURRENT: who watches that file knows what hangs.
 */
import { writeFileSync } from "node:fs";
import fc from "fast-check";
import type { AnyProperty, Property } from "./property.ts";
import { openTarget } from "./targets.ts";

const [name = ""] = process.argv.slice(2);
const seed = Number(process.env.FUZZ_SEED);
const path = process.env.FUZZ_CASE;
const only = process.env.FUZZ_PROPERTY ?? "";
/** For all properties together; undefined in the bounded run. */
const budget = process.env.FUZZ_SECONDS === undefined ? undefined : Number(process.env.FUZZ_SECONDS);
const current = process.env.FUZZ_CURRENT ?? "";

/** How long a failing case may be made smaller. */
const SHRINKING_MS = 20_000;

const target = await openTarget(name);
let failed = 0;
const chosen = target.properties.filter(isChosen);
const sum = chosen.reduce((seconds, each) => seconds + each.seconds, 0);
try {
  for (const each of chosen) {
    if (each.skip === undefined) each.run(checkProperty);
    else console.log(`skipped: ${titleOf(each)}: ${each.skip}\n(skip) ${titleOf(each)}`);
  }
} finally {
  target.close?.();
}
process.exitCode = failed > 0 ? 1 : 0;

function isChosen({ name }: AnyProperty): boolean {
  return only === "" || only === name;
}

function titleOf({ name, says }: Pick<AnyProperty, "name" | "says">): string {
  return `${name}: ${says}`;
}

function checkProperty<T>(property: Property<T>): void {
  const started = Date.now();
  const end = started + 1000 * (budget === undefined ? property.seconds : (budget * property.seconds) / sum);
  let cases = 0;
  let isFailing = false;
  const one = (value: T): void => {
    // What has failed is made smaller, however long it takes.
    if (cases > 0 && !isFailing && Date.now() > end) throw new fc.PreconditionFailure(true);
    cases++;
    note(property, value);
    try {
      property.check(value);
    } catch (error) {
      isFailing = true;
      throw error;
    }
  };
  const result = fc.check(fc.property(property.values, one), {
    seed,
    numRuns: budget === undefined ? property.runs : 2 ** 31 - 1,
    interruptAfterTimeLimit: end - started + SHRINKING_MS,
    endOnFailure: path !== undefined || property.smaller !== undefined,
    ...(path === undefined ? {} : { path }),
  });
  const found = result.failed
    ? smallest(property, result.counterexample![0], result.errorInstance)
    : finished(property, cases);
  if (found !== undefined) {
    failed++;
    console.log(`seed ${seed}, case ${result.counterexamplePath ?? "all"} of ${cases}`);
    for (const line of found) console.log(`  ${line}`);
    const which = result.counterexamplePath === null ? "" : ` CASE=${result.counterexamplePath}`;
    console.log(`again: make fuzz TARGET=${property.name} SEED=${seed}${which}`);
  }
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.log(`(${found === undefined ? "pass" : "fail"}) ${titleOf(property)} [${cases} cases, ${seconds} s]`);
}

function note<T>(property: Property<T>, value: T): void {
  writeFileSync(current, `${property.name}\n${(property.show ?? fc.stringify)(value)}`);
}

/** What is wrong with the cases as a whole. */
function finished<T>({ finish }: Property<T>, cases: number): string[] | undefined {
  if (path !== undefined || finish === undefined) return undefined;
  try {
    finish(cases);
    return undefined;
  } catch (error) {
    return [messageOf(error)];
  }
}

/** The counterexample made smaller, as long as that takes less than its time. */
function smallest<T>(property: Property<T>, counterexample: T, cause: unknown): string[] {
  const { smaller, check, show = fc.stringify } = property;
  const end = Date.now() + SHRINKING_MS;
  let value = counterexample;
  let error = cause;
  const fails = (candidate: T): boolean => {
    note(property, candidate);
    try {
      check(candidate);
      return false;
    } catch (thrown) {
      error = thrown;
      return true;
    }
  };
  for (let found = true; found && smaller !== undefined && path === undefined; ) {
    found = false;
    for (const candidate of smaller(value)) {
      if (Date.now() > end) break;
      if (!fails(candidate)) continue;
      value = candidate;
      found = true;
      break;
    }
  }
  return [show(value), messageOf(error)];
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.name === "Error" ? error.message : (error.stack ?? error.message);
}
