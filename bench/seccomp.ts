/**
 * What seccomp profiles cost, in tsrun and in libseccomp, which runc and crun use: `bun bench/seccomp.ts` prints this table
 * alone. Processor time, so that what else the machine does counts little.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { architecture } from "../src/seccomp/architectures.ts";
import { compareWithLibseccomp, type ProgramFigures } from "../src/seccomp/figures-under-test.ts";
import { compileWithLibseccomp, noLibseccomp } from "../src/seccomp/libseccomp-under-test.ts";
import type { Seccomp, SeccompArch } from "../src/spec/types.ts";
import { type Bundle, makeBundle } from "./bundle.ts";
import { markdown, ratio } from "./markdown.ts";
import { readRuntimes, run } from "./runtimes.ts";

/** Milliseconds of processor time. */
export interface Cost {
  readonly median: number;
  readonly min: number;
}

export interface SeccompFigures {
  readonly profile: string;
  /** Of the first container with the profile, after the start of tsrun, which compiles it. */
  readonly compile: Cost;
  /** Of the next one, which finds the program. */
  readonly find: Cost;
  readonly ours: ProgramFigures;
  readonly theirs: ProgramFigures;
  /** Of libseccomp, called from this script. */
  readonly theirCompile: Cost;
}

const PROFILES = { "Docker 29": "docker-29", "containerd 2.3": "cri-containerd2.3-kubelet-container" };
const NATIVE: SeccompArch = process.arch === "x64" ? "SCMP_ARCH_X86_64" : "SCMP_ARCH_AARCH64";

/** Throws without libseccomp, which runc needs too. */
export function measureSeccomp(tsrun: string, bundle: Bundle, home: string, runs: number): SeccompFigures[] {
  if (noLibseccomp !== undefined) throw new Error(noLibseccomp);
  return Object.entries(PROFILES).map(([name, file]) => {
    const path = resolve(import.meta.dir, `../src/spec/testdata/${file}.json`);
    const profile: Seccomp = JSON.parse(readFileSync(path, "utf8")).linux.seccomp;
    const { compile, find } = measureStages(tsrun, bundleWith(bundle, profile, `${home}/${file}`), home, runs);
    const { ours, theirs } = compareWithLibseccomp(profile, NATIVE);
    return { profile: name, compile, find, ours, theirs, theirCompile: measureLibseccomp(profile, runs) };
  });
}

function bundleWith({ dir }: Bundle, profile: Seccomp, copy: string): string {
  mkdirSync(copy, { recursive: true });
  const config = JSON.parse(readFileSync(`${dir}/config.json`, "utf8"));
  config.root.path = `${dir}/rootfs`;
  config.linux.seccomp = profile;
  writeFileSync(`${copy}/config.json`, JSON.stringify(config));
  return copy;
}

/** From the trace of `tsrun run`, with and without a program kept from before. */
function measureStages(tsrun: string, bundle: string, home: string, runs: number): { compile: Cost; find: Cost } {
  const [root, trace] = [`${home}/seccomp-root`, `${home}/seccomp-trace.json`];
  const stage = (wanted: string): number => {
    run([tsrun, "--root", root, "--trace", trace, "run", "--bundle", bundle, "tsrun-bench-seccomp"]);
    const { traceEvents } = JSON.parse(readFileSync(trace, "utf8")) as {
      traceEvents: { name: string; tdur: number }[];
    };
    return traceEvents.find(({ name }) => name === wanted)!.tdur / 1000;
  };
  const compile: number[] = [];
  const find: number[] = [];
  for (let i = 0; i < runs; i++) {
    rmSync(`${root}/@seccomp`, { recursive: true, force: true });
    compile.push(stage("compile the seccomp filter"));
    find.push(stage("look for the seccomp filter"));
  }
  return { compile: costOf(compile), find: costOf(find) };
}

function measureLibseccomp(profile: Seccomp, runs: number): Cost {
  const names = [...new Set([NATIVE, ...(profile.architectures ?? [])])];
  const times = Array.from({ length: runs }, () => {
    const before = process.cpuUsage();
    compileWithLibseccomp(profile, names.map(architecture));
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  });
  return costOf(times);
}

function costOf(times: readonly number[]): Cost {
  const sorted = times.toSorted((a, b) => a - b);
  return { median: sorted[sorted.length >> 1]!, min: sorted[0]! };
}

export function seccompTable(figures: readonly SeccompFigures[]): string {
  const rows = figures.flatMap(({ profile, compile, find, ours, theirs, theirCompile }) => [
    [`${profile}: compile`, both(compile), both(theirCompile), ratio(compile.median, theirCompile.median)],
    ["… find the program", both(find), "–", "–"],
    ["… instructions", ...counts(ours.instructions, theirs.instructions)],
    ["… of these for a call", ...counts(ours.path, theirs.path)],
  ]);
  const head = ["", "tsrun", "libseccomp", "÷ libseccomp"];
  return `The profiles of engines: milliseconds of processor time, median (least); the mean of instructions for a call.\n\n${markdown(head, rows)}`;
}

const both = ({ median, min }: Cost): string => `${median.toFixed(1)} (${min.toFixed(1)})`;

function counts(ours: number, theirs: number): string[] {
  const text = (value: number) => (Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(1));
  return [text(ours), text(theirs), ratio(ours, theirs)];
}

if (import.meta.main) {
  const home = mkdtempSync("/tmp/tsrun-bench-seccomp-");
  try {
    console.log(seccompTable(measureSeccomp(readRuntimes()[0]!.path, makeBundle(`${home}/bundle`), home, 20)));
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}
