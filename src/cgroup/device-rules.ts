import { BPF_DEVCG_ACC_MKNOD, BPF_DEVCG_ACC_READ, BPF_DEVCG_ACC_WRITE } from "../abi/bpf.ts";
import { propertyOf, TsrunError } from "../errors.ts";
import type { HostFacts } from "../host/facts.ts";
import type { Resources } from "../spec/types.ts";

/** A rule as linux.resources.devices has it. */
export type DeviceRule = NonNullable<Resources["devices"]>[number];

export type DeviceType = "c" | "b";

/** Any major, or any minor number. */
export const ANY = -1;

/** BPF_DEVCG_ACC_… of abi/bpf.ts, or'ed: the kernel has the same bits for cgroup v1. */
export type DeviceAccess = number;
export const ALL_ACCESS: DeviceAccess = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;

export interface DeviceException {
  readonly type: DeviceType;
  readonly major: number;
  readonly minor: number;
  readonly access: DeviceAccess;
  /** JSON pointer of the last rule that asked for it; empty for what every container gets. */
  readonly pointer: string;
}

/**
 * What a list of rules comes to: a cgroup of v1 holds exactly this, and no more. Without `allowsByDefault`, an access is
 * granted when a single exception has its device and all of its letters; with it, an access is refused when any exception
 * has its device and one of its letters (kernel: security/device_cgroup.c).
 */
export interface DeviceModel {
  readonly allowsByDefault: boolean;
  /** In the order in which they were asked for; no device is there twice. */
  readonly exceptions: readonly DeviceException[];
}

export interface DeviceModelFindings {
  readonly model: DeviceModel;
  /** Rules that do something else than they seem to. */
  readonly warnings: readonly string[];
}

/**
 * What every container gets, whatever its rules: nodes of all devices, which are of no use without leave to open them;
 * the default devices of config-linux.md; pseudoterminals; and /dev/net/tun. runc's list: a container that runs with
 * runc finds the same.
 */
export function defaultDeviceRules(): DeviceRule[] {
  const character = (major: number, minor: number): DeviceRule => ({ allow: true, type: "c", major, minor });
  return [
    { allow: true, type: "c", access: "m" },
    { allow: true, type: "b", access: "m" },
    character(1, 3), // null
    character(1, 8), // random
    character(1, 7), // full
    character(5, 0), // tty
    character(1, 5), // zero
    character(1, 9), // urandom
    character(136, ANY), // pts/*
    character(5, 2), // ptmx
    character(10, 200), // net/tun
  ];
}

/**
 * Applies rules in their order to a cgroup that denies everything, then the default ones. The meaning is that of cgroup
 * v1, which the specification describes; runc has it on v2 too: a rule for all devices (type a) begins anew; one that
 * agrees with the default action takes back exactly the exception of the same numbers; any other one is an exception.
 * Throws when a rule cannot be told the kernel: a part of a wider exception cannot be taken back.
 */
export function deviceModel(rules: readonly DeviceRule[] | undefined): DeviceModelFindings {
  const key = JSON.stringify(rules ?? []);
  let findings = known.get(key);
  if (findings === undefined) {
    findings = findModel(rules ?? []);
    known.set(key, findings);
  }
  return findings;
}

/**
 * What rules came to. An engine has the same ones for nearly every container, and those of the containers that the build
 * has run are there when tsrun starts (kernel/warm-start.ts).
 */
const known = new Map<string, DeviceModelFindings>();

function findModel(rules: readonly DeviceRule[]): DeviceModelFindings {
  const building: Building = { allowsByDefault: false, exceptions: new Map(), warnings: [] };
  for (const [at, rule] of rules.entries()) apply(building, rule, `/linux/resources/devices/${at}`);
  for (const rule of defaultDeviceRules()) apply(building, rule, "");
  const { allowsByDefault, exceptions, warnings } = building;
  return { model: { allowsByDefault, exceptions: [...exceptions.values()] }, warnings };
}

interface Building {
  allowsByDefault: boolean;
  readonly exceptions: Map<string, DeviceException>;
  readonly warnings: string[];
}

function apply(building: Building, rule: DeviceRule, pointer: string): void {
  const { exceptions } = building;
  if (isForAll(rule)) {
    building.allowsByDefault = rule.allow;
    exceptions.clear();
    warnOfNarrow(building, rule, pointer);
    return;
  }
  const device = exceptionOf(rule, pointer);
  if (rule.allow === building.allowsByDefault) takeBack(building, device);
  else addException(exceptions, device);
}

/** Absent and empty are the same in Go, and "a". */
function isForAll({ type }: DeviceRule): boolean {
  return type === undefined || type === "" || type === "a";
}

/** The kernel does not read what follows the "a"; that grants more than a reader of the rule would think. */
function warnOfNarrow({ warnings }: Building, { allow, major, minor, access }: DeviceRule, pointer: string): void {
  const narrow = (major ?? ANY) !== ANY || (minor ?? ANY) !== ANY || accessOf(access) !== ALL_ACCESS;
  if (!narrow) return;
  const does = allow ? "allows" : "denies";
  warnings.push(
    `${propertyOf(pointer)} ${does} every access to every device: type "a" (or none) leaves major, minor and access aside`,
  );
}

function exceptionOf({ type, major, minor, access }: DeviceRule, pointer: string): DeviceException {
  return {
    type: type === "b" ? "b" : "c",
    major: major ?? ANY,
    minor: minor ?? ANY,
    access: accessOf(access),
    pointer,
  };
}

/** Letters in any order, repeated ones too; none at all is all of them. */
export function accessOf(letters: string | undefined): DeviceAccess {
  if (letters === undefined || letters === "") return ALL_ACCESS;
  let access = 0;
  if (letters.includes("r")) access |= BPF_DEVCG_ACC_READ;
  if (letters.includes("w")) access |= BPF_DEVCG_ACC_WRITE;
  if (letters.includes("m")) access |= BPF_DEVCG_ACC_MKNOD;
  return access;
}

export function lettersOf(access: DeviceAccess): string {
  const r = access & BPF_DEVCG_ACC_READ ? "r" : "";
  const w = access & BPF_DEVCG_ACC_WRITE ? "w" : "";
  const m = access & BPF_DEVCG_ACC_MKNOD ? "m" : "";
  return `${r}${w}${m}`;
}

/** `c 136:* rwm`, as devices.allow, devices.deny and devices.list have it. */
export function deviceText({ type, major, minor, access }: Omit<DeviceException, "pointer">): string {
  const number = (one: number) => (one === ANY ? "*" : String(one));
  return `${type} ${number(major)}:${number(minor)} ${lettersOf(access)}`;
}

/** What tells exceptions apart. */
export function deviceKey(type: DeviceType, major: number, minor: number): string {
  return `${type}${major}:${minor}`;
}

function addException(exceptions: Map<string, DeviceException>, device: DeviceException): void {
  const key = deviceKey(device.type, device.major, device.minor);
  const before = exceptions.get(key);
  exceptions.set(key, { ...device, access: device.access | (before?.access ?? 0) });
}

function takeBack(building: Building, device: DeviceException): void {
  const { exceptions, warnings } = building;
  for (const wider of widerKeys(device)) {
    const found = exceptions.get(wider);
    if (found !== undefined && (found.access & device.access) !== 0) throw holeInWider(building, device, found);
  }
  const key = deviceKey(device.type, device.major, device.minor);
  const before = exceptions.get(key);
  if (before !== undefined) {
    const access = before.access & ~device.access;
    if (access === 0) exceptions.delete(key);
    else exceptions.set(key, { ...before, access });
  }
  if (device.pointer !== "") warnOfKept(building.allowsByDefault, exceptions, device, warnings);
}

/** Of the exceptions that have this device among others. */
function widerKeys({ type, major, minor }: DeviceException): string[] {
  const keys: string[] = [];
  if (minor !== ANY) keys.push(deviceKey(type, major, ANY));
  if (major !== ANY) keys.push(deviceKey(type, ANY, minor));
  if (major !== ANY || minor !== ANY) keys.push(deviceKey(type, ANY, ANY));
  return keys.filter((key) => key !== deviceKey(type, major, minor));
}

function holeInWider({ allowsByDefault }: Building, device: DeviceException, wider: DeviceException): TsrunError {
  const [verb, opposite] = allowsByDefault ? ["allow", "denied"] : ["deny", "allowed"];
  const own = device.pointer === "";
  const pointer = own ? wider.pointer : device.pointer;
  const by = wider.pointer === "" ? "for every container" : `by ${propertyOf(wider.pointer)}`;
  const what = own ? `device "${deviceText(device)}", which every container gets` : `device "${deviceText(device)}"`;
  const where = own ? "" : ` (${propertyOf(pointer)})`;
  return new TsrunError(`cannot ${verb} ${what}: "${deviceText(wider)}" is ${opposite} as a whole ${by}${where}`, {
    code: "EINVALIDCONFIG",
    pointer,
    hint: "a cgroup takes back only what was listed by the same numbers: list the devices one by one instead of the wider rule",
  });
}

/** The kernel takes back exact matches only, and says nothing. */
function warnOfKept(
  allowsByDefault: boolean,
  exceptions: ReadonlyMap<string, DeviceException>,
  device: DeviceException,
  warnings: string[],
): void {
  if (device.major !== ANY && device.minor !== ANY) return;
  for (const kept of exceptions.values()) {
    if ((kept.access & device.access) === 0 || !covers(device, kept)) continue;
    const state = allowsByDefault ? "denied" : "allowed";
    const text = deviceText({ ...kept, access: kept.access & device.access });
    warnings.push(
      `${propertyOf(device.pointer)} does not take back the narrower rule ${propertyOf(kept.pointer)}: "${text}" stays ${state}`,
    );
  }
}

/** True when every device of `narrow` is one of `wide`. */
export function covers(wide: DeviceException, narrow: DeviceException): boolean {
  return (
    wide.type === narrow.type &&
    (wide.major === ANY || wide.major === narrow.major) &&
    (wide.minor === ANY || wide.minor === narrow.minor)
  );
}

/** True when nothing is denied: a program or list for it would change nothing. */
export function allowsEverything({ allowsByDefault, exceptions }: DeviceModel): boolean {
  return allowsByDefault && exceptions.length === 0;
}

/** CAP_SYS_ADMIN is what the kernel wants of v1's writers; loading programs takes it, or CAP_BPF and CAP_NET_ADMIN. */
export function canRestrictDevices({ inUserNamespace, effectiveCapabilities }: HostFacts): boolean {
  const CAP_SYS_ADMIN = 21n;
  return !inUserNamespace && ((effectiveCapabilities >> CAP_SYS_ADMIN) & 1n) === 1n;
}
