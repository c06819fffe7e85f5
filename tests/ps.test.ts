import { expect } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { PLAIN_ENV } from "./helpers/command.ts";
import { unshare, waiting } from "./helpers/config.ts";
import { type Bundle, type Change, mustFail, mustSucceed, suite, until } from "./helpers/suite.ts";

const { test, started: startedSoon, bundle, create, state, exec, kill, runtime, untilStatus } = suite("ps");

/** A container whose program runs: runc's start returns before it does. */
function started(change?: Change): Bundle {
  const b = startedSoon(change);
  const isProgram = () => readFileSync(`/proc/${initOf(b)}/cmdline`, "utf8").startsWith("/bin/sleep");
  until(isProgram, "the container's program");
  return b;
}

const initOf = (b: Bundle): number => (JSON.parse(mustSucceed(state(b)).stdout) as { pid: number }).pid;

const idsOf = (b: Bundle): number[] | null =>
  JSON.parse(mustSucceed(runtime(["ps", "--format", "json", b.id])).stdout) as number[] | null;

/** One more process, with a child of its own. */
function addSleepers(b: Bundle): void {
  const script = "sleep 1001 & sleep 1002; true";
  mustSucceed(exec(b, ["/bin/sh", "-c", script], { flags: ["--detach"] }));
  until(() => idsOf(b)?.length === 4, "four processes");
}

for (const flags of [["--format", "json"], ["--format=json"], ["-f", "json"]]) {
  test(`json, by ${flags.join(" ")}: an array of ids as the host sees them`, () => {
    const b = started();
    const result = mustSucceed(runtime(["ps", ...flags, b.id]));
    expect(JSON.parse(result.stdout)).toEqual([initOf(b)]);
    expect(result.stderr).toBe("");
  });
}

test("json: processes of exec and their children too", () => {
  const b = started();
  addSleepers(b);
  const ids = idsOf(b)!;
  expect(ids).toContain(initOf(b));
  const programs = ids.map((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim());
  expect(programs.sort()).toEqual([
    "/bin/sh -c sleep 1001 & sleep 1002; true",
    "/bin/sleep 1000",
    "sleep 1001",
    "sleep 1002",
  ]);
});

test("json: of a created container, the one that waits", () => {
  const b = bundle(waiting);
  mustSucceed(create(b));
  expect(idsOf(b)).toEqual([initOf(b)]);
});

test("json: of a stopped container, none", () => {
  const b = started();
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  expect(idsOf(b) ?? []).toEqual([]);
});

test("json: processes in cgroups that the container has made below its own", () => {
  const v2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
  const b = started((config) => {
    unshare(config, "cgroup");
    config.mounts.push({ destination: "/sys", type: "sysfs", source: "sysfs" });
    config.mounts.push({ destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["rw"] });
  });
  const top = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/devices";
  const script = `mkdir -p ${top}/one/two && echo $$ > ${top}/one/two/cgroup.procs && exec sleep 1001`;
  mustSucceed(exec(b, ["/bin/sh", "-c", script], { flags: ["--detach"] }));
  until(() => idsOf(b)?.length === 2, "the process in the inner cgroup");
});

test("table: ps -ef, its heading and the container's processes", () => {
  const b = started();
  addSleepers(b);
  const result = mustSucceed(runtime(["ps", b.id]));
  const [heading, ...lines] = result.stdout.trimEnd().split("\n");
  expect(heading!.trim().split(/\s+/)).toEqual(["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
  expect(lines.map((line) => Number(line.trim().split(/\s+/)[1])).sort((a, b) => a - b)).toEqual(idsOf(b)!);
  expect(result.stderr).toBe("");
});

test("table: of a stopped container, the heading", () => {
  const b = started();
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  expect(
    mustSucceed(runtime(["ps", b.id]))
      .stdout.trimEnd()
      .split("\n"),
  ).toHaveLength(1);
});

for (const options of [
  ["-e", "-o", "pid,args"],
  ["-eo", "pid,args"],
  ["--format=pid,args", "-A"],
]) {
  test(`table: what follows the id is ps's: ${options.join(" ")}`, () => {
    const b = started();
    const lines = mustSucceed(runtime(["ps", b.id, ...options]))
      .stdout.trimEnd()
      .split("\n");
    expect(lines.map((line) => line.trim().split(/\s+/))).toEqual([
      ["PID", "COMMAND"],
      [String(initOf(b)), "/bin/sleep", "1000"],
    ]);
  });
}

test("table: BSD options", () => {
  const b = started();
  const [heading, line] = mustSucceed(runtime(["ps", b.id, "aux"])).stdout.split("\n");
  expect(heading).toContain("%MEM");
  expect(line).toContain("/bin/sleep 1000");
});

test("table: threads are lines of their own", () => {
  const b = started();
  const lines = mustSucceed(runtime(["ps", b.id, "-eLo", "pid,lwp"]))
    .stdout.trimEnd()
    .split("\n");
  const pid = String(initOf(b));
  expect(lines.slice(1).map((line) => line.trim().split(/\s+/))).toEqual([[pid, pid]]);
});

test("table: a column with spaces before the id", () => {
  const b = started();
  const lines = mustSucceed(runtime(["ps", b.id, "-eo", "args:40,pid"]))
    .stdout.trimEnd()
    .split("\n");
  expect(lines.slice(1).map((line) => line.trim().split(/\s+/))).toEqual([["/bin/sleep", "1000", String(initOf(b))]]);
});

test("options without a column PID are refused", () => {
  mustFail(runtime(["ps", started().id, "-eo", "args"]), "couldn't find PID field in ps output");
});

test("options that ps refuses: its words, and its status", () => {
  const result = mustFail(runtime(["ps", started().id, "--no-such-option"]), "exit status 1");
  expect(result.stderr).toContain("unknown gnu long option");
});

test("options that ps refuses: not its usage", () => {
  const result = mustFail(runtime(["ps", started().id, "-"]), "garbage option");
  expect(result.stderr.trim().split("\n")).toHaveLength(1);
});

test("without ps(1): an error that names it; json works", () => {
  const b = started();
  const env = { ...PLAIN_ENV, PATH: "/nowhere" };
  const found = mustFail(runtime(["ps", b.id], { env }), /"?ps\\?": executable file not found in \$PATH/);
  expect(found.stdout).toBe("");
  expect(JSON.parse(mustSucceed(runtime(["ps", "-f", "json", b.id], { env })).stdout)).toEqual([initOf(b)]);
});

test("without ps(1): a hint to the package", () => {
  const result = runtime(["ps", started().id], { env: { ...PLAIN_ENV, PATH: "/nowhere" } });
  expect(result.stderr).toContain("procps");
});

test("an unknown format is refused", () => {
  expect(runtime(["ps", "--format", "yaml", started().id]).status).toBe(1);
});

test("no such container", () => {
  mustFail(runtime(["ps", "nobody"]), "does not exist");
});
