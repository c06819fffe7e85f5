import { expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { command } from "./helpers/command.ts";
import { waiting } from "./helpers/config.ts";
import { mustSucceed, RUNTIME, suite } from "./helpers/suite.ts";

const { test, started, bundle, create, runtime, kill, untilStatus, root, home } = suite("list");

test("table: the header and a line for each container", () => {
  const one = started();
  const two = bundle(waiting);
  mustSucceed(create(two));
  const result = mustSucceed(runtime(["list"]));
  const lines = result.stdout.trimEnd().split("\n");
  expect(result.stderr).toBe("");
  expect(lines[0]!.split(/\s+/).filter(Boolean)).toEqual(["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
  const rows = lines.slice(1).map((line) => line.split(/\s+/).filter(Boolean));
  expect(rows.map((row) => [row[0], row[2], row[3], row[5]])).toEqual([
    [one.id, "running", one.dir, "root"],
    [two.id, "created", two.dir, "root"],
  ]);
  for (const row of rows) expect(row[1]).toMatch(/^[1-9]\d*$/);
});

test("table: columns are aligned", () => {
  const b = started();
  const [header, row] = mustSucceed(runtime(["list", "--format", "table"])).stdout.split("\n") as [string, string];
  expect(row.indexOf("running")).toBe(header.indexOf("STATUS"));
  expect(row.indexOf(b.dir)).toBe(header.indexOf("BUNDLE"));
});

for (const flags of [["--format", "json"], ["--format=json"], ["-f", "json"], ["-f=json"]]) {
  test(`json, by ${flags.join(" ")}`, () => {
    const b = started((config) => (config.annotations = { a: "b" }));
    const result = mustSucceed(runtime(["list", ...flags]));
    expect(result.stderr).toBe("");
    const entries = JSON.parse(result.stdout) as Record<string, unknown>[];
    expect(entries).toHaveLength(1);
    expect(entries[0]).toMatchObject({ id: b.id, status: "running", bundle: b.dir, rootfs: b.rootfs, owner: "root" });
    expect(entries[0]!.annotations).toEqual({ a: "b" });
    expect(entries[0]!.pid).toBeGreaterThan(1);
    expect(entries[0]!.created).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  });
}

test("json of a stopped one: pid 0", () => {
  const b = started();
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  const entries = JSON.parse(mustSucceed(runtime(["list", "-f", "json"])).stdout) as { status: string; pid: number }[];
  expect(entries.map(({ status, pid }) => [status, pid])).toEqual([["stopped", 0]]);
});

for (const flag of ["-q", "--quiet"]) {
  test(`${flag}: ids alone`, () => {
    const ids = [started().id, started().id];
    const lines = mustSucceed(runtime(["list", flag])).stdout.split("\n");
    expect(lines.sort()).toEqual(["", ...ids].sort());
  });
}

test("none: the header; null or an empty list as JSON; nothing with -q", () => {
  expect(
    mustSucceed(runtime(["list"]))
      .stdout.trimEnd()
      .split("\n"),
  ).toHaveLength(1);
  expect([null, []]).toContainEqual(JSON.parse(mustSucceed(runtime(["list", "-f", "json"])).stdout));
  expect(mustSucceed(runtime(["list", "-q"])).stdout).toBe("");
});

test("a state root that does not exist: none", () => {
  const result = command([RUNTIME, "--root", `${home}/nowhere`, "list", "-q"]);
  expect([result.status, result.stdout]).toEqual([0, ""]);
});

test("a state root that does not exist: no containers in either format", () => {
  const list = (format: string) => command([RUNTIME, "--root", `${home}/nowhere-else`, "list", "--format", format]);
  expect(list("table").stdout.trimEnd().split("\n")).toHaveLength(1);
  expect(JSON.parse(list("json").stdout) ?? []).toEqual([]);
});

test("the status of a paused one", () => {
  const b = started();
  mustSucceed(runtime(["pause", b.id]));
  const statuses = () => [
    (JSON.parse(mustSucceed(runtime(["list", "-f", "json"])).stdout) as { status: string }[])[0]!.status,
    mustSucceed(runtime(["list"]))
      .stdout.split("\n")[1]!
      .split(/\s+/)[2],
  ];
  expect(statuses()).toEqual(["paused", "paused"]);
  mustSucceed(runtime(["resume", b.id]));
  expect(statuses()).toEqual(["running", "running"]);
});

test("an unknown format is refused by name", () => {
  const result = runtime(["list", "--format", "yaml"]);
  expect(result.status).toBe(1);
  expect(result.stderr).toContain("yaml");
});

test("a file in the state root is no container", () => {
  const b = started();
  writeFileSync(`${root}/some-file`, "");
  expect(mustSucceed(runtime(["list", "-q"])).stdout).toBe(`${b.id}\n`);
});
