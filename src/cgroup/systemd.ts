import { TsrunError } from "../errors.ts";
import { parseCgroupFile } from "../host/parse-cgroups.ts";
import { nanoseconds } from "../kernel/clock.ts";
import { readText, sleep } from "../kernel/files.ts";
import type { Reply } from "../kernel/sd-bus.ts";
import { processesIn } from "./processes.ts";
import {
  beginCall,
  callManager,
  connectSystemd,
  finishCall,
  finishJob,
  type Instance,
  type PendingCall,
  readManager,
  readScope,
  type SystemdBus,
} from "./systemd-bus.ts";
import { type ScopeName, scopeCgroup } from "./systemd-unit.ts";
import { property, type UnitProperty } from "./unit-property.ts";

/** The transient unit of a container: what state.json keeps of it. */
export interface Scope extends ScopeName {
  readonly instance: Instance;
}

/** What a systemd that runs says of itself. */
export interface Systemd {
  /** 252 of `252.38-1~deb12u1`. */
  readonly version: number;
  /** The cgroup that its units are in, from the root of the hierarchy; empty for a machine's. */
  readonly cgroup: string;
}

/** A scope that does not exist yet. */
export interface PlannedScope extends Scope {
  readonly systemd: Systemd;
  /** Undefined when the plan is only printed, and systemd does not run. */
  readonly connection: SystemdBus | undefined;
  /** Where it will be, from the root of the hierarchy. */
  readonly cgroup: string;
  /** All but the processes, which are not known yet. */
  readonly properties: readonly UnitProperty[];
}

/** Asks the systemd that is to make the cgroup for what the plan depends on. */
export function readSystemd(connection: SystemdBus): Systemd {
  const [version = "", cgroup = ""] = readManager(connection, "Version", "ControlGroup");
  return { version: versionNumber(version), cgroup };
}

function versionNumber(text: string): number {
  return Number(/[0-9]+/.exec(text)?.[0] ?? 0);
}

export function planScope(
  name: ScopeName,
  instance: Instance,
  systemd: Systemd,
  connection: SystemdBus | undefined,
): PlannedScope {
  return { ...name, instance, systemd, connection, cgroup: scopeCgroup(name, systemd.cgroup), properties: [] };
}

/** A scope that systemd was asked for. */
export interface StartingScope {
  readonly scope: PlannedScope;
  readonly pid: number;
  readonly call: PendingCall;
}

/** Asks for the scope with this process in it; `finishScope` waits until it is there. */
export function beginScope(scope: PlannedScope, pid: number): StartingScope {
  return { scope, pid, call: beginCall(scope.connection!, "StartTransientUnit", ...startArguments(scope, pid)) };
}

/** name, mode, properties, auxiliary units (org.freedesktop.systemd1(5)). */
function startArguments({ unit, properties }: PlannedScope, pid: number) {
  const all = [...properties, property("PIDs", "au", [pid])];
  return ["ssa(sv)a(sa(sv))", [unit, "replace", propertyList(all), []]] as const;
}

function propertyList(properties: readonly UnitProperty[]) {
  return properties.map(({ name, signature, value }) => [name, [signature, value]]);
}

/**
 * The process is in the scope's cgroup when this returns; the connection is closed. `onAccepted` is called as soon as
 * there is something to stop.
 */
export function finishScope({ scope, pid, call }: StartingScope, onAccepted: () => void): void {
  using connection = scope.connection!;
  const job = mustStart(scope, acceptedStart(connection, scope, pid, finishCall(connection, call)));
  onAccepted();
  const result = finishJob(connection, job, `start ${scope.unit}`);
  if (result !== "done") throw failedJob("start", scope.unit, result);
  checkPlace(scope, pid);
}

const UNIT_EXISTS = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit";
/** For taking over what is left: nobody holds on to a unit without processes for longer. */
const PATIENCE_MS = 10_000;

/** The reply of StartTransientUnit when no unit of that name is in the way any more. */
function acceptedStart(connection: SystemdBus, scope: PlannedScope, pid: number, first: Reply): Reply {
  const end = nanoseconds() + PATIENCE_MS * 1e6;
  let reply = first;
  for (let pause = 1; isError(reply, UNIT_EXISTS) && nanoseconds() < end; pause = Math.min(2 * pause, 100)) {
    takeOver(connection, scope);
    reply = callManager(connection, "StartTransientUnit", ...startArguments(scope, pid));
    if (isError(reply, UNIT_EXISTS)) sleep(pause);
  }
  return reply;
}

function isError(reply: Reply, name: string): boolean {
  return reply.kind === "error" && reply.name === name;
}

/** A scope that an earlier container has left, failed or empty, goes; one that lives stays, whatever its slice. */
function takeOver(connection: SystemdBus, { unit }: PlannedScope): void {
  const [cgroup = ""] = readScope(connection, unit, "ControlGroup");
  const paths = cgroup === "" ? [] : cgroupsNamed(cgroup);
  const count = Math.max(0, ...paths.map((path) => processesIn(path).length));
  if (count > 0) {
    throw new TsrunError(`container's cgroup is not empty: ${count} process(es) found in the systemd unit "${unit}"`, {
      code: "EBUSY",
      pointer: "/linux/cgroupsPath",
      hint: "another container may use it: give this one its own linux.cgroupsPath",
    });
  }
  callManager(connection, "ResetFailedUnit", "s", [unit]);
  const reply = callManager(connection, "StopUnit", "ss", [unit, "replace"]);
  if (reply.kind === "value") finishJob(connection, String(reply.value), `stop ${unit}`);
}

/** Where systemd itself has its units, by custom: one of these is there. */
function cgroupsNamed(cgroup: string): string[] {
  return ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"].map((mount) => `${mount}${cgroup}`);
}

/** The job that starts the scope. */
function mustStart({ unit, instance }: Scope, reply: Reply): string {
  if (reply.kind === "value") return String(reply.value);
  const hint = startHint(reply.name, instance);
  throw new TsrunError(`cannot start the systemd unit "${unit}": ${reply.message}`, { code: reply.name, hint });
}

function startHint(error: string, instance: Instance): string | undefined {
  const name = error.slice(error.lastIndexOf(".") + 1);
  if (name === "AccessDenied" || name === "InteractiveAuthorizationRequired") {
    return instance === "system"
      ? "the systemd of the machine takes orders from root"
      : "the user's systemd takes orders from that user: is DBUS_SESSION_BUS_ADDRESS, or XDG_RUNTIME_DIR, another one's?";
  }
  if (name === "ServiceUnknown" || name === "NameHasNoOwner")
    return "no systemd is on this D-Bus: use the cgroupfs driver";
  // ENXIO: the reader of the message found another type than it wanted.
  if (name === "ENXIO")
    return "an annotation org.systemd.property.* has not the type that systemd wants: uint64 5 is not 5";
  if (error === UNIT_EXISTS) return "systemd does not let go of a unit of the same name: systemctl status tells more";
  return undefined;
}

function failedJob(action: string, unit: string, result: string): TsrunError {
  return new TsrunError(`cannot ${action} the systemd unit "${unit}": its job ended with "${result}"`, {
    code: "EJOB",
    hint: `journalctl --unit ${unit} tells why`,
  });
}

/** What follows was planned for the cgroup that systemd should have made. */
function checkPlace({ unit, cgroup }: PlannedScope, pid: number): void {
  const text = readText(`/proc/${pid}/cgroup`);
  const lines = typeof text === "string" ? parseCgroupFile(text) : [];
  const found = lines.filter(({ controllers }) => controllers.length === 0 || controllers[0] === "name=systemd");
  // Beyond the root of tsrun's own cgroup namespace there is nothing to compare.
  if (found.length === 0 || found.some(({ path }) => path === cgroup || path.startsWith("/.."))) return;
  const places = found.map(({ path }) => JSON.stringify(path)).join(" and ");
  throw new TsrunError(
    `cannot find the container's process in the systemd unit "${unit}": it is in ${places}, not in ${JSON.stringify(cgroup)}`,
    {
      code: "ESRCH",
    },
  );
}

/** Stops a scope and forgets that it has failed; one that is gone is fine. Its processes should be dead already. */
export function stopScope({ unit, instance }: Scope): void {
  using connection = connectSystemd(instance);
  const reply = callManager(connection, "StopUnit", "ss", [unit, "replace"]);
  if (reply.kind === "value") {
    const result = finishJob(connection, String(reply.value), `stop ${unit}`);
    if (result !== "done") throw failedJob("stop", unit, result);
  } else if (reply.name !== NO_SUCH_UNIT) {
    throw new TsrunError(`cannot stop the systemd unit "${unit}": ${reply.message}`, { code: reply.name });
  }
  // Of a unit that systemd has dropped by now it says so, which is as good.
  callManager(connection, "ResetFailedUnit", "s", [unit]);
}

/** Changes properties of a scope that lives, until it ends. `properties` gets systemd's version. */
export function setScopeProperties(
  { unit, instance }: Scope,
  properties: (version: number) => readonly UnitProperty[],
): void {
  using connection = connectSystemd(instance);
  const list = properties(versionNumber(readManager(connection, "Version")[0]!));
  if (list.length === 0) return;
  const untilItEnds = true;
  const reply = callManager(connection, "SetUnitProperties", "sba(sv)", [unit, untilItEnds, propertyList(list)]);
  if (reply.kind === "value") return;
  throw new TsrunError(`cannot change the systemd unit "${unit}": ${reply.message}`, { code: reply.name });
}

/**
 * Lets systemd move a process into a scope's cgroup, or one below it (`/inner`): it may where an unprivileged caller may
 * not, from outside of what was delegated to that user.
 */
export function attachToScope({ unit, instance }: Scope, below: string, pid: number): void {
  using connection = connectSystemd(instance);
  const reply = callManager(connection, "AttachProcessesToUnit", "ssau", [unit, below, [pid]]);
  if (reply.kind === "value") return;
  throw new TsrunError(`cannot join the systemd unit "${unit}": ${reply.message}`, { code: reply.name });
}
