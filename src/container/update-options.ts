import type { OptionValues } from "../cli/options.ts";
import { TsrunError } from "../errors.ts";
import type { Resources } from "../spec/types.ts";

export type UpdateOptions = Omit<OptionValues<"update">, "replaceDevices">;
type Integer = number | bigint;

/**
 * The options of update in the form of linux.resources. 0 and an empty text ask for nothing, as with runc; except for
 * --pids-limit and --cpu-idle.
 */
export function resourcesOfOptions(options: UpdateOptions): Resources {
  if (!hasFlags(options)) return {};
  checkIntelRdt(options);
  const size = (name: SizeOption) => (options[name] ? nonZero(readSize(`--${kebab(name)}`, options[name])) : undefined);
  const count = (name: CountOption, least: bigint) =>
    options[name] ? nonZero(readInteger(`--${kebab(name)}`, options[name], least)) : undefined;
  const limit = readInteger("--pids-limit", options.pidsLimit, -1n);
  const resources = compact({
    memory: compact({
      limit: size("memory"),
      reservation: size("memoryReservation"),
      swap: size("memorySwap"),
      kernel: size("kernelMemory"),
      kernelTCP: size("kernelMemoryTcp"),
    }),
    cpu: compact({
      shares: count("cpuShare", 0n),
      quota: count("cpuQuota", INT64_MIN),
      burst: readInteger("--cpu-burst", options.cpuBurst, 0n),
      period: count("cpuPeriod", 0n),
      realtimeRuntime: count("cpuRtRuntime", INT64_MIN),
      realtimePeriod: count("cpuRtPeriod", 0n),
      cpus: options.cpusetCpus || undefined,
      mems: options.cpusetMems || undefined,
      idle: options.cpuIdle,
    }),
    blockIO: compact({ weight: options.blkioWeight || undefined }),
    pids: limit === undefined ? undefined : { limit },
  });
  return (resources ?? {}) as Resources;
}

/** Engines give all of it in a file. */
function hasFlags(options: UpdateOptions): boolean {
  for (const name in options) {
    const isFlag = name !== "resources" && name !== "replaceDevices";
    if (isFlag && options[name as keyof UpdateOptions] !== undefined) return true;
  }
  return false;
}

type SizeOption = "memory" | "memoryReservation" | "memorySwap" | "kernelMemory" | "kernelMemoryTcp";
type CountOption = "cpuShare" | "cpuQuota" | "cpuPeriod" | "cpuRtRuntime" | "cpuRtPeriod";

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

/** `memorySwap` → `memory-swap`. */
function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** A schema that had no effect would be worse than none: others would take the cache that this container has to leave. */
function checkIntelRdt({ l3CacheSchema, memBwSchema }: UpdateOptions): void {
  const given = l3CacheSchema ? "--l3-cache-schema" : memBwSchema ? "--mem-bw-schema" : undefined;
  if (given === undefined) return;
  throw new TsrunError(`cannot set an Intel RDT schema: this version of tsrun does not set any (${given})`, {
    code: "ENOTSUP",
    hint: "write it to the schemata file of the container's group in /sys/fs/resctrl",
  });
}

/** Bytes, or a number with a unit as docker and runc read it: powers of 1024, 1.5g, 512MiB. -1 is no limit. */
export function readSize(option: string, text: string | undefined): Integer | undefined {
  if (text === undefined || text === "") return undefined;
  if (text === "-1") return -1;
  const match = /^(\d{1,19})(\.\d{1,9})? ?(?:([kmgtp])i?b?|b)?$/i.exec(text);
  if (match !== null) {
    const [, whole = "", fraction, unit = ""] = match;
    const factor = 1024n ** BigInt(" kmgtp".indexOf(unit.toLowerCase() || " "));
    const part = fraction === undefined ? 0n : BigInt(Math.floor(Number(`0${fraction}`) * Number(factor)));
    const bytes = BigInt(whole) * factor + part;
    if (bytes <= INT64_MAX) return exact(bytes);
  }
  throw wrongValue(option, text, "a size: bytes, or a number with a unit such as 512m or 2GiB; -1 is no limit");
}

/** A decimal integer from `least` to 2^63 - 1. */
export function readInteger(option: string, text: string | undefined, least: bigint): Integer | undefined {
  if (text === undefined || text === "") return undefined;
  if (/^-?\d{1,19}$/.test(text)) {
    const value = BigInt(text);
    if (value >= least && value <= INT64_MAX) return exact(value);
  }
  throw wrongValue(option, text, `a whole number from ${least} to ${INT64_MAX}`);
}

function wrongValue(option: string, text: string, expected: string): TsrunError {
  return new TsrunError(`option "${option}": ${JSON.stringify(text)} is not ${expected}`, {
    code: "EUSAGE",
    hint: "see 'tsrun update --help'",
  });
}

function exact(value: bigint): Integer {
  return value > BigInt(Number.MAX_SAFE_INTEGER) || value < -BigInt(Number.MAX_SAFE_INTEGER) ? value : Number(value);
}

function nonZero(value: Integer | undefined): Integer | undefined {
  return value === undefined || Number(value) === 0 ? undefined : value;
}

/** Without what is not there; undefined when nothing is. */
function compact<T extends object>(properties: T): T | undefined {
  const present = Object.entries(properties).filter(([, value]) => value !== undefined);
  return present.length === 0 ? undefined : (Object.fromEntries(present) as T);
}
