import { TsrunError } from "../errors.ts";
import type { Resources } from "../spec/types.ts";

type Integer = number | bigint;
type Memory = NonNullable<Resources["memory"]>;
type Cpu = NonNullable<Resources["cpu"]>;

/**
 * linux.resources with changes: of objects each property, of lists that are about devices, page sizes or interfaces each
 * entry. What asks for nothing (0, an empty text) changes nothing; see isAsked.
 */
export function mergeResources(current: Resources, change: Resources): Resources {
  const { memory, cpu, pids, blockIO, hugepageLimits, network, rdma, unified, devices } = change;
  const merged: Record<string, unknown> = { ...current };
  const put = (name: keyof Resources, value: unknown) => {
    if (value !== undefined) merged[name] = value;
  };
  put("memory", memory && mergeMemory(current.memory ?? {}, memory));
  put("cpu", cpu && mergeObject(current.cpu ?? {}, cpu));
  put("pids", pids);
  put("blockIO", blockIO && mergeBlockIo(current.blockIO ?? {}, blockIO));
  put("hugepageLimits", hugepageLimits && mergeList(current.hugepageLimits, hugepageLimits, (each) => each.pageSize));
  put("network", network && mergeNetwork(current.network ?? {}, network));
  put("rdma", rdma && mergeNames(current.rdma, rdma));
  put("unified", unified && mergeNames(current.unified, unified));
  put("devices", devices);
  return merged as Resources;
}

/** Properties where 0 is a value like others. */
const ZERO_COUNTS: readonly string[] = ["burst", "idle", "swappiness"];

function isAsked(name: string, value: unknown): boolean {
  if (value === undefined || value === "") return false;
  const isZero = (typeof value === "number" || typeof value === "bigint") && Number(value) === 0;
  return !isZero || ZERO_COUNTS.includes(name);
}

function mergeObject<T extends object>(current: T, change: T): T {
  const asked = Object.entries(change).filter(([name, value]) => isAsked(name, value));
  return { ...current, ...Object.fromEntries(asked) } as T;
}

/** No limit of memory is none of memory and swap either, unless the change has one: as runc has it. */
function mergeMemory(current: Memory, change: Memory): Memory {
  const merged = mergeObject(current, change);
  if (Number(change.limit) !== -1 || isAsked("swap", change.swap)) return merged;
  const { swap: _, ...rest } = merged;
  return rest;
}

function mergeBlockIo(
  current: NonNullable<Resources["blockIO"]>,
  change: NonNullable<Resources["blockIO"]>,
): NonNullable<Resources["blockIO"]> {
  const merged: Record<string, unknown> = mergeObject(current, change);
  const lists = [
    "weightDevice",
    "throttleReadBpsDevice",
    "throttleWriteBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteIOPSDevice",
  ] as const;
  for (const name of lists) {
    const list = change[name];
    const key = ({ major, minor }: { major: number; minor: number }) => `${major}:${minor}`;
    if (list !== undefined) merged[name] = mergeList(current[name], list, key);
  }
  return merged as NonNullable<Resources["blockIO"]>;
}

function mergeNetwork(
  current: NonNullable<Resources["network"]>,
  change: NonNullable<Resources["network"]>,
): NonNullable<Resources["network"]> {
  const { priorities } = change;
  const merged = mergeObject(current, change);
  return priorities === undefined
    ? merged
    : { ...merged, priorities: mergeList(current.priorities, priorities, ({ name }) => name) };
}

function mergeList<T>(current: readonly T[] | undefined, change: readonly T[], key: (entry: T) => string): T[] {
  const merged = new Map((current ?? []).map((entry) => [key(entry), entry]));
  for (const entry of change) merged.set(key(entry), entry);
  return [...merged.values()];
}

/** Names are the container's: they become keys by definition only, so that none of them is taken for JavaScript's own. */
function mergeNames<T>(current: Readonly<Record<string, T>> | undefined, change: Readonly<Record<string, T>>) {
  const merged = new Map([...Object.entries(current ?? {}), ...Object.entries(change)]);
  return Object.fromEntries(merged);
}

/**
 * The part of the merged resources that has to be written for a change: what it names, and what the kernel or a formula
 * judges together with that (memory and swap, quota and period, shares and idle).
 * Throws for limits that contradict each other.
 */
export function resourcesToWrite(merged: Resources, change: Resources): Resources {
  checkSwap(merged.memory ?? {});
  return {
    ...change,
    ...(change.memory === undefined ? {} : { memory: memoryToWrite(change.memory, merged.memory ?? {}) }),
    ...(change.cpu === undefined ? {} : { cpu: cpuToWrite(change.cpu, merged.cpu ?? {}) }),
  };
}

type Rules = NonNullable<Resources["devices"]>;

/** Whether two lists of device rules say the same, rule by rule. */
export function sameRules(some: Rules, others: Rules): boolean {
  return JSON.stringify(some.map(ruleParts)) === JSON.stringify(others.map(ruleParts));
}

/** With what stands for the absence of each. */
function ruleParts({ allow, type, major, minor, access }: Rules[number]): unknown[] {
  return [allow, type || "a", major ?? -1, minor ?? -1, access || "rwm"];
}

function memoryToWrite(change: Memory, merged: Memory): Memory {
  if (!isAsked("limit", change.limit) && !isAsked("swap", change.swap)) return change;
  return { ...change, ...pick(merged, "limit", "swap") };
}

/** An idle cgroup has no weight: it is not touched by the way, and comes back when the cgroup is idle no more. */
function cpuToWrite(change: Cpu, merged: Cpu): Cpu {
  const asks = (...names: (keyof Cpu)[]) => names.some((name) => isAsked(name, change[name]));
  const quota = asks("quota", "period") ? pick(merged, "quota", "period") : {};
  const becomesIdle = isPositive(change.idle) && !asks("shares");
  const weight = asks("shares", "idle") ? pick(merged, "idle", ...(becomesIdle ? [] : (["shares"] as const))) : {};
  return { ...change, ...quota, ...weight };
}

function pick<T, K extends keyof T>(from: T, ...names: K[]): Partial<Pick<T, K>> {
  const picked: Partial<Pick<T, K>> = {};
  for (const name of names) if (from[name] !== undefined) picked[name] = from[name];
  return picked;
}

function isPositive(value: Integer | undefined): value is Integer {
  return value !== undefined && Number(value) > 0;
}

/** The kernel of v1 would refuse it too, but in the middle, and without a word of the other limit. */
function checkSwap({ limit, swap }: Memory): void {
  if (!isPositive(limit) || !isPositive(swap) || swap >= limit) return;
  const pointer = "/linux/resources/memory/swap";
  const message = `memory+swap limit should be >= memory limit: ${swap} < ${limit} (linux.resources.memory.swap)`;
  throw new TsrunError(message, { code: "EINVAL", pointer, hint: "change both limits with one update" });
}
