import { afterAll, beforeAll, test as bunTest, expect } from "bun:test";
import { readFileSync, rmdirSync } from "node:fs";
import { basename } from "node:path";
import type { Result } from "../../tests/helpers/command.ts";
import { success } from "../lib/commands.ts";
import { checkRuntimes, RUNTIMES, V2_ONLY, VIEW } from "../lib/runtimes.ts";
import { type Engine, IMAGE, startEngine } from "./engine.ts";

export type Lane = ReturnType<typeof lane>;

/**
 * A containerd for the tests of one file, each of which runs with runc, whose result is the expectation, and with tsrun.
 * `differences`: test → why tsrun may differ from runc in it; a line that is no longer true fails.
 */
export function containerd(differences: ReadonlyMap<string, string> = new Map()) {
  let started: Engine | undefined;
  const engine = (): Engine => started!;
  const titles = new Set<string>();
  /** What a test saw with runc, by name. */
  const seenWithRunc = new Map<string, string>();

  beforeAll(async () => {
    checkRuntimes();
    started = await startEngine();
  }, 60_000);

  afterAll(async () => {
    if (started !== undefined) expect(await started.stop()).toEqual([]);
    expect([...differences.keys()].filter((title) => !titles.has(title))).toEqual([]);
  }, 60_000);

  function test(title: string, action: (lane: Lane) => void | Promise<void>): void {
    titles.add(title);
    const number = titles.size;
    for (const { name: runtime, path } of RUNTIMES) {
      const reason = runtime === "tsrun" ? differences.get(title) : undefined;
      const attempt = (names: string) => body(engine(), lane(engine(), path, names), reason, action);
      const fullTitle = `containerd${VIEW}: ${runtime}: ${title}`;
      bunTest(fullTitle, async () => {
        try {
          await attempt(`${runtime}${number}`);
        } catch (error) {
          if (reason !== undefined) throw error;
          // As compared() has it: the engine is under test too, and has its moments.
          console.log(`again: ${fullTitle}: ${error}`);
          await attempt(`${runtime}${number}again`);
        }
      });
    }
  }

  /** The first time, with runc, notes `text`; with tsrun it must be the same. */
  function same(name: string, text: string): void {
    const before = seenWithRunc.get(name);
    if (before === undefined) seenWithRunc.set(name, text);
    else expect(text).toBe(before);
  }

  /** Process ids of a container's first process and of the shim that made it. */
  function taskOf(id: string): { pid: number; shim: number } {
    const lines = success(engine().ctr(["task", "ls"])).stdout.split("\n");
    const pid = Number(lines.map((line) => line.split(/\s+/)).find(([task]) => task === id)?.[1]);
    return { pid, shim: Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) };
  }

  return { engine, test, same, taskOf };
}

/** One test's own container names, run with one runtime. */
function lane(engine: Engine, runtime: string, prefix: string) {
  const names: string[] = [];
  const flags = (): string[] => [
    ...["--runtime", "io.containerd.runc.v2", "--runc-binary", runtime],
    ...["--runc-root", `${engine.home}/state-of-${prefix}`, "--fifo-dir", `${engine.home}/fifo`],
    // ctr asks for 1024 shares; cgroup v2 may be without the cpu controller.
    ...(V2_ONLY ? ["--cpu-shares", "0"] : []),
  ];
  function name(): string {
    names.push(`${prefix}-${names.length}`);
    return names.at(-1)!;
  }
  const runLine = (options: readonly string[], argv: readonly string[], id: string): string[] => [
    ...["run", ...flags(), ...options, IMAGE, id, ...argv],
  ];
  /** `ctr run --rm` in the foreground. */
  function run(argv: readonly string[], options: readonly string[] = []): Result {
    return engine.ctr(runLine(["--rm", ...options], argv, name()));
  }
  /** `ctr run -d`: the name of a container that runs. */
  function started(argv: readonly string[], options: readonly string[] = []): string {
    const id = name();
    success(engine.ctr(runLine(["-d", ...options], argv, id)));
    return id;
  }
  function exec(id: string, argv: readonly string[], options: readonly string[] = []): Result {
    return engine.ctr([
      "task",
      "exec",
      "--fifo-dir",
      `${engine.home}/fifo`,
      "--exec-id",
      `e${Bun.nanoseconds()}`,
      ...options,
      id,
      ...argv,
    ]);
  }
  function status(id: string): string | undefined {
    const lines = success(engine.ctr(["task", "ls"])).stdout.split("\n");
    return lines.map((line) => line.split(/\s+/)).find(([task]) => task === id)?.[2];
  }
  function pidOf(id: string): number {
    const lines = success(engine.ctr(["task", "ls"])).stdout.split("\n");
    return Number(lines.map((line) => line.split(/\s+/)).find(([task]) => task === id)?.[1]);
  }
  async function ended(id: string): Promise<void> {
    for (const end = Date.now() + 10_000; status(id) === "RUNNING"; await Bun.sleep(20)) {
      if (Date.now() > end) throw new Error(`${id} runs on`);
    }
  }
  /** Removes what the test made, when it failed before it did so itself. */
  function tidy(): void {
    for (const id of names) {
      engine.ctr(["task", "rm", "--force", id]);
      engine.ctr(["container", "rm", id]);
    }
  }
  return { runtime, prefix, run, runLine, name, started, exec, status, pidOf, ended, tidy };
}

/** `left` without cgroups of the control's, which are removed: runc leaves one at times when containerd is killed. */
function withoutControls({ runtime, prefix }: Lane, left: readonly string[]): string[] {
  if (runtime === RUNTIMES.find(({ name }) => name === "tsrun")!.path) return [...left];
  const own = left.filter((each) => each.startsWith("cgroup ") && basename(each).startsWith(`${prefix}-`));
  for (const each of own) rmdirSync(each.slice("cgroup ".length));
  if (own.length > 0) console.log(`runc has left: ${own.join("; ")}`);
  return left.filter((each) => !own.includes(each));
}

async function body(
  engine: Engine,
  at: Lane,
  reason: string | undefined,
  action: (lane: Lane) => void | Promise<void>,
): Promise<void> {
  let failure: unknown;
  try {
    await action(at);
  } catch (error) {
    failure = error ?? new Error("thrown undefined");
  }
  at.tidy();
  const left = withoutControls(at, await engine.leftovers());
  if (failure === undefined && left.length > 0) failure = new Error(`left behind: ${left.join("; ")}`);
  if (reason === undefined && failure !== undefined) throw failure;
  if (reason !== undefined && failure === undefined) throw new Error(`no longer differs: "${reason}"`);
}
