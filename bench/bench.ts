/**
 * Compares bin/tsrun with runc and crun: `bun bench/bench.ts [--quick] [--document]`. Prints tables and writes
 * bench/results/DATE.json; --document also puts the tables into README.md and bench/README.md. Needs root.
 */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { makeBundle } from "./bundle.ts";
import { makeEmptyProgram } from "./empty-program.ts";
import {
  type CreatedMemory,
  hasV1,
  measureCreated,
  measureLimits,
  removeLeftParents,
  type SmallestLimit,
} from "./memory.ts";
import { AS_IT_IS, type Runtime, readRuntimes, run, V1_ONLY, V2_ONLY } from "./runtimes.ts";
import { measureSeccomp, type SeccompFigures } from "./seccomp.ts";
import { table, targetLines } from "./table.ts";
import { type Effort, LIMIT_OPERATIONS, measureNamespaces, measureTimes, type Times } from "./times.ts";

export interface Results {
  readonly date: string;
  readonly machine: string;
  readonly quick: boolean;
  readonly runtimes: readonly Runtime[];
  readonly times: readonly { readonly view: string; readonly times: readonly Times[] }[];
  /** What no runtime can be faster than. */
  readonly namespaces: Times;
  readonly created: readonly CreatedMemory[];
  /** Empty where the machine has no v1 memory controller. */
  readonly limits: readonly SmallestLimit[];
  readonly seccomp: readonly SeccompFigures[];
}

const FULL: Effort = { rounds: 12, runs: 5, warmup: 1 };
const QUICK: Effort = { rounds: 3, runs: 4, warmup: 1 };
const DOCUMENTS = ["README.md", "bench/README.md"];

function bench(quick: boolean): Results {
  if (process.getuid?.() !== 0) throw new Error("containers need root here");
  const home = mkdtempSync(`${memoryFolder()}/tsrun-bench-`);
  const folder = mkdtempSync(`${tmpdir()}/tsrun-bench-`);
  chmodSync(home, 0o711);
  try {
    const runtimes = readRuntimes();
    const bundle = makeBundle(`${home}/bundle`);
    const empty = makeEmptyProgram(folder);
    const times = [V2_ONLY, AS_IT_IS].map((view) => {
      report(`times with ${view.name}`);
      return { view: view.name, times: measureTimes(view, runtimes, bundle, home, empty, quick ? QUICK : FULL) };
    });
    if (hasV1()) {
      report(`limits with ${V1_ONLY.name}`);
      const effort = quick ? QUICK : FULL;
      times.push({
        view: V1_ONLY.name,
        times: measureTimes(V1_ONLY, runtimes, bundle, home, empty, effort, LIMIT_OPERATIONS),
      });
    }
    const namespaces = measureNamespaces(bundle, home, quick ? QUICK : FULL);
    report("memory");
    const created = measureCreated(V2_ONLY, runtimes, bundle, home);
    const limits = measureLimits(runtimes, bundle, home);
    report("seccomp");
    const seccomp = measureSeccomp(runtimes[0]!.path, bundle, home, quick ? 6 : 20);
    const date = new Date().toISOString().slice(0, 16);
    return { date, machine: machine(), quick, runtimes, times, namespaces, created, limits, seccomp };
  } finally {
    removeLeftParents();
    for (const each of [home, folder]) rmSync(each, { recursive: true, force: true });
  }
}

/** State belongs on a tmpfs, which is what the default roots of all three are on. */
function memoryFolder(): string {
  const folders = ["/run", "/dev/shm"];
  return folders.find((folder) => run(["stat", "-f", "-c", "%T", folder]).trim() === "tmpfs") ?? "/tmp";
}

function machine(): string {
  const all = cpus();
  return `Linux ${release().split(".", 2).join(".")}, ${all.length} × ${all[0]?.model.trim() ?? "?"}`;
}

function report(what: string): void {
  console.error(`bench: ${what} …`);
}

/** Replaces what is between the two marks of each document. */
function writeDocuments(text: string): void {
  for (const document of DOCUMENTS) {
    const path = `${import.meta.dir}/../${document}`;
    const before = readFileSync(path, "utf8");
    const after = before.replace(
      /(<!-- bench -->\n)[\s\S]*(<!-- \/bench -->)/,
      (_, begin, end) => `${begin}\n${text}\n${end}`,
    );
    if (!after.includes(text)) throw new Error(`no place for the tables in ${document}`);
    writeFileSync(path, after);
  }
}

const { values } = parseArgs({ options: { quick: { type: "boolean" }, document: { type: "boolean" } } });
const results = bench(values.quick ?? false);
const folder = `${import.meta.dir}/results`;
mkdirSync(folder, { recursive: true });
writeFileSync(`${folder}/${results.date.replace(":", "")}.json`, `${JSON.stringify(results, null, 2)}\n`);
console.log(`${table(results)}\n${targetLines(results)}`);
if (values.document === true) writeDocuments(table(results));
