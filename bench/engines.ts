/**
 * What users of engines wait for: wall times of ctr, docker, podman and the CRI with tsrun and with runc, in turns in one
 * sitting: `make bench-engines`, while the machine does nothing else. --document puts the table into docs/engines.md.
 * `RUNTIME=/path` measures that one in the place of bin/tsrun.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { type Engine as Containerd, IMAGE as CTR_IMAGE, startEngine } from "../conformance-tests/containerd/engine.ts";
import { startEngine as startCri } from "../conformance-tests/cri/engine.ts";
import { lane as criLane, removePods } from "../conformance-tests/cri/lanes.ts";
import { IMAGE as DOCKER_IMAGE, type Docker, startDocker } from "../conformance-tests/docker/engine.ts";
import { sleep, success } from "../conformance-tests/lib/commands.ts";
import { RUNTIMES, type Runtime } from "../conformance-tests/lib/runtimes.ts";
import { IMAGE as PODMAN_IMAGE, type Podman, startPodman } from "../conformance-tests/podman/engine.ts";
import { describeResult, PLAIN_ENV, type Result } from "../tests/helpers/command.ts";

interface Operation {
  readonly name: string;
  readonly run: () => Promise<unknown>;
  /** What is not timed. */
  readonly tidy?: () => Promise<unknown>;
}

interface Row {
  readonly name: string;
  /** Milliseconds by runtime. */
  readonly times: ReadonlyMap<string, number[]>;
}

/** What can be done with the engines of one runtime. */
interface Lane {
  readonly runtime: string;
  readonly operations: readonly Operation[];
}

/** An engine that has to be stopped. */
interface Running {
  /** Removes the containers: what is left of one runtime's looks to the others' engines like something of their own. */
  readonly tidy?: () => Promise<unknown>;
  readonly stop: () => Promise<string[]>;
}

const DOCUMENT = `${import.meta.dir}/../docs/engines.md`;
const MARKS = ["<!-- bench -->", "<!-- /bench -->"] as const;
const ENTERED = ["--name", "entered", "--network", "none"];
const FOREVER = ["sleep", "100000"];

async function measure(rounds: number): Promise<Row[]> {
  const containerd = await startEngine();
  const running: Running[] = [containerd];
  try {
    const lanes: Lane[] = [];
    for (const runtime of RUNTIMES) lanes.push(await laneOf(runtime, containerd, running));
    const rows: Row[] = [];
    for (const [at, { name }] of lanes[0]!.operations.entries()) {
      rows.push({ name, times: await inTurns(lanes, at, rounds) });
    }
    return rows;
  } finally {
    for (const { tidy } of running) await tidy?.();
    const left: string[] = [];
    for (const { stop } of running) left.push(...(await stop()));
    if (left.length > 0) console.error(`left behind: ${left.join("; ")}`);
  }
}

/** What was started is in `running` also when something after it cannot be. */
async function laneOf(runtime: Runtime, containerd: Containerd, running: Running[]): Promise<Lane> {
  const docker = await startDocker(runtime, {});
  running.push({ tidy: () => docker.docker(["rm", "--force", "entered"]), stop: docker.stop });
  const podman = await startPodman(runtime, { who: "root" });
  running.push({ tidy: () => podman.podman(["rm", "--force", "--time", "0", "entered"]), stop: podman.stop });
  const cri = await startCri(runtime);
  running.push({ stop: cri.stop });
  success(await docker.docker(["run", "-d", ...ENTERED, DOCKER_IMAGE, ...FOREVER]));
  success(await podman.podman(["run", "-d", ...ENTERED, PODMAN_IMAGE, ...FOREVER]));
  const operations = [
    ctrOperation(runtime, containerd),
    ...clientOperations("docker", docker.env, docker.dockerLine, DOCKER_IMAGE),
    ...clientOperations("podman", podman.env, podman.line, PODMAN_IMAGE),
    ...criOperations(cri),
  ];
  return { runtime: runtime.name, operations };
}

function ctrOperation(runtime: Runtime, containerd: Containerd): Operation {
  const flags = ["--runtime", "io.containerd.runc.v2", "--runc-binary", runtime.path];
  const ctr = ["run", "--rm", ...flags, "--runc-root", `${containerd.home}/state`, CTR_IMAGE];
  const line = () => containerd.commandLine([...ctr, `b${Bun.nanoseconds()}`, "true"]);
  return { name: "`ctr run`", run: () => finish(line(), PLAIN_ENV) };
}

function clientOperations(
  client: "docker" | "podman",
  env: Docker["env"] | Podman["env"],
  line: (args: readonly string[]) => readonly string[],
  image: string,
): Operation[] {
  const operation = (name: string, args: readonly string[]): Operation => ({
    name: `\`${client} ${name}`,
    run: () => finish(line(args), env),
  });
  return [
    operation("run`, no network", ["run", "--rm", "--network", "none", image, "true"]),
    operation("run`, bridge", ["run", "--rm", image, "true"]),
    operation("exec`", ["exec", "entered", "true"]),
  ];
}

/** A pod with one container, until that runs, as the kubelet makes it. */
function criOperations(engine: Awaited<ReturnType<typeof startCri>>): Operation[] {
  const { pod, started } = criLane(engine, "bench", () => {});
  const operation = (name: string, network: "POD" | "NODE"): Operation => ({
    name: `a pod of the CRI, ${name}`,
    run: async () => started(await pod({ network }), sleep),
    tidy: () => removePods(engine),
  });
  return [operation("host network", "NODE"), operation("network of its own", "POD")];
}

/** The order changes from round to round: whatever else the machine does meets both. The first round warms up. */
async function inTurns(lanes: readonly Lane[], at: number, rounds: number): Promise<Map<string, number[]>> {
  const times = new Map(lanes.map(({ runtime }) => [runtime, [] as number[]]));
  for (let round = 0; round <= rounds; round++) {
    for (const { runtime, operations } of round % 2 === 0 ? lanes : lanes.toReversed()) {
      const time = await timeOf(operations[at]!);
      if (round > 0) times.get(runtime)!.push(time);
    }
  }
  return times;
}

async function timeOf({ run, tidy }: Operation): Promise<number> {
  const started = performance.now();
  await run();
  const time = performance.now() - started;
  await tidy?.();
  return time;
}

async function finish(argv: readonly string[], env: Record<string, string>): Promise<void> {
  const { exitCode, stderr } = Bun.spawnSync({ cmd: [...argv], env, stdin: "ignore", stdout: "ignore" });
  const output = { stdout: "", stderr: stderr.toString() };
  const result: Result = { argv, status: exitCode, signalled: exitCode === null, ...output };
  if (exitCode !== 0) throw new Error(describeResult(result));
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
