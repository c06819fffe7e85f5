/** What is said to a systemd, and what is done about its answers; systemd-under-test.ts plays it. The real one: tests/. */
import { afterAll, afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TsrunError } from "../errors.ts";
import {
  attachToScope,
  beginScope,
  finishScope,
  type PlannedScope,
  planScope,
  readSystemd,
  setScopeProperties,
  stopScope,
} from "./systemd.ts";
import { connectSystemd } from "./systemd-bus.ts";
import type { Answers } from "./systemd-under-test.ts";
import { property } from "./unit-property.ts";

const home = mkdtempSync(join(tmpdir(), "systemd-"));
const socket = join(home, "bus");
const before = process.env.DBUS_SYSTEM_BUS_ADDRESS;
let player: Bun.Subprocess<"ignore", "pipe", "inherit"> | undefined;

beforeEach(() => {
  process.env.DBUS_SYSTEM_BUS_ADDRESS = `unix:path=${socket}`;
});

afterEach(async () => {
  player?.kill();
  await player?.exited;
  player = undefined;
});

afterAll(() => {
  if (before === undefined) delete process.env.DBUS_SYSTEM_BUS_ADDRESS;
  else process.env.DBUS_SYSTEM_BUS_ADDRESS = before;
  rmSync(home, { recursive: true });
});

/** Starts a systemd with these answers besides those to what is asked first. */
async function play(answers: Answers): Promise<void> {
  player?.kill();
  await player?.exited;
  const all = { Version: { property: "v252.38-1~deb12u1" }, ControlGroup: { property: "" }, ...answers };
  const program = join(import.meta.dir, "systemd-under-test.ts");
  player = Bun.spawn([process.execPath, program, socket, JSON.stringify(all)], { stdin: "ignore", stdout: "pipe" });
  const reader = player.stdout.getReader();
  await reader.read();
  reader.releaseLock();
}

/** The calls that it got, but for what every connection begins with. */
function calls(): string[] {
  const lines = readFileSync(`${socket}.calls`, "utf8").split("\n");
  return lines.filter((line) => line !== "" && !["Hello", "AddMatch", "Subscribe"].includes(line));
}

const NAME = { unit: "p-n.scope", slice: "system.slice" };
const SCOPE = { ...NAME, instance: "system" } as const;

/** The cgroup that this process is in, where systemd would have its units. */
const OWN = /^(?:0:|[0-9]+:name=systemd):(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1] ?? "/";

function planned(cgroup = OWN): PlannedScope {
  const connection = connectSystemd("system");
  const scope = planScope(NAME, "system", readSystemd(connection), connection);
  return { ...scope, cgroup, properties: [property("Slice", "s", scope.slice)] };
}

/** Starts a scope with this process; tells whether systemd had accepted it. */
function started(scope: PlannedScope): { accepted: boolean; error: unknown } {
  const result: { accepted: boolean; error: unknown } = { accepted: false, error: undefined };
  try {
    finishScope(beginScope(scope, process.pid), () => {
      result.accepted = true;
    });
  } catch (error) {
    result.error = error;
  }
  return result;
}

const JOB = { job: "/org/freedesktop/systemd1/job/8", result: "done" };

test("systemd says its version and where its units are", async () => {
  await play({ ControlGroup: { property: "/user.slice/u.service" } });
  const connection = connectSystemd("system");
  const systemd = readSystemd(connection);
  expect(systemd).toEqual({ version: 252, cgroup: "/user.slice/u.service" });
  expect(planScope(NAME, "system", systemd, connection).cgroup).toBe("/user.slice/u.service/system.slice/p-n.scope");
  connection[Symbol.dispose]();
});

test("a scope is there when its job is done", async () => {
  await play({ StartTransientUnit: JOB });
  expect(started(planned())).toEqual({ accepted: true, error: undefined });
  expect(calls()).toEqual(["Version", "ControlGroup", "StartTransientUnit"]);
});

test("a job that ends otherwise is an error with its result", async () => {
  await play({ StartTransientUnit: { ...JOB, result: "canceled" } });
  const { accepted, error } = started(planned());
  expect(accepted).toBeTrue();
  expect(String(error)).toContain('cannot start the systemd unit "p-n.scope": its job ended with "canceled"');
});

test("a process that is elsewhere than planned is an error", async () => {
  await play({ StartTransientUnit: JOB });
  expect(String(started(planned("/somewhere/else")).error)).toContain(`not in "/somewhere/else"`);
});

test("systemd's refusal is told, and nothing was accepted", async () => {
  await play({
    StartTransientUnit: { error: "org.freedesktop.DBus.Error.AccessDenied", message: "Permission denied" },
  });
  const { accepted, error } = started(planned());
  expect(accepted).toBeFalse();
  expect((error as TsrunError).message).toBe('cannot start the systemd unit "p-n.scope": Permission denied');
  expect((error as TsrunError).details.hint).toContain("takes orders from root");
});

const EXISTS = { error: "org.freedesktop.systemd1.UnitExists", message: "Unit p-n.scope already exists." };
const NO_UNIT = { error: "org.freedesktop.systemd1.NoSuchUnit", message: "Unit p-n.scope not loaded." };

test("a unit that is left without processes is stopped, and the start tried again", async () => {
  await play({
    ControlGroup: [{ property: "" }, { property: "/no/such/cgroup" }],
    StartTransientUnit: [EXISTS, EXISTS, JOB],
    StopUnit: [{ ...JOB, job: "/job/stop" }, NO_UNIT],
  });
  expect(started(planned())).toEqual({ accepted: true, error: undefined });
  const again = ["ControlGroup", "ResetFailedUnit", "StopUnit", "StartTransientUnit"];
  expect(calls()).toEqual(["Version", "ControlGroup", "StartTransientUnit", ...again, ...again]);
});

test("a unit with processes is left alone", async () => {
  await play({ ControlGroup: [{ property: "" }, { property: OWN }], StartTransientUnit: EXISTS });
  const { accepted, error } = started(planned());
  expect(accepted).toBeFalse();
  expect(String(error)).toMatch(/container's cgroup is not empty: [0-9]+ process\(es\) found in the systemd unit/);
  expect(calls()).not.toContain("StopUnit");
});

test("a connection that breaks is an error at once", async () => {
  await play({ StartTransientUnit: { close: true } });
  expect(String(started(planned()).error)).toContain("cannot talk to systemd: its D-Bus socket says");
});

test("stopping waits for the job; what is gone is fine; a refusal is not", async () => {
  await play({ StopUnit: JOB, ResetFailedUnit: NO_UNIT });
  stopScope(SCOPE);
  expect(calls()).toEqual(["StopUnit", "ResetFailedUnit"]);
  await play({ StopUnit: NO_UNIT });
  stopScope(SCOPE);
  await play({ StopUnit: { ...JOB, result: "timeout" } });
  expect(() => stopScope(SCOPE)).toThrow('cannot stop the systemd unit "p-n.scope": its job ended with "timeout"');
  await play({ StopUnit: { error: "org.freedesktop.DBus.Error.AccessDenied", message: "Permission denied" } });
  expect(() => stopScope(SCOPE)).toThrow('cannot stop the systemd unit "p-n.scope": Permission denied');
});

test("changed properties depend on the version, and none is no call", async () => {
  await play({});
  let seen = 0;
  setScopeProperties(SCOPE, (version) => {
    seen = version;
    return [property("TasksMax", "t", 5n)];
  });
  setScopeProperties(SCOPE, () => []);
  expect(seen).toBe(252);
  expect(calls()).toEqual(["Version", "SetUnitProperties", "Version"]);
});

test("a process is moved by systemd, or it says why not", async () => {
  await play({ AttachProcessesToUnit: { error: "org.freedesktop.systemd1.NoSuchUnit", message: "no such unit" } });
  expect(() => attachToScope(SCOPE, "/inner", 1)).toThrow('cannot join the systemd unit "p-n.scope": no such unit');
});

test("nobody who listens is an error that says where, and what to do", () => {
  process.env.DBUS_SYSTEM_BUS_ADDRESS = `unix:path=${home}/none`;
  try {
    connectSystemd("system");
    throw new Error("should have failed");
  } catch (error) {
    expect((error as TsrunError).message).toContain(`D-Bus socket unix:path=${home}/none: no such file or directory`);
    expect((error as TsrunError).details.hint).toContain("cgroupfs driver");
  }
});
