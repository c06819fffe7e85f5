/**
 * What users of engines wait for: wall times of `ctr run`, `docker run` and `docker exec` with tsrun and with runc, in turns
 * in one sitting. `bun bench/engines.ts [--quick] [--document]`, as root, while the machine does nothing else; --document puts the
 * table into docs/engines.md. `RUNTIME=/path` measures that one in the place of bin/tsrun.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { IMAGE as CTR_IMAGE, startEngine } from "../conformance-tests/containerd/engine.ts";
import { IMAGE, startDocker } from "../conformance-tests/docker/engine.ts";
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

async function measure(rounds: number): Promise<Row[]> {
  const containerd = await startEngine();
  const dockers = await Promise.all(RUNTIMES.map((runtime) => startDocker(runtime, {})));
  try {
    const lanes = await Promise.all(
      RUNTIMES.map(async ({ name, path }, at) => {
        const engine = dockers[at]!;
        success(await engine.docker(["run", "-d", "--name", "entered", "--network", "none", IMAGE, "sleep", "100000"]));
        const line = (...args: string[]) => ({ argv: engine.dockerLine(args), env: engine.env });
        const ctr = [
          ...["run", "--rm", "--runtime", "io.containerd.runc.v2", "--runc-binary", path],
          ...["--runc-root", `${containerd.home}/state`, CTR_IMAGE],
        ];
        const operations: Operation[] = [
          {
            name: "ctr run",
            run: () => ({ argv: containerd.commandLine([...ctr, `b${Bun.nanoseconds()}`, "true"]), env: PLAIN_ENV }),
          },
          { name: "docker run, no network", run: () => line("run", "--rm", "--network", "none", IMAGE, "true") },
          { name: "docker run, bridge", run: () => line("run", "--rm", IMAGE, "true") },
          { name: "docker exec", run: () => line("exec", "entered", "true") },
        ];
        return { name, operations };
      }),
    );
    const names = lanes[0]!.operations.map(({ name }) => name);
    return names.map((name, at) => {
      const times = new Map(lanes.map((lane) => [lane.name as string, [] as number[]]));
      for (let round = -1; round < rounds; round++) {
        // The order changes from round to round: whatever else the machine does meets both.
        for (const lane of round % 2 === 0 ? lanes : lanes.toReversed()) {
          const time = timeOf(lane.operations[at]!);
          if (round >= 0) times.get(lane.name)!.push(time); // The first is for warming up.
        }
      }
      return { name, times };
    });
  } finally {
    const left = [...(await containerd.stop()), ...(await Promise.all(dockers.map((each) => each.stop()))).flat()];
    if (left.length > 0) console.error(`left behind: ${left.join("; ")}`);
  }
}

function timeOf({ run }: Operation): number {
  const { argv, env } = run();
  const started = performance.now();
  const { exitCode, stderr } = Bun.spawnSync({ cmd: [...argv], env, stdin: "ignore", stdout: "ignore" });
  const time = performance.now() - started;
  const result: Result = { argv, status: exitCode, stdout: "", stderr: stderr.toString() };
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
