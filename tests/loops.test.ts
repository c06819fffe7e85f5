/** Many containers, one after another and several at a time: nothing may be left of any. */
import { expect } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { describeResult } from "./helpers/command.ts";
import { findLeaks } from "./helpers/leaks.ts";
import { cgroupsPathFor } from "./helpers/manager.ts";
import { type Bundle, type RunOptions, suite, until } from "./helpers/suite.ts";

const { test, bundle, runtime, runtimeBeside, root, mark, knownIds, after } = suite("loops");

/** LOOPS=1000 for a long look. */
const LOOPS = Number(process.env.LOOPS || 200);
const AT_ONCE = 8;

const onlyV2 = existsSync("/sys/fs/cgroup/cgroup.controllers");

const VIEWS: readonly (readonly [title: string, options: RunOptions])[] = onlyV2
  ? [["v2", {}]]
  : [
      ["v1 and mixed", {}],
      ["v2", { view: "v2" }],
    ];

for (const [view, options] of VIEWS) {
  const must = async (...args: string[]): Promise<void> => {
    const result = await runtimeBeside(args, options).finish(30_000);
    if (result.status !== 0) throw new Error(describeResult(result));
  };

  /** Every other one has ended by itself, or is about to, when it is deleted. */
  const loop = async (b: Bundle, number: number): Promise<void> => {
    const id = `${mark}${view.length}-${number}x`;
    const args = number % 2 === 0 ? ["/bin/sleep", "1000"] : ["/bin/true"];
    const { process, linux, ...config } = b.config;
    const changed = { ...config, process: { ...process, args }, linux: { ...linux, cgroupsPath: cgroupsPathFor(id) } };
    writeFileSync(`${b.dir}/config.json`, JSON.stringify(changed));
    await must("create", "--bundle", b.dir, id);
    await must("start", id);
    await must("delete", "--force", id);
  };

  test(
    `${view}: ${LOOPS} times create, start, delete, ${AT_ONCE} at a time`,
    async () => {
      after(() => {
        for (const id of knownIds()) runtime(["delete", "--force", id], options);
      });
      const mounts = readFileSync("/proc/self/mountinfo", "utf8");
      let number = 0;
      let done = 0;
      const worker = async (b: Bundle): Promise<void> => {
        while (number < LOOPS) {
          await loop(b, number++);
          done++;
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, () => worker(bundle())));
      until(() => findLeaks(mark).length === 0, "", 3000);
      expect([findLeaks(mark), readdirSync(root), done]).toEqual([[], [], LOOPS]);
      expect(readFileSync("/proc/self/mountinfo", "utf8")).toBe(mounts);
    },
    { limit: 60_000 + LOOPS * 1500 },
  );
}
