/**
 * What users of engines wait for: wall times of `ctr run`, `docker run` and `docker exec` with tsrun and with runc, in turns
 * in one sitting. `bun bench/engines.ts [--quick] [--document]`, as root, while the machine does nothing else; --document puts the
 * table into docs/engines.md. `RUNTIME=/path` measures that one in the place of bin/tsrun.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { IMAGE as CTR_IMAGE, type Engine, startEngine } from "../conformance-tests/containerd/engine.ts";
import { type Docker, IMAGE, startDocker } from "../conformance-tests/docker/engine.ts";
import { success } from "../conformance-tests/lib/commands.ts";
import { RUNTIMES } from "../conformance-tests/lib/runtimes.ts";
import { describeResult, PLAIN_ENV, type Result } from "../tests/helpers/command.ts";

interface Operation {
  readonly name: string;
  /** Does it once; the time of the client is what counts. */
  readonly run: () => { argv: readonly string[]; env: Record<string, string> };
}

interface Row {
  readonly name: string;
  /** Milliseconds by runtime. */
  readonly times: ReadonlyMap<string, number[]>;
}

const DOCUMENT = `${import.meta.dir}/../docs/engines.md`;
const MARKS = ["<!-- bench -->", "<!-- /bench -->"] as const;

interface Lane {
  readonly runtime: string;
  readonly operations: readonly Operation[];
}

async function measure(rounds: number): Promise<Row[]> {
  const containerd = await startEngine();
  const dockers = await Promise.all(RUNTIMES.map((runtime) => startDocker(runtime, {})));
  try {
    const lanes = await Promise.all(dockers.map((docker) => laneOf(docker, containerd)));
    return lanes[0]!.operations.map(({ name }, at) => ({ name, times: inTurns(lanes, at, rounds) }));
  } finally {
    // Each of them takes the sockets of others' shims for left behind.
    for (const each of dockers) await each.docker(["rm", "--force", "entered"]);
    const left = [...(await containerd.stop()), ...(await Promise.all(dockers.map((each) => each.stop()))).flat()];
    if (left.length > 0) console.error(`left behind: ${left.join("; ")}`);
  }
}

async function laneOf(docker: Docker, containerd: Engine): Promise<Lane> {
  success(await docker.docker(["run", "-d", "--name", "entered", "--network", "none", IMAGE, "sleep", "100000"]));
  const line = (...args: string[]) => ({ argv: docker.dockerLine(args), env: docker.env });
  const ctr = [
    ...["run", "--rm", "--runtime", "io.containerd.runc.v2", "--runc-binary", docker.runtime.path],
    ...["--runc-root", `${containerd.home}/state`, CTR_IMAGE],
  ];
  const ctrRun = () => ({ argv: containerd.commandLine([...ctr, `b${Bun.nanoseconds()}`, "true"]), env: PLAIN_ENV });
  const operations: Operation[] = [
    { name: "ctr run", run: ctrRun },
    { name: "docker run, no network", run: () => line("run", "--rm", "--network", "none", IMAGE, "true") },
    { name: "docker run, bridge", run: () => line("run", "--rm", IMAGE, "true") },
    { name: "docker exec", run: () => line("exec", "entered", "true") },
  ];
  return { runtime: docker.runtime.name, operations };
}

/** The order changes from round to round: whatever else the machine does meets both. The first round warms up. */
function inTurns(lanes: readonly Lane[], at: number, rounds: number): Map<string, number[]> {
  const times = new Map(lanes.map(({ runtime }) => [runtime, [] as number[]]));
  for (let round = 0; round <= rounds; round++) {
    for (const { runtime, operations } of round % 2 === 0 ? lanes : lanes.toReversed()) {
      const time = timeOf(operations[at]!);
      if (round > 0) times.get(runtime)!.push(time);
    }
  }
  return times;
}

function timeOf({ run }: Operation): number {
  const { argv, env } = run();
  const started = performance.now();
  const { exitCode, stderr } = Bun.spawnSync({ cmd: [...argv], env, stdin: "ignore", stdout: "ignore" });
  const time = performance.now() - started;
  const output = { stdout: "", stderr: stderr.toString() };
  const result: Result = { argv, status: exitCode, signalled: exitCode === null, ...output };
  if (exitCode !== 0) throw new Error(describeResult(result));
  return time;
}

function table(rows: readonly Row[]): string {
  const median = (times: readonly number[]) => times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!;
  const cell = (times: readonly number[]) => `${median(times).toFixed(0)} (${Math.min(...times).toFixed(0)})`;
  const lines = rows.map(({ name, times }) => {
    const [runc, tsrun] = [times.get("runc")!, times.get("tsrun")!];
    return `| ${name} | ${cell(tsrun)} | ${cell(runc)} | ${(median(tsrun) / median(runc)).toFixed(2)} |`;
  });
  const runs = rows[0]!.times.get("runc")!.length;
  return [
    `Milliseconds: median (least) of ${runs} runs each, in turns. ${new Date().toISOString().slice(0, 10)}.`,
    "",
    "| | tsrun | runc | ÷ runc |",
    "| --- | ---: | ---: | ---: |",
    ...lines,
  ].join("\n");
}

function intoDocument(text: string): void {
  const document = readFileSync(DOCUMENT, "utf8");
  const [start, end] = MARKS.map((mark) => document.indexOf(mark)) as [number, number];
  if (start < 0 || end < start) throw new Error(`${DOCUMENT} has no place for the table: ${MARKS.join(" … ")}`);
  writeFileSync(DOCUMENT, `${document.slice(0, start)}${MARKS[0]}\n\n${text}\n\n${document.slice(end)}`);
}

const rows = await measure(process.argv.includes("--quick") ? 3 : 25);
console.log(table(rows));
if (process.argv.includes("--document")) intoDocument(table(rows));
