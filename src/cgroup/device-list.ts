import {
  ANY,
  accessOf,
  type DeviceException,
  type DeviceModel,
  type DeviceType,
  deviceKey,
  deviceText,
} from "./device-rules.ts";

/** One write(2) to a cgroup of v1. */
export interface DeviceWrite {
  readonly file: "devices.allow" | "devices.deny";
  readonly text: string;
  /** The rule that asks for it; undefined for the change of the default action. */
  readonly exception?: DeviceException | undefined;
}

/**
 * What devices.list of a v1 cgroup says. Exceptions of a cgroup that allows by default are missing: the kernel shows
 * `a *:* rwm` and nothing else.
 */
export function parseDeviceList(text: string): DeviceModel {
  const exceptions: DeviceException[] = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("a ")) return { allowsByDefault: true, exceptions: [] };
    const [, type, major, minor, letters] = /^([bc]) (\d+|\*):(\d+|\*) ([rwm]+)$/.exec(line) ?? [];
    if (letters === undefined) continue;
    const number = (digits: string | undefined) => (digits === "*" ? ANY : Number(digits));
    const access = accessOf(letters);
    exceptions.push({ type: type as DeviceType, major: number(major), minor: number(minor), access, pointer: "" });
  }
  return { allowsByDefault: false, exceptions };
}

/**
 * The writes that lead a cgroup from one state to another, in order. At no time is anything allowed that is allowed
 * neither before nor after, but for one case, see `opensMeanwhile`. What two lists of allowed devices both allow stays
 * allowed, so that a running container does not notice; but for letters that only together, of several exceptions, do.
 *
 * From one that allows by default to another, only what is known to be there is taken back: the kernel does not tell, and
 * what the cgroups above deny cannot be taken back anyhow.
 */
export function deviceWrites(current: DeviceModel, target: DeviceModel): DeviceWrite[] {
  const [add, takeBack] = target.allowsByDefault
    ? (["devices.deny", "devices.allow"] as const)
    : (["devices.allow", "devices.deny"] as const);
  const write =
    (file: DeviceWrite["file"]) =>
    (exception: DeviceException): DeviceWrite => ({ file, text: deviceText(exception), exception });
  if (current.allowsByDefault !== target.allowsByDefault) {
    return [
      { file: target.allowsByDefault ? "devices.allow" : "devices.deny", text: "a" },
      ...target.exceptions.map(write(add)),
    ];
  }
  const gained = difference(target.exceptions, current.exceptions);
  const lost = difference(current.exceptions, target.exceptions);
  // Of what gains and loses, the kernel must not have both for a moment.
  const changed = both(lost, gained);
  const isChanged = ({ type, major, minor }: DeviceException) => changed.has(deviceKey(type, major, minor));
  return [
    ...gained.filter((one) => !isChanged(one)).map(write(add)),
    ...lost.filter(isChanged).map(write(takeBack)),
    ...gained.filter(isChanged).map(write(add)),
    ...lost.filter((one) => !isChanged(one)).map(write(takeBack)),
  ];
}

function both(some: readonly DeviceException[], others: readonly DeviceException[]): Set<string> {
  const keys = new Set(some.map(({ type, major, minor }) => deviceKey(type, major, minor)));
  const found = new Set<string>();
  for (const { type, major, minor } of others) {
    const key = deviceKey(type, major, minor);
    if (keys.has(key)) found.add(key);
  }
  return found;
}

/** The letters of each exception that the same one of `without` does not have. */
function difference(exceptions: readonly DeviceException[], without: readonly DeviceException[]): DeviceException[] {
  if (without.length === 0) return [...exceptions];
  const accesses = new Map<string, number>();
  for (const { type, major, minor, access } of without) accesses.set(deviceKey(type, major, minor), access);
  const rest: DeviceException[] = [];
  for (const one of exceptions) {
    const access = one.access & ~(accesses.get(deviceKey(one.type, one.major, one.minor)) ?? 0);
    if (access !== 0) rest.push({ ...one, access });
  }
  return rest;
}

/**
 * True when everything is allowed for a moment on the way: the only way from a list of what is allowed to one of what is
 * denied is to allow all. Fit for a container that does not run yet, or is frozen.
 */
export function opensMeanwhile(current: DeviceModel, target: DeviceModel): boolean {
  return !current.allowsByDefault && target.allowsByDefault && target.exceptions.length > 0;
}
