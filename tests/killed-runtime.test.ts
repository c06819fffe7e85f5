import { expect } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { command, commandBeside, describeResult, type Running } from "./helpers/command.ts";
import { findLeaks } from "./helpers/leaks.ts";
import { agentCalls, parseStrace, processWhere } from "./helpers/strace.ts";
import { type Bundle, mustSucceed, RUNTIME, RUNTIME_NAME, suite, until } from "./helpers/suite.ts";
import { slow } from "./helpers/time.ts";

const { test, bundle, create, start, remove, root, home, started, exec, status } = suite("killed-runtime");

/** After a runtime was killed: `delete --force` succeeds, nothing is left, and the id can be used again. */
function mustBeRepairable(b: Bundle, when: string): void {
  const result = remove(b, { flags: ["--force"] });
  if (result.status !== 0) throw new Error(`${when}: delete --force: ${result.stderr}`);
  until(() => findLeaks(b.id).length === 0, "", 2000);
  expect([when, findLeaks(b.id), existsSync(`${root}/${b.id}`)]).toEqual([when, [], false]);
  const again = create(b);
  if (again.status !== 0) throw new Error(`${when}: create again: ${again.stderr}`);
  mustSucceed(start(b));
  expect([when, status(b)]).toEqual([when, "running"]);
  mustSucceed(remove(b, { flags: ["--force"] }));
}

const waitingBundle = (): Bundle => bundle((config) => (config.process.args = ["/bin/sleep", "1000"]));

const createArgs = (b: Bundle): string[] => [RUNTIME, "--root", root, "create", "--bundle", b.dir, b.id];

test(
  "create, killed after 0, 1, 2 … 40 ms",
  async () => {
    for (let delay = 0; delay <= 40; delay++) {
      const b = waitingBundle();
      const running = commandBeside(createArgs(b));
      await Bun.sleep(delay);
      running.kill("SIGKILL");
      await running.finish();
      mustBeRepairable(b, `after ${delay} ms`);
    }
  },
  { limit: 120_000 },
);

test(
  "run, killed after 0, 2, 4 … 60 ms",
  async () => {
    for (let delay = 0; delay <= 60; delay += 2) {
      const b = waitingBundle();
      const running = commandBeside([RUNTIME, "--root", root, "run", "--bundle", b.dir, b.id]);
      await Bun.sleep(delay);
      running.kill("SIGKILL");
      await running.finish();
      mustBeRepairable(b, `after ${delay} ms`);
    }
  },
  { limit: 120_000 },
);

test(
  "start, killed after 0, 1, 2 … 12 ms",
  async () => {
    for (let delay = 0; delay <= 12; delay++) {
      const b = waitingBundle();
      mustSucceed(create(b));
      const running = commandBeside([RUNTIME, "--root", root, "start", b.id]);
      await Bun.sleep(delay);
      running.kill("SIGKILL");
      await running.finish();
      mustBeRepairable(b, `after ${delay} ms`);
    }
  },
  { limit: 60_000 },
);

test(
  "delete, killed after 0, 1, 2 … 20 ms",
  async () => {
    for (let delay = 0; delay <= 20; delay++) {
      const b = started();
      const running = commandBeside([RUNTIME, "--root", root, "delete", "--force", b.id]);
      await Bun.sleep(delay);
      running.kill("SIGKILL");
      await running.finish();
      mustBeRepairable(b, `after ${delay} ms`);
    }
  },
  { limit: 60_000 },
);

test(
  "exec, killed after 0, 1, 2 … 20 ms: the container goes on",
  async () => {
    const b = started();
    for (let delay = 0; delay <= 20; delay++) {
      const running = commandBeside([RUNTIME, "--root", root, "exec", b.id, "/bin/sleep", "1000"]);
      await Bun.sleep(delay);
      running.kill("SIGKILL");
      await running.finish();
      expect([delay, status(b)]).toEqual([delay, "running"]);
    }
    expect(mustSucceed(exec(b, ["/bin/echo", "alive"])).stdout).toBe("alive\n");
    mustBeRepairable(b, "after 21 kills");
  },
  { limit: 60_000 },
);

interface Call {
  readonly name: string;
  /** The how-manieth of its name. */
  readonly nth: number;
}

/** What the runtime's own thread asks of the kernel for a command, from where it first names the bundle or state root. */
function callsOf(argv: readonly string[]): Call[] {
  const file = `${home}/trace`;
  mustSucceed(command(["strace", "-qq", "-o", file, ...argv], { limit: 30_000 }));
  const counts = new Map<string, number>();
  const calls: (Call & { readonly line: string })[] = [];
  for (const line of readFileSync(file, "utf8").split("\n")) {
    const name = /^(\w+)\(/.exec(line)?.[1];
    if (name === undefined) continue;
    const nth = (counts.get(name) ?? 0) + 1;
    counts.set(name, nth);
    calls.push({ name, nth, line });
  }
  const first = calls.findIndex(({ name, line }) => name !== "execve" && line.includes(home));
  return calls.slice(first).filter(({ name }) => name !== "exit_group");
}

const noStrace = Bun.which("strace") === null && "strace is not installed";
const manyThreads = RUNTIME_NAME === "runc" && "runc is written in Go: its work wanders from thread to thread";

for (const [title, argv, prepare] of [
  ["create", createArgs, () => {}],
  ["start", (b: Bundle) => [RUNTIME, "--root", root, "start", b.id], (b: Bundle) => mustSucceed(create(b))],
  [
    "delete --force",
    (b: Bundle) => [RUNTIME, "--root", root, "delete", "--force", b.id],
    (b: Bundle) => {
      mustSucceed(create(b));
      mustSucceed(start(b));
    },
  ],
] as const) {
  test(
    `${title}, killed at every system call`,
    () => {
      const first = waitingBundle();
      prepare(first);
      const calls = callsOf(argv(first));
      expect(calls.length).toBeGreaterThan(5);
      remove(first, { flags: ["--force"] });
      for (const { name, nth } of calls) {
        const b = waitingBundle();
        prepare(b);
        const inject = `inject=${name}:signal=KILL:when=${nth}`;
        command(["strace", "-qq", "-o", "/dev/null", "-e", `trace=${name}`, "-e", inject, ...argv(b)], {
          limit: 10_000,
        });
        mustBeRepairable(b, `at ${name} number ${nth}`);
      }
    },
    { limit: 300_000, skip: noStrace || manyThreads },
  );
}

interface AgentCall extends Call {
  /** The agent until it has made the namespaces, or the container's first process. */
  readonly process: "agent" | "init";
}

/** What the agent asks of the kernel for `create`, and of what the init does, the first call of each kind. */
async function callsOfAgent(b: Bundle): Promise<AgentCall[]> {
  const file = `${home}/trace`;
  const strace = commandBeside(["strace", "-f", "-qq", "-o", file, ...createArgs(b)]);
  until(() => status(b) === "created", `${b.id} to be created`, 20_000);
  mustSucceed(remove(b));
  mustSucceed(await strace.finish());
  const seen = parseStrace(readFileSync(file, "utf8"));
  const agent = processWhere(seen, (calls) => agentCalls(calls).some(({ args }) => /\bCLONE_PARENT\b/.test(args)));
  const init = seen.get(agent)!.find(({ name, args }) => name === "clone3" && args.includes("CLONE_PARENT"))!.result;
  return (
    [
      ["agent", agentCalls(seen.get(agent)!)],
      ["init", seen.get(init)!],
    ] as const
  )
    .flatMap(([process, calls]) => {
      const counts = new Map<string, number>();
      return calls.map(({ name }) => {
        const nth = (counts.get(name) ?? 0) + 1;
        counts.set(name, nth);
        return { process, name, nth };
      });
    })
    .filter(({ process, nth }) => process === "agent" || nth === 1);
}

/** The processes that strace follows. */
function tracees(strace: number): { pid: number; status: string }[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ pid: Number(name), status: readIfThere(`/proc/${name}/status`) }))
    .filter(({ status }) => status.includes(`TracerPid:\t${strace}\n`));
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

interface Struck {
  readonly agent: number;
  readonly runtime: number;
}

/**
 * Waits until the process has been stopped at its call; whoever else stops, because it makes such a call too, goes on.
 * Undefined when the runtime has ended before.
 */
async function stopAt({ process: wanted }: AgentCall, strace: Running): Promise<Struck | undefined> {
  let runtime: number | undefined;
  for (const end = Date.now() + slow(10_000); Date.now() < end; await Bun.sleep(1)) {
    const all = tracees(strace.pid);
    const own = all.find(({ pid }) => readIfThere(`/proc/${pid}/cmdline`).startsWith(RUNTIME));
    if (runtime !== undefined && own === undefined) return undefined;
    runtime = own?.pid;
    for (const { pid, status } of all) {
      if (!isStopped(pid)) continue;
      const isAgent = readIfThere(`/proc/${pid}/cmdline`).startsWith("tsrun-agent");
      const isInit = (/^NSpid:(.*)$/m.exec(status)?.[1] ?? "").trim().includes("\t");
      if (isAgent && isInit === (wanted === "init") && runtime !== undefined) return { agent: pid, runtime };
      goOn(pid);
    }
  }
  throw new Error("strace did not get there");
}

/** A process that may have ended meanwhile. */
function goOn(pid: number): void {
  try {
    process.kill(pid, "SIGCONT");
  } catch {}
}

/** Kills it; false when it has ended before, which it may while the agent stops at the last it has to do. */
function isKilled(pid: number): boolean {
  try {
    process.kill(pid, "SIGKILL");
    return true;
  } catch {
    return false;
  }
}

/** Strace stops everybody for a moment at each call; one that was sent SIGSTOP stays so. */
function isStopped(pid: number): boolean {
  const state = () => /^State:\t(.)/m.exec(readIfThere(`/proc/${pid}/status`))?.[1];
  for (let i = 0; i < 4; i++) {
    if (state() !== "T" && state() !== "t") return false;
    Bun.sleepSync(1);
  }
  return true;
}

test(
  "create, killed while the agent is at its system calls, which it goes on with while delete is at work",
  async () => {
    const first = waitingBundle();
    const calls = await callsOfAgent(first);
    expect(calls.filter(({ process }) => process === "agent").length).toBeGreaterThan(3);
    expect(calls.filter(({ process }) => process === "init").length).toBeGreaterThan(15);
    let struck = 0;
    for (const call of calls) {
      const b = waitingBundle();
      const inject = `inject=${call.name}:signal=STOP:when=${call.nth}`;
      const argv = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        `trace=${call.name}`,
        "-e",
        inject,
        ...createArgs(b),
      ];
      const strace = commandBeside(argv);
      const found = await stopAt(call, strace);
      const when = `at ${call.name} number ${call.nth} of the ${call.process}`;
      if (found !== undefined && isKilled(found.runtime)) {
        struck++;
        const removing = commandBeside([RUNTIME, "--root", root, "delete", "--force", b.id]);
        await Bun.sleep(10);
        goOn(found.agent);
        const removed = await removing.finish();
        if (removed.status !== 0) throw new Error(`${when}: delete --force: ${describeResult(removed)}`);
      } else {
        if (found !== undefined) goOn(found.agent);
        remove(b, { flags: ["--force"] });
      }
      await strace.finish();
      mustBeRepairable(b, when);
    }
    expect(struck).toBeGreaterThan(calls.length * 0.9);
  },
  { limit: 300_000, skip: noStrace || (RUNTIME_NAME !== "tsrun" && "only tsrun has an agent") },
);
