import { expect } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { command } from "./helpers/command.ts";
import { waiting } from "./helpers/config.ts";
import { cgroupsOf } from "./helpers/leaks.ts";
import { type Bundle, mustFail, mustSucceed, RUNTIME, RUNTIME_NAME, suite } from "./helpers/suite.ts";
import { slow } from "./helpers/time.ts";

const {
  test: anyTest,
  started,
  bundle,
  create,
  exec,
  kill,
  remove,
  runtime,
  runtimeBeside,
  untilStatus,
  after,
  home,
  root,
} = suite("events");

const absent = RUNTIME_NAME === "crun" && "crun has no command events";

const test: typeof anyTest = (title, action, options = {}) =>
  anyTest(title, action, { ...options, skip: options.skip || absent });

interface Event {
  readonly type: string;
  readonly id: string;
  readonly data?: Record<string, Record<string, unknown>>;
}

const eventsIn = (text: string): Event[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Event);

function statsOf(b: Bundle): Event {
  const result = mustSucceed(runtime(["events", "--stats", b.id]));
  expect(result.stdout.endsWith("}\n")).toBe(true);
  return eventsIn(result.stdout)[0]!;
}

/** The directory of the container's cgroup that has this file. */
function cgroupWith(b: Bundle, file: string): string | undefined {
  return cgroupsOf(b.id).find((path) => existsSync(`${path}/${file}`));
}

const MEMORY_LIMITS = ["memory.limit_in_bytes", "memory.max"];

/** Where memory can be limited, and by which file. */
function memoryLimit(b: Bundle): string | undefined {
  for (const file of MEMORY_LIMITS) {
    const path = cgroupWith(b, file);
    if (path !== undefined) return `${path}/${file}`;
  }
  return undefined;
}

const hasMemory = existsSync("/sys/fs/cgroup/memory") || /\bmemory\b/.test(readControllers());
const noMemory = hasMemory ? undefined : "no memory controller here";

function readControllers(): string {
  const file = "/sys/fs/cgroup/cgroup.controllers";
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

/** A program that takes more than its limit, in a process of its own. */
const HOG = "dd if=/dev/zero of=/dev/null bs=64M count=1";

test("--stats: one line with every part", () => {
  const b = started();
  const { type, id, data } = statsOf(b);
  expect([type, id]).toEqual(["stats", b.id]);
  const parts = ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"];
  expect(Object.keys(data!).sort()).toEqual(parts);
  const usage = data!.cpu!.usage as Record<string, number>;
  expect(usage.total).toBeGreaterThan(0);
});

test(
  "--stats: what the container uses",
  () => {
    const b = started();
    const { data } = statsOf(b);
    const usage = data!.memory!.usage as Record<string, number>;
    expect(usage.usage).toBeGreaterThan(4096);
    expect(usage.limit).toBeGreaterThan(2 ** 62);
    expect(data!.pids!.current).toBe(1);
  },
  { skip: noMemory },
);

test("--stats: processor time grows", () => {
  const b = started();
  const total = () => (statsOf(b).data!.cpu!.usage as Record<string, number>).total!;
  const before = total();
  mustSucceed(exec(b, ["/bin/sh", "-c", "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done"]));
  expect(total() - before).toBeGreaterThan(10_000_000);
});

test(
  "--stats: a limit with every digit",
  () => {
    const b = started();
    const file = memoryLimit(b)!;
    writeFileSync(file, String(256 << 20));
    expect(mustSucceed(runtime(["events", "--stats", b.id])).stdout).toContain(`"limit":${256 << 20}`);
    writeFileSync(file, file.endsWith(".max") ? "max" : "-1");
    const [none] = file.endsWith(".max") ? ["18446744073709551615"] : ["9223372036854771712"];
    expect(mustSucceed(runtime(["events", "--stats", b.id])).stdout).toContain(`"usage":{"limit":${none},`);
  },
  { skip: noMemory },
);

test("--stats: of a created container", () => {
  const b = bundle();
  mustSucceed(create(b));
  // Threads are counted too, and runc waits with several.
  expect(statsOf(b).data!.pids!.current).toBeGreaterThanOrEqual(1);
});

for (const line of [["events"], ["events", "--stats"]]) {
  test(`${line.join(" ")} of a stopped container is refused`, () => {
    const b = started();
    mustSucceed(kill(b, "KILL"));
    untilStatus(b, "stopped");
    mustFail(runtime([...line, b.id]), `container with id ${b.id} is not running`);
  });

  test(`${line.join(" ")} of no container is refused`, () => {
    mustFail(runtime([...line, "nobody"]), "does not exist");
  });
}

for (const [interval, text] of [
  ["0s", "duration interval must be greater than 0"],
  ["-5s", "duration interval must be greater than 0"],
  ["5", "interval"],
  ["1d", "interval"],
] as const) {
  test(`--interval ${interval} is refused`, () => {
    mustFail(runtime(["events", "--interval", interval, started().id]), text);
  });
}

for (const flags of [["--interval", "200ms"], ["--interval=200ms"], ["-interval", ".2s"]]) {
  test(`a line after each interval, until the container is deleted: ${flags.join(" ")}`, async () => {
    const b = started();
    const events = runtimeBeside(["events", ...flags, b.id]);
    const begun = Date.now();
    await Bun.sleep(slow(1000));
    mustSucceed(remove(b, { flags: ["--force"] }));
    const result = await events.finish();
    const found = eventsIn(result.stdout);
    expect(result.status).toBe(0);
    expect(found.length).toBeGreaterThanOrEqual(2);
    expect(found.length).toBeLessThanOrEqual(1 + (Date.now() - begun) / 200);
    for (const { type, id } of found) expect([type, id]).toEqual(["stats", b.id]);
  });
}

test("the stream ends when the container does", async () => {
  const b = started();
  const events = runtimeBeside(["events", b.id]);
  await Bun.sleep(slow(300));
  mustSucceed(kill(b, "KILL"));
  expect(await events.finish(3000)).toMatchObject({ status: 0, stdout: "", stderr: "" });
});

for (const [signal, status] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  test(`${signal} ends the stream, not the container`, async () => {
    const b = started();
    const events = runtimeBeside(["events", "--interval", "100ms", b.id]);
    await Bun.sleep(slow(500));
    events.kill(signal);
    expect((await events.finish()).status).toBe(status);
    untilStatus(b, "running");
  });
}

test("the stream ends when nobody reads it", () => {
  const b = started();
  const script = `"$0" --root ${home}/state events --interval 100ms ${b.id} | head -n 1`;
  const result = command(["bash", "-c", script, RUNTIME], { limit: 5000 });
  expect(result.status).toBe(0);
  expect(eventsIn(result.stdout)).toHaveLength(1);
});

test(
  "oom: a line when a process of the container is killed for want of memory",
  async () => {
    const b = started();
    writeFileSync(memoryLimit(b)!, String(16 << 20));
    const events = runtimeBeside(["events", "--interval", "60s", b.id]);
    await Bun.sleep(slow(500));
    expect(exec(b, ["/bin/sh", "-c", HOG]).status).not.toBe(0);
    await Bun.sleep(slow(300));
    mustSucceed(remove(b, { flags: ["--force"] }));
    const found = eventsIn((await events.finish()).stdout);
    expect(found.length).toBeGreaterThanOrEqual(1);
    for (const event of found) expect(event).toEqual({ type: "oom", id: b.id });
  },
  { skip: noMemory },
);

test(
  "oom: one that was before the stream began is not told",
  async () => {
    const b = started();
    writeFileSync(memoryLimit(b)!, String(16 << 20));
    expect(exec(b, ["/bin/sh", "-c", HOG]).status).not.toBe(0);
    const events = runtimeBeside(["events", "--interval", "60s", b.id]);
    await Bun.sleep(slow(500));
    mustSucceed(remove(b, { flags: ["--force"] }));
    expect((await events.finish()).stdout).toBe("");
  },
  { skip: noMemory },
);

/** Every path in the object with its type: `cpu.usage.total:number`; elements of arrays are all one. */
function shape(value: unknown, path = ""): string[] {
  if (Array.isArray(value)) return [...new Set(value.flatMap((each) => shape(each, `${path}[]`)))];
  if (value === null || typeof value !== "object") return [`${path}:${value === null ? "null" : typeof value}`];
  return Object.entries(value).flatMap(([key, each]) => shape(each, path === "" ? key : `${path}.${key}`));
}

/** What may differ between two looks at the same sleeping container. */
function steady({ data }: Event): unknown {
  const { usage: _, throttling: _throttling, ...cpu } = data!.cpu!;
  const { raw: _raw, usage, swap, kernel, cache: _cache, ...memory } = data!.memory! as Record<string, object>;
  const limits = [usage, swap, kernel].map((each) => ({ ...each, usage: 0, max: 0 }));
  return { ...data, cpu, memory: { ...memory, limits } };
}

/** Tells tsrun that the cgroups of its container `ours` are those of `theirs`. Returns what undoes that. */
function lookAt(ours: Bundle, theirs: string): () => void {
  const file = `${root}/${ours.id}/state.json`;
  const text = readFileSync(file, "utf8");
  const state = JSON.parse(text) as { cgroup_paths: Record<string, string> };
  const paths = Object.entries(state.cgroup_paths).map(
    ([name, path]) => [name, path.replace(ours.id, theirs)] as const,
  );
  // Where v1 and v2 are mixed runc looks at v1 only; tsrun also at the controllers that v2 has.
  const seen = paths.filter(([name]) => paths.length === 1 || name !== "");
  writeFileSync(file, JSON.stringify({ ...state, cgroup_paths: Object.fromEntries(seen) }));
  return () => writeFileSync(file, text);
}

/** A container of runc's. */
function startedByRunc(): [id: string, runc: readonly string[]] {
  const { id, dir } = bundle((config) => {
    waiting(config);
    if (!hasMemory) return;
    config.linux.resources = {
      cpu: { quota: 50000, period: 100000 },
      pids: { limit: 100 },
      memory: { limit: 64 << 20 },
    };
  });
  const runc = ["runc", "--root", `${home}/runc`];
  after(() => void command([...runc, "delete", "--force", id]));
  mustSucceed(command([...runc, "run", "--detach", "--bundle", dir, id]));
  return [id, runc];
}

test(
  "--stats: the same keys, types and order as runc's, and the same values but for what goes on meanwhile",
  () => {
    const [id, runc] = startedByRunc();
    const ours = started();
    const undo = lookAt(ours, id);
    // A number that is 0 is not told: the period of the quota in which both have started has to be over.
    Bun.sleepSync(slow(200));
    const found = runtime(["events", "--stats", ours.id]);
    const expected = command([...runc, "events", "--stats", id]);
    undo();
    const [mine, theirs] = [found, expected].map((result) => eventsIn(mustSucceed(result).stdout)[0]!) as [
      Event,
      Event,
    ];
    // runc tells of pressure since 1.2.
    if (theirs.data!.cpu!.psi === undefined)
      for (const part of ["cpu", "memory", "blkio"]) delete mine.data![part]!.psi;
    // And of the most that was in use on v2.
    const [most, theirMost] = [mine, theirs].map((event) => event.data!.memory!.usage as Record<string, number>);
    if (theirMost!.max === undefined) delete most!.max;
    expect(shape(mine)).toEqual(shape(theirs));
    expect(JSON.stringify(steady(mine))).toBe(JSON.stringify(steady(theirs)));
    const usage = (event: Event) => (event.data!.cpu!.usage as Record<string, number>).total!;
    expect(Math.abs(usage(mine) - usage(theirs))).toBeLessThan(50_000_000);
  },
  { skip: RUNTIME_NAME !== "tsrun" && "compares tsrun with runc" },
);
