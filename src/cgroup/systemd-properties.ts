import type { BusData } from "../abi/dbus.ts";
import { cpuSet } from "../plan/cpu-list.ts";
import type { DeviceModel } from "./device-rules.ts";
import { systemdDeviceAllow } from "./device-systemd.ts";
import type { ResourceFile } from "./resources.ts";
import { INFINITY, property, type UnitProperty } from "./unit-property.ts";

/** What of a resource file its property is made from. */
type File = Pick<ResourceFile, "file" | "value" | "otherwise">;

/**
 * What systemd has to know of the files of linux.resources, because it writes some of them again whenever it is told to
 * reload. Made from the same list that is written to the cgroup afterwards, `unified` included, so that there is one place
 * where values are computed. What systemd has no property for, or what its range does not hold, is left to the file: then
 * the kernel judges it. `version` is systemd's: a property that is not known makes it refuse the whole unit.
 */
export function resourceProperties(files: readonly File[], version: number): UnitProperty[] {
  const properties = new Map<string, UnitProperty>();
  const blockLimits = new Map<string, BusData[]>();
  for (const file of files) {
    for (const each of propertiesOf(file, version)) properties.set(each.name, each);
    for (const [name, entry] of blockLimitsOf(file)) blockLimits.set(name, [...(blockLimits.get(name) ?? []), entry]);
  }
  for (const each of quotaProperties(files, version)) properties.set(each.name, each);
  for (const [name, entries] of blockLimits) properties.set(name, property(name, "a(st)", entries));
  return [...properties.values()];
}

/** An amount that is a property as it stands. */
interface Amount {
  readonly name: string;
  readonly least: number;
  readonly most?: number;
  /** The first systemd that has it for scopes; absent for all in use (236 and later). */
  readonly since?: number;
}

function amountOf(file: string): Amount | undefined {
  switch (file) {
    case "memory.max":
      return { name: "MemoryMax", least: 1 };
    case "memory.high":
      return { name: "MemoryHigh", least: 1 };
    case "memory.low":
      return { name: "MemoryLow", least: 0 };
    case "memory.min":
      return { name: "MemoryMin", least: 0, since: 240 };
    case "memory.swap.max":
      return { name: "MemorySwapMax", least: 0 };
    case "memory.zswap.max":
      return { name: "MemoryZSwapMax", least: 0, since: 253 };
    case "memory.limit_in_bytes":
      return { name: "MemoryLimit", least: 1 };
    case "cpu.weight":
      return { name: "CPUWeight", least: 1, most: 10_000 };
    case "cpu.shares":
      return { name: "CPUShares", least: 2, most: 262_144 };
    case "io.weight":
      return { name: "IOWeight", least: 1, most: 10_000 };
    case "blkio.weight":
      return { name: "BlockIOWeight", least: 10, most: 1000 };
    case "pids.max":
      return { name: "TasksMax", least: 1 };
    default:
      return undefined;
  }
}

function propertiesOf({ file, value, otherwise }: File, version: number): UnitProperty[] {
  if (otherwise?.file === "io.weight") return propertiesOf(otherwise, version);
  if (file === "cpuset.cpus" || file === "cpuset.mems") return cpusetProperty(file, value, version);
  // Weight 0 stands for what the kernel calls idle.
  if (file === "cpu.idle") return value === "1" && version >= 252 ? [property("CPUWeight", "t", 0n)] : [];
  if (file === "memory.oom.group") return oomPolicy(value, version);
  const amount = amountOf(file);
  const bytes = amountIn(value.replace(/^default /, ""));
  if (amount === undefined || bytes === undefined || version < (amount.since ?? 0)) return [];
  // The scope has two tasks while the container is made, the agent and its child; the file gets the real number then.
  const fitting = file === "pids.max" && bytes < 2n ? 2n : bytes;
  if (fitting < amount.least || (amount.most !== undefined && fitting > amount.most)) return [];
  return [property(amount.name, "t", fitting)];
}

/** Digits; `max` and -1 are no limit. Undefined for anything else. */
function amountIn(text: string): bigint | undefined {
  if (text === "max" || text === "-1") return INFINITY;
  return /^[0-9]{1,19}$/.test(text) ? BigInt(text) : undefined;
}

/** Only for cgroup v2: systemd leaves v1's cpuset alone, and takes the property without a word. */
function cpusetProperty(file: string, list: string, version: number): UnitProperty[] {
  if (version < 244) return [];
  try {
    return [property(file === "cpuset.cpus" ? "AllowedCPUs" : "AllowedMemoryNodes", "ay", [...cpuSet(list)])];
  } catch {
    // The kernel knows more forms, and says what is wrong with one that it does not know.
    return [];
  }
}

function oomPolicy(value: string, version: number): UnitProperty[] {
  if (version < 253 || (value !== "0" && value !== "1")) return [];
  return [property("OOMPolicy", "s", value === "1" ? "kill" : "continue")];
}

const DEFAULT_PERIOD = 100_000n;
/** systemd counts in whole percents of a processor. */
const PERCENT = 10_000n;

/** v2 has quota and period in one file, v1 in two. The last of each counts, as it does for the kernel. */
function quotaProperties(files: readonly File[], version: number): UnitProperty[] {
  let quota: bigint | undefined;
  let period: bigint | undefined;
  for (const { file, value } of files) {
    const [first = "", second] = value.split(" ");
    if (file === "cpu.max" || file === "cpu.cfs_quota_us") quota = amountIn(first) ?? quota;
    if (file === "cpu.max" && second !== undefined) period = amountIn(second) ?? period;
    if (file === "cpu.cfs_period_us") period = amountIn(first) ?? period;
  }
  if (period === 0n || quota === 0n || period === INFINITY) return [];
  const properties: UnitProperty[] = [];
  if (period !== undefined && version >= 242) properties.push(property("CPUQuotaPeriodUSec", "t", period));
  if (quota !== undefined) {
    properties.push(property("CPUQuotaPerSecUSec", "t", quotaPerSecond(quota, period ?? DEFAULT_PERIOD)));
  }
  return properties;
}

/** Rounded up to a percent: rounded down, systemd would take from the container what the file gives it. */
function quotaPerSecond(quota: bigint, period: bigint): bigint {
  if (quota === INFINITY) return INFINITY;
  const perSecond = (quota * 1_000_000n) / period;
  return ((perSecond + PERCENT - 1n) / PERCENT) * PERCENT;
}

/** Entries of properties that are lists of device and number: the device by the path that udev gives its numbers. */
function blockLimitsOf({ file, value, otherwise }: File): [name: string, entry: BusData][] {
  if (otherwise?.file === "io.weight") return blockLimitsOf(otherwise);
  const match = /^([0-9]+:[0-9]+) (.+)$/.exec(value);
  if (match === null) return [];
  const device = `/dev/block/${match[1]}`;
  const settings = file === "io.max" ? match[2]!.split(" ") : [match[2]!];
  const entries: [string, BusData][] = [];
  for (const setting of settings) {
    const [key, text] = file === "io.max" ? splitSetting(setting) : [file, setting];
    const name = blockLimitName(key);
    const amount = amountIn(text);
    if (name !== undefined && amount !== undefined && amount > 0n) entries.push([name, [device, amount]]);
  }
  return entries;
}

function splitSetting(setting: string): [key: string, value: string] {
  const [key = "", value = ""] = setting.split("=");
  return [key, value];
}

/** By the file, or by the key in io.max. */
function blockLimitName(key: string): string | undefined {
  switch (key) {
    case "io.weight":
      return "IODeviceWeight";
    case "rbps":
      return "IOReadBandwidthMax";
    case "wbps":
      return "IOWriteBandwidthMax";
    case "riops":
      return "IOReadIOPSMax";
    case "wiops":
      return "IOWriteIOPSMax";
    case "blkio.weight_device":
      return "BlockIODeviceWeight";
    case "blkio.throttle.read_bps_device":
      return "BlockIOReadBandwidth";
    case "blkio.throttle.write_bps_device":
      return "BlockIOWriteBandwidth";
    default:
      return undefined;
  }
}

/**
 * Device rules, on cgroup v1 only: without them a reload would allow every device there. On v2 systemd, as long as it has
 * no rules of its own, leaves alone what others attach; with some it would add them to tsrun's at a reload, and refuse
 * what it has no words for (a GPU whose driver is not in /proc/devices: runc#3708).
 */
export function deviceProperties(model: DeviceModel, version: number): UnitProperty[] {
  const { DevicePolicy, DeviceAllow } = systemdDeviceAllow(model);
  // Before 240 a major number is no name of a group, and one wrong name makes systemd refuse the unit.
  const known = version >= 240 ? DeviceAllow : DeviceAllow.filter(([name]) => !/^(char|block)-[0-9]/.test(name));
  return [property("DevicePolicy", "s", DevicePolicy), property("DeviceAllow", "a(ss)", known)];
}

/**
 * What makes the unit a container's: a place of its own, accounting whatever its limits, what is below its cgroup left to
 * the container (Delegate), no order among the machine's services, and gone when it has ended, also when it has failed.
 */
export function scopeProperties(id: string, slice: string, isUnified: boolean, version: number): UnitProperty[] {
  const yes = ["Delegate", "MemoryAccounting", "CPUAccounting", "TasksAccounting"];
  return [
    property("Description", "s", `tsrun container ${id}`),
    property("Slice", "s", slice),
    ...[...yes, isUnified ? "IOAccounting" : "BlockIOAccounting"].map((name) => property(name, "b", true)),
    property("DefaultDependencies", "b", false),
    ...(version >= 236 ? [property("CollectMode", "s", "inactive-or-failed")] : []),
  ];
}
