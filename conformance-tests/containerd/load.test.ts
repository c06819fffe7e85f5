/** A hundred containers through containerd. */
import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { sh, success } from "../lib/commands.ts";
import { until } from "../lib/wait.ts";
import { containerd } from "./lanes.ts";

const { engine, test, taskOf } = containerd();

const CONTAINERS = 100;
const AT_ONCE = 8;

test(`${CONTAINERS} containers, ${AT_ONCE} at a time, held, then killed`, async ({ runLine, name }) => {
  const ids = Array.from({ length: CONTAINERS }, name);
  await each(ids, (id) => ctr(...runLine(["-d"], sh("echo $$ > /tmp/own; exec sleep 1000"), id)));
  const running = success(engine().ctr(["task", "ls"]))
    .stdout.split("\n")
    .slice(1)
    .filter(Boolean);
  expect(running.map((line) => line.split(/\s+/)[0]).toSorted()).toEqual(ids.toSorted());
  expect(running.filter((line) => !line.includes("RUNNING"))).toEqual([]);
  const [some] = ids.slice(37);
  expect(readFileSync(`/proc/${taskOf(some!).pid}/root/tmp/own`, "utf8")).toBe("1\n");
  await each(ids, (id) => ctr("task", "kill", "-s", "KILL", id));
  await until(() => !success(engine().ctr(["task", "ls"])).stdout.includes("RUNNING"));
  await each(ids, (id) => ctr("task", "rm", id));
  await each(ids, (id) => ctr("container", "rm", id));
  expect(success(engine().ctr(["container", "ls", "--quiet"])).stdout).toBe("");
});

async function ctr(...args: string[]): Promise<void> {
  success(await engine().ctrBeside(args).finish(60_000));
}

/** `AT_ONCE` of them at a time. */
async function each(ids: readonly string[], action: (id: string) => Promise<void>): Promise<void> {
  const waiting = [...ids];
  const worker = async () => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) await action(id);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
