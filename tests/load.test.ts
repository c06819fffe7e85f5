import { expect } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { commandBeside, describeResult } from "./helpers/command.ts";
import { findLeaks } from "./helpers/leaks.ts";
import { type Bundle, RUNTIME, suite, until } from "./helpers/suite.ts";

const { test, bundle, root, mark } = suite("load");

const CONTAINERS = 200;
const AT_ONCE = 8;

async function must(...args: string[]): Promise<string> {
  const result = await commandBeside([RUNTIME, "--root", root, ...args]).finish(30_000);
  if (result.status !== 0) throw new Error(describeResult(result));
  return result.stdout;
}

async function live(b: Bundle): Promise<void> {
  await must("create", "--bundle", b.dir, b.id);
  await must("start", b.id);
  expect(await must("exec", b.id, "/bin/sh", "-c", "echo $A; cat /proc/1/comm")).toBe("its own\nsleep\n");
  await must("kill", b.id, "KILL");
  await must("delete", "--force", b.id);
}

const own = (dir: string): number => readdirSync(`/proc/self/${dir}`).length;

test(
  `${CONTAINERS} containers, ${AT_ONCE} at a time, created, started, exec'd into, killed and deleted: nothing is left`,
  async () => {
    const mounts = readFileSync("/proc/self/mountinfo", "utf8");
    const descriptors = own("fd");
    const waiting = Array.from({ length: CONTAINERS }, () =>
      bundle((config) => {
        config.process.args = ["/bin/sleep", "1000"];
        config.process.env.push("A=its own");
      }),
    );
    const all = [...waiting];
    const worker = async (): Promise<void> => {
      for (let b = waiting.pop(); b !== undefined; b = waiting.pop()) await live(b);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    until(() => findLeaks(mark).length === 0, "", 3000);
    expect(findLeaks(mark)).toEqual([]);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).toBe(mounts);
    expect(own("fd")).toBeLessThanOrEqual(descriptors + 2);
    expect(existsSync(root) ? readdirSync(root) : []).toEqual([]);
    expect(all).toHaveLength(CONTAINERS);
  },
  { limit: 300_000 },
);
