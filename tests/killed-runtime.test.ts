import { expect } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { command, commandBeside } from "./helpers/command.ts";
import { findLeaks } from "./helpers/leaks.ts";
import { type Bundle, mustSucceed, RUNTIME, RUNTIME_NAME, suite, until } from "./helpers/suite.ts";

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
