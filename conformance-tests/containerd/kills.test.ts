/**
 * `kill -9` of containerd, of shims and of the runtime at random moments: afterwards the engine works as with runc, and
 * nothing is left. With `SEED` the moments are those of another run.
 */
import { expect } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { describeResult, type Result } from "../../tests/helpers/command.ts";
import { sleep, success } from "../lib/commands.ts";
import { SHIM_SOCKETS, shimSockets } from "../lib/containerd.ts";
import { until } from "../lib/wait.ts";
import { containerd, type Lane } from "./lanes.ts";
import { generator, type MortalRuntime, mortalRuntime } from "./mortal-runtime.ts";

const { engine, test } = containerd();

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
console.log(`SEED=${seed}`);

/** How often each is killed; with the shims and containerd more than fifty. */
const KILLS = 11;
/** Milliseconds; a command that is done by then was not killed, and another one is, sooner. */
const LONGEST = { create: 60, start: 25, exec: 35, delete: 25 };

type Command = keyof typeof LONGEST;

/** Has the runtime killed in the middle of a command until that has come about KILLS times. */
async function killIn(command: Command, lane: Lane, action: (id: string, mortal: MortalRuntime) => Promise<void>) {
  const random = generator(seed);
  const mortal = mortalRuntime(`${engine().home}/mortal-${command}-${lane.name()}`, lane.runtime);
  let longest: number = LONGEST[command];
  for (let tries = 0; mortal.killed() < KILLS; tries++) {
    const before = mortal.killed();
    if (tries > 5 * KILLS) throw new Error(`only ${mortal.killed()} of ${tries} were killed`);
    const id = lane.name();
    mortal.doom(command, random() * longest);
    await action(id, mortal);
    mortal.spare();
    worksAgain(lane, id, mortal.program);
    if (mortal.killed() === before) longest *= 0.9;
  }
}

function start({ runLine }: Lane, id: string, program: string) {
  return engine().ctr(runLine(["-d", "--runc-binary", program], sleep, id));
}

function remove(id: string): void {
  engine().ctr(["task", "rm", "--force", id]);
  engine().ctr(["container", "rm", id]);
}

/** What was killed can be removed, and its name can be used again. */
function worksAgain(lane: Lane, id: string, program: string): void {
  remove(id);
  success(start(lane, id, program));
  expect(lane.status(id)).toBe("RUNNING");
  success(engine().ctr(["task", "rm", "--force", id]));
  success(engine().ctr(["container", "rm", id]));
  expect(existsSync(`${engine().home}/state-of-${lane.prefix}/${engine().mark}/${id}`)).toBe(false);
}

/** By an exit status: what a short program prints ctr 1.6 sometimes loses, with runc too. */
function mustGoOn(lane: Lane, id: string): void {
  expect(lane.exec(id, ["sh", "-c", "exit 7"]).status).toBe(7);
}

test("the runtime, in the middle of create", (lane) =>
  killIn("create", lane, async (id, mortal) => {
    const before = mortal.killed();
    const { status } = start(lane, id, mortal.program);
    if (mortal.killed() > before) expect(status).not.toBe(0);
  }));

test("the runtime, in the middle of start", (lane) =>
  killIn("start", lane, async (id, mortal) => {
    start(lane, id, mortal.program);
  }));

test("the runtime, in the middle of exec: the container goes on", (lane) =>
  killIn("exec", lane, async (id, mortal) => {
    success(start(lane, id, mortal.program));
    lane.exec(id, sleep, ["--detach"]);
    expect(lane.status(id)).toBe("RUNNING");
    mustGoOn(lane, id);
  }));

test("the runtime, in the middle of delete", (lane) =>
  killIn("delete", lane, async (id, mortal) => {
    success(start(lane, id, mortal.program));
    success(engine().ctr(["task", "kill", "-s", "KILL", id]));
    await lane.ended(id);
    engine().ctr(["task", "rm", id]);
  }));

test("shims, while their containers are made", async (lane) => {
  const random = generator(seed);
  await leavingNoSockets(async () => {
    for (let round = 0; round < KILLS; round++) {
      const id = lane.name();
      const running = engine().ctrBeside(lane.runLine(["-d"], sleep, id));
      await until(() => shimsOf(id).length > 0);
      await Bun.sleep(random() * 120);
      for (const pid of shimsOf(id)) kill(pid);
      await running.finish(60_000);
      await until(() => lane.status(id) !== "RUNNING");
      await worksAgainOrAnother(lane, id);
    }
  });
});

/** containerd 1.6 leaves the socket of a shim that was killed. */
async function leavingNoSockets(action: () => Promise<void>): Promise<void> {
  const before = shimSockets();
  try {
    await action();
  } finally {
    for (const name of shimSockets()) if (!before.includes(name)) rmSync(`${SHIM_SOCKETS}/${name}`);
  }
}

/** containerd 1.6 may go on counting a task whose shim was killed before it had answered: its name stays taken, with runc too. */
async function worksAgainOrAnother(lane: Lane, id: string): Promise<void> {
  remove(id);
  const again = start(lane, id, lane.runtime);
  if (again.status === 0) return worksAgain(lane, id, lane.runtime);
  expect(again.stderr).toContain("already exists");
  forget(id);
  await takesAnother(lane);
}

test("containerd, while containers are made, entered and removed; one that runs goes on", async (lane) => {
  const random = generator(seed);
  const survivor = lane.started(sleep);
  const pid = lane.pidOf(survivor);
  await leavingNoSockets(async () => {
    for (let round = 0; round < KILLS; round++) {
      const [made, entered] = [lane.name(), lane.started(sleep)];
      const running = [
        engine().ctrBeside(lane.runLine(["-d"], sleep, made)),
        engine().ctrBeside(["task", "exec", "--exec-id", "e", "--fifo-dir", `${engine().home}/fifo`, entered, "true"]),
        engine().ctrBeside(["task", "rm", "--force", entered]),
      ];
      await Bun.sleep(random() * 200);
      await engine().killDaemon();
      for (const each of running) await each.finish(60_000);
      expect([lane.status(survivor), lane.pidOf(survivor)]).toEqual(["RUNNING", pid]);
      mustGoOn(lane, survivor);
      for (const id of [made, entered]) forget(id);
      await takesAnother(lane);
    }
    success(engine().ctr(["task", "rm", "--force", survivor]));
  });
});

/** containerd that was killed may itself have lost a container in the making, its snapshot, or a shim not asked yet. */
function forget(id: string): void {
  remove(id);
  for (const pid of shimsOf(id)) kill(pid);
  engine().ctr(["snapshot", "rm", id]);
}

async function takesAnother(lane: Lane): Promise<void> {
  let refusal: Result | undefined;
  for (let tries = 0; tries < 4; tries++) {
    const id = lane.name();
    refusal = start(lane, id, lane.runtime);
    if (refusal.status === 0) return worksAgain(lane, id, lane.runtime);
    // A snapshot was prepared and not noted: containerd's numbers of snapshots collide until they have passed it.
    expect(refusal.stderr).toContain("file exists");
    forget(id);
  }
  throw new Error(describeResult(refusal!));
}

function shimsOf(id: string): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    const words = commandLine(pid);
    return words[0]?.endsWith("containerd-shim-runc-v2") && words[words.indexOf("-id") + 1] === id;
  });
}

function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return []; // It has ended meanwhile.
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}
