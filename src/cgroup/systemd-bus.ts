import { AT_FDCWD } from "../abi/fcntl.ts";
import { errorMessage, TsrunError } from "../errors.ts";
import { nanoseconds } from "../kernel/clock.ts";
import { sys } from "../kernel/kernel.ts";
import {
  type Bus,
  type BusSignal,
  type Call,
  closeBus,
  connectBus,
  type Reply,
  sendCall,
  takeReply,
  takeSignal,
} from "../kernel/sd-bus.ts";
import { variable } from "../kernel/warm-start.ts";
import { utf8 } from "../text.ts";

/** org.freedesktop.systemd1(5) */
const SYSTEMD = "org.freedesktop.systemd1";
const OBJECT = "/org/freedesktop/systemd1";
const MANAGER = "org.freedesktop.systemd1.Manager";

/** How long systemd may take for one thing: a hanging bus must not make an engine hang (runc#3464: 10 minutes). */
const PATIENCE_S = 10;

/** Which systemd: that of the machine, or that of the user who calls. */
export type Instance = "system" | "user";

interface Socket {
  readonly address: string;
  /** A D-Bus daemon stands between; without one systemd itself listens. */
  readonly isBus: boolean;
  readonly path?: string | undefined;
}

/** A connection to a systemd; `using` closes it. */
export interface SystemdBus extends Disposable {
  readonly bus: Bus;
  readonly instance: Instance;
}

/**
 * Connects to systemd. What the caller's environment names comes first; then systemd's own socket, which needs no daemon
 * in between; then the bus. The first that somebody listens on is taken.
 */
export function connectSystemd(instance: Instance): SystemdBus {
  const sockets = (instance === "system" ? systemSockets() : userSockets()).filter(isThere);
  if (sockets.length === 0) throw notRunning(instance);
  let failure: unknown;
  for (const { address, isBus } of sockets) {
    try {
      const bus = connectBus(address, isBus, [{ interface: MANAGER, member: "JobRemoved", signature: "uoss" }]);
      if (isBus) listenToJobs(bus);
      return { bus, instance, [Symbol.dispose]: () => closeBus(bus) };
    } catch (error) {
      failure = error;
    }
  }
  throw new TsrunError(`cannot ask systemd for a cgroup: ${errorMessage(failure)}`, {
    code: failure instanceof TsrunError ? failure.details.code : undefined,
    step: "sd_bus_start",
    hint: failure instanceof TsrunError && failure.details.step === "dlopen" ? failure.details.hint : HINT,
  });
}

const HINT = "is systemd running, and its socket to be reached from here? without systemd use the cgroupfs driver";

function systemSockets(): Socket[] {
  const given = variable("DBUS_SYSTEM_BUS_ADDRESS") ?? "";
  if (given !== "") return [{ address: given, isBus: true }];
  return [unixSocket("/run/systemd/private", false), unixSocket("/run/dbus/system_bus_socket", true)];
}

function userSockets(): Socket[] {
  const given = variable("DBUS_SESSION_BUS_ADDRESS") ?? "";
  const named = given === "" ? [] : [{ address: given, isBus: true }];
  const directory = variable("XDG_RUNTIME_DIR") ?? "";
  const runtime = directory === "" ? `/run/user/${sys("geteuid")}` : directory;
  return [...named, unixSocket(`${runtime}/systemd/private`, false), unixSocket(`${runtime}/bus`, true)];
}

/** D-Bus Specification, "Server Addresses": what is not a plain character is escaped. */
function unixSocket(path: string, isBus: boolean): Socket {
  const escaped = encodeURI(path).replace(/[^-0-9A-Za-z_/.\\%]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
  return { address: `unix:path=${escaped}`, isBus, path };
}

function isThere({ path }: Socket): boolean {
  return path === undefined || sys("faccessat2", AT_FDCWD, path, 0, 0) === 0;
}

function notRunning(instance: Instance): TsrunError {
  const sockets = instance === "system" ? systemSockets() : userSockets();
  const places = sockets.map(({ path, address }) => path ?? address).join(" and ");
  const whose = instance === "system" ? "systemd is not running" : "the user's systemd is not running";
  const user =
    "a user's systemd comes with a login session, or with loginctl enable-linger; XDG_RUNTIME_DIR names its directory";
  return new TsrunError(`cannot ask systemd for a cgroup: ${whose}, or its D-Bus socket is not here: no ${places}`, {
    code: "ENOENT",
    step: "sd_bus_start",
    hint: instance === "system" ? HINT : `${user}; without systemd use the cgroupfs driver`,
  });
}

/** A daemon passes on only what it is asked for; systemd itself tells its direct callers all that concerns jobs. */
function listenToJobs(bus: Bus): void {
  const rule = `type='signal',sender='${SYSTEMD}',path='${OBJECT}',interface='${MANAGER}',member='JobRemoved'`;
  const daemon = "org.freedesktop.DBus";
  sendCall(bus, {
    destination: daemon,
    path: "/org/freedesktop/DBus",
    interface: daemon,
    member: "AddMatch",
    signature: "s",
    values: [rule],
  });
  sendCall(bus, managerCall("Subscribe", "", []));
}

function managerCall(member: string, signature: string, values: Call["values"]): Call {
  return { destination: SYSTEMD, path: OBJECT, interface: MANAGER, member, signature, values };
}

/** A call that is on its way; `finishCall` waits for its reply. */
export interface PendingCall {
  readonly member: string;
  readonly cookie: bigint;
}

/** Sends a call of the manager (org.freedesktop.systemd1(5), "The Manager Object"). */
export function beginCall({ bus }: SystemdBus, member: string, signature: string, values: Call["values"]): PendingCall {
  return { member, cookie: sendCall(bus, managerCall(member, signature, values)) };
}

/** The reply; an error is systemd's own. Throws when there is none in time, or no connection any more. */
export function finishCall({ bus }: SystemdBus, { member, cookie }: PendingCall): Reply {
  const reply = takeReply(bus, cookie, deadline());
  if (reply === undefined) throw tooLate(member);
  return reply;
}

export function callManager(to: SystemdBus, member: string, signature: string, values: Call["values"]): Reply {
  return finishCall(to, beginCall(to, member, signature, values));
}

/** Properties of the manager that are strings, all asked for at once. */
export function readManager(to: SystemdBus, ...names: readonly string[]): string[] {
  return readProperties(to, OBJECT, MANAGER, names);
}

/** The same of a scope: `ControlGroup`; the interface of all units has others, see org.freedesktop.systemd1(5). */
export function readScope(to: SystemdBus, unit: string, ...names: readonly string[]): string[] {
  const label = [...utf8(unit)].map((byte, i) => labelPart(byte, i === 0)).join("");
  return readProperties(to, `${OBJECT}/unit/${label}`, `${SYSTEMD}.Scope`, names);
}

/** Letters, and digits but for the first, stand for themselves (sd_bus_path_encode(3)). */
function labelPart(byte: number, isFirst: boolean): string {
  const character = String.fromCharCode(byte);
  const isPlain = isFirst ? /[A-Za-z]/.test(character) : /[A-Za-z0-9]/.test(character);
  return isPlain ? character : `_${byte.toString(16).padStart(2, "0")}`;
}

function readProperties({ bus }: SystemdBus, path: string, name: string, names: readonly string[]): string[] {
  const cookies = names.map((each) =>
    sendCall(bus, {
      destination: SYSTEMD,
      path,
      interface: "org.freedesktop.DBus.Properties",
      member: "Get",
      signature: "ss",
      values: [name, each],
    }),
  );
  return cookies.map((cookie, i) => {
    const reply = takeReply(bus, cookie, deadline());
    if (reply === undefined) throw tooLate(names[i]!);
    if (reply.kind === "value") return String(reply.value ?? "");
    throw new TsrunError(`cannot ask systemd for ${names[i]}: ${reply.message}`, { code: reply.name, hint: HINT });
  });
}

/** Waits until a job has ended. Returns its result: `done`, `failed`, `timeout` … (systemctl(1)). */
export function finishJob({ bus }: SystemdBus, job: string, doing: string): string {
  // id, job, unit, result
  const removed = takeSignal(bus, ({ values }: BusSignal) => values[1] === job, deadline());
  if (removed === undefined) throw tooLate(`a job that is to ${doing}`);
  return String(removed.values[3]);
}

function deadline(): number {
  return nanoseconds() + PATIENCE_S * 1e9;
}

function tooLate(thing: string): TsrunError {
  return new TsrunError(`cannot go on: systemd has not answered within ${PATIENCE_S} s (${thing})`, {
    code: "ETIMEDOUT",
    hint: "it, or its D-Bus, hangs or is overloaded: systemctl list-jobs may tell; the cgroupfs driver does without it",
  });
}
