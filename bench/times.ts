import { readFileSync, writeFileSync } from "node:fs";
import type { Bundle } from "./bundle.ts";
import { inView, type Runtime, run, V2_ONLY, type View } from "./runtimes.ts";

export interface Effort {
  readonly rounds: number;
  /** Of each command in each round. */
  readonly runs: number;
  readonly warmup: number;
}

/** Milliseconds of one operation of one runtime, all rounds together. */
export interface Times {
  readonly operation: string;
  readonly runtime: string;
  readonly runs: number;
  readonly median: number;
  readonly mean: number;
  readonly min: number;
  readonly deviation: number;
}

interface Operation {
  readonly name: string;
  /** The command for hyperfine, which splits it at spaces; no shell. */
  command(tool: Tool): string;
  /** Runs before each measured run, outside the time. */
  prepare?(tool: Tool): string;
  /** Where the others have nothing of the kind. */
  readonly only?: "tsrun";
}

/** A runtime with its own state directory, and a place for scripts. */
interface Tool {
  readonly name: string;
  readonly line: string;
  readonly bundle: string;
  /** Does nothing, and is compiled as tsrun is. */
  readonly empty: string;
  /** The same with all limits. */
  readonly limited: string;
  script(name: string, lines: readonly string[]): string;
}

/** The container that exec, state and kill are about. */
const RUNNING = "bench-running";
const PASSING = "bench-passing";

/** In every sitting and view, because nothing of tsrun can be faster. */
export const EMPTY: Operation = { name: "an empty program", command: ({ empty }) => empty, only: "tsrun" };

export const OPERATIONS: readonly Operation[] = [
  EMPTY,
  { name: "--version", command: ({ line }) => `${line} --version` },
  {
    name: "create+start+delete",
    command: ({ line, bundle, script }) =>
      script("whole", [
        `${line} create --bundle ${bundle} ${PASSING}`,
        `${line} start ${PASSING}`,
        `exec ${line} delete --force ${PASSING}`,
      ]),
  },
  { name: "run", command: ({ line, bundle }) => `${line} run --bundle ${bundle} ${PASSING}` },
  { name: "exec", command: ({ line }) => `${line} exec ${RUNNING} /bin/true` },
  { name: "state", command: ({ line }) => `${line} state ${RUNNING}` },
  // A signal that the kernel does not deliver to the container's init: the container stays as it is.
  { name: "kill", command: ({ line }) => `${line} kill ${RUNNING} CONT` },
  {
    name: "delete",
    command: ({ line }) => `${line} delete ${PASSING}`,
    prepare: ({ line, bundle, script }) =>
      script("stopped", [
        `${line} create --bundle ${bundle} ${PASSING}`,
        `${line} start ${PASSING}`,
        `until ${line} state ${PASSING} | grep -q stopped; do sleep 0.01; done`,
      ]),
  },
];

/** What has to do with limits, measured where there are controllers and all runtimes work. */
export const LIMIT_OPERATIONS: readonly Operation[] = [
  EMPTY,
  {
    name: "create with all limits",
    command: ({ line, limited }) => `${line} create --bundle ${limited} ${PASSING}`,
    prepare: ({ line, script }) => script("gone", [`${line} delete --force ${PASSING} 2>/dev/null || :`]),
  },
  {
    name: "update",
    // From a file, as engines do it: crun 1.8.1 gets several flags at once wrong.
    command: ({ line, limited }) => `${line} update --resources ${limited}/update.json ${RUNNING}`,
  },
  {
    name: "pause+resume",
    command: ({ line, script }) => script("pause", [`${line} pause ${RUNNING}`, `exec ${line} resume ${RUNNING}`]),
  },
  // As containerd calls it; crun has no other.
  { name: "ps", command: ({ line }) => `${line} ps --format json ${RUNNING}` },
];

/**
 * Measures every operation of every runtime in the view with hyperfine. The runtimes take turns within each round, and
 * the order changes from round to round, so that what else the machine does meets all of them.
 */
export function measureTimes(
  view: View,
  all: readonly Runtime[],
  bundle: Bundle,
  home: string,
  empty: string,
  effort: Effort,
  operations: readonly Operation[] = OPERATIONS,
): Times[] {
  const tools = all
    .filter(({ name }) => view.runtimes.includes(name))
    .map((runtime) => toolOf(runtime, bundle, home, empty));
  const samples = new Map<string, number[]>();
  try {
    for (const tool of tools) {
      // A cgroup of its own: what is done to it is not done to the other runtimes' containers.
      bundle.configure(["/bin/pause"], `/${RUNNING}-${tool.name}`);
      run([...inView(view), tool.script("setup", startPausing(tool))]);
    }
    bundle.configure(["/bin/true"]);
    for (let round = 0; round < effort.rounds; round++) {
      const order = [...tools.slice(round % tools.length), ...tools.slice(0, round % tools.length)];
      for (const operation of operations) measure(view, operation, toolsFor(operation, order), home, effort, samples);
    }
  } finally {
    for (const tool of tools) run([...inView(view), tool.script("tidy", deleteAll(tool))]);
  }
  return operations.flatMap((operation) =>
    toolsFor(operation, tools).map(({ name }) =>
      summary(operation.name, name, samples.get(`${operation.name} ${name}`)!),
    ),
  );
}

function toolsFor({ only }: Operation, tools: readonly Tool[]): Tool[] {
  return tools.filter(({ name }) => only === undefined || only === name);
}

/** The kernel's work of making the namespaces of a container, and of removing them, without any runtime. */
export function measureNamespaces({ dir }: Bundle, home: string, { rounds, runs, warmup }: Effort): Times {
  const json = `${home}/hyperfine.json`;
  const count = ["--runs", String(rounds * runs), "--warmup", String(warmup)];
  const program = `unshare --pid --net --ipc --uts --mount --cgroup --fork ${dir}/rootfs/bin/true`;
  run([...inView(V2_ONLY), ...HYPERFINE, "--export-json", json, ...count, program]);
  return summary("namespaces", "unshare", readTimes(json)[0]!);
}

function toolOf({ name, path }: Runtime, { dir, limitedDir }: Bundle, home: string, empty: string): Tool {
  function script(kind: string, lines: readonly string[]): string {
    const file = `${home}/${kind}-${name}`;
    writeFileSync(file, `#!/bin/sh\nset -e\n${lines.join("\n")}\n`, { mode: 0o755 });
    return file;
  }
  return { name, line: `${path} --root ${home}/state-of-${name}`, bundle: dir, limited: limitedDir, empty, script };
}

function startPausing({ line, bundle }: Tool): string[] {
  // The container must not hold the pipe that this program reads.
  const quietly = "</dev/null >/dev/null 2>&1";
  return [`${line} create --bundle ${bundle} ${RUNNING} ${quietly}`, `${line} start ${RUNNING}`];
}

function deleteAll({ line }: Tool): string[] {
  return [RUNNING, PASSING].map((id) => `${line} delete --force ${id} 2>/dev/null || :`);
}

function measure(
  view: View,
  operation: Operation,
  tools: readonly Tool[],
  home: string,
  effort: Effort,
  samples: Map<string, number[]>,
): void {
  const json = `${home}/hyperfine.json`;
  const prepare = tools.flatMap((tool) => (operation.prepare ? ["--prepare", operation.prepare(tool)] : []));
  const { runs, warmup } = effort;
  run([
    ...inView(view),
    ...[...HYPERFINE, "--export-json", json],
    ...["--runs", String(runs), "--warmup", String(warmup)],
    ...prepare,
    ...tools.map((tool) => operation.command(tool)),
  ]);
  const times = readTimes(json);
  for (const [at, tool] of tools.entries()) {
    const key = `${operation.name} ${tool.name}`;
    samples.set(key, [...(samples.get(key) ?? []), ...times[at]!]);
  }
}

const HYPERFINE = ["hyperfine", "--shell=none", "--style=none"];

/** Milliseconds of each command's runs. */
function readTimes(json: string): number[][] {
  const { results } = JSON.parse(readFileSync(json, "utf8")) as { results: { times: number[] }[] };
  return results.map(({ times }) => times.map((seconds) => seconds * 1000));
}

function summary(operation: string, runtime: string, samples: readonly number[]): Times {
  const sorted = [...samples].sort((a, b) => a - b);
  const runs = sorted.length;
  const middle = Math.floor(runs / 2);
  const median = runs % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  const mean = sorted.reduce((sum, time) => sum + time, 0) / runs;
  const variance = sorted.reduce((sum, time) => sum + (time - mean) ** 2, 0) / Math.max(1, runs - 1);
  return { operation, runtime, runs, median, mean, min: sorted[0]!, deviation: Math.sqrt(variance) };
}
