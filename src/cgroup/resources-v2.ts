import { pointerPart, TsrunError } from "../errors.ts";
import type { Resources } from "../spec/types.ts";
import type { ResourceFile, ResourceFiles, ResourceWriter } from "./resources.ts";
import { adder, cpusetFiles, isSet, pidsFiles, rdmaFiles } from "./resources-v1.ts";

/** cgroup v2: https://docs.kernel.org/admin-guide/cgroup-v2.html; v1's values by the formulas that runtimes share. */
export const RESOURCES_V2: ResourceWriter = {
  memory: memoryFiles,
  cpu: cpuFiles,
  cpuset: cpusetFiles,
  pids: pidsFiles,
  blkio: ioFiles,
  hugetlb: hugetlbFiles,
  rdma: rdmaFiles,
  network: networkFiles,
};

type Memory = NonNullable<Resources["memory"]>;
type Integer = number | bigint;

/** Swap first: when memory shrinks, what does not fit any more can go where room has been made for it. */
function memoryFiles(memory: Memory, to: ResourceFiles): void {
  const { limit, reservation } = memory;
  const add = adder(to, "memory", "memory");
  const swap = swapMax(memory);
  // A kernel without swap has no such file, and nothing to limit.
  const optional = swap === "max" || swap === "0";
  if (swap !== undefined) add(isSet(memory.swap) ? "swap" : "limit", "swap.max", swap, { optional });
  if (isSet(limit)) add("limit", "max", orMax(limit));
  if (isSet(reservation)) add("reservation", "low", orMax(reservation));
  const useless: [name: string, isThere: boolean][] = [
    ["kernel", isSet(memory.kernel)],
    ["kernelTCP", isSet(memory.kernelTCP)],
    ["swappiness", memory.swappiness !== undefined],
    ["disableOOMKiller", memory.disableOOMKiller === true],
    ["useHierarchy", memory.useHierarchy !== undefined],
  ];
  for (const [name, isThere] of useless) if (isThere) to.warnings.push(noEffect(`memory.${name}`));
}

function noEffect(name: string): string {
  return `linux.resources.${name} has no effect: cgroup v2 has nothing like it`;
}

function orMax(value: Integer): string {
  return Number(value) < 0 ? "max" : String(value);
}

/**
 * The value of memory.swap.max, which counts swap alone, where `swap` is memory and swap together. No limit of memory is
 * none of swap either, unless there is one.
 */
export function swapMax({ limit = 0, swap = 0 }: Memory): string | undefined {
  if (Number(limit) === -1 && Number(swap) === 0) return "max";
  if (Number(swap) === 0) return undefined;
  if (Number(swap) === -1) return "max";
  if (Number(limit) === -1) return String(swap);
  if (Number(limit) === 0) throw wrongSwap("unable to set swap limit without memory limit");
  if (swap < limit) throw wrongSwap("memory+swap limit should be >= memory limit");
  return String(BigInt(swap) - BigInt(limit));
}

function wrongSwap(message: string): TsrunError {
  return new TsrunError(`${message} (linux.resources.memory.swap)`, {
    code: "EINVAL",
    pointer: "/linux/resources/memory/swap",
  });
}

function cpuFiles(cpu: NonNullable<Resources["cpu"]>, to: ResourceFiles): void {
  const add = adder(to, "cpu", "cpu");
  const { shares, quota, period, burst, idle } = cpu;
  // The kernel refuses a weight for what is idle.
  if (idle !== undefined) add("idle", "idle", String(idle));
  if (isSet(shares)) {
    if (isSet(idle))
      to.warnings.push("linux.resources.cpu.shares has no effect: linux.resources.cpu.idle leaves no weight");
    else add("shares", "weight", String(cpuWeight(shares)));
  }
  const max = cpuMax(quota, period);
  if (burst !== undefined) add("burst", "max.burst", String(burst), { early: max !== undefined });
  if (max !== undefined) {
    add(isSet(quota) ? "quota" : "period", "max", max);
    if (burst !== undefined) add("burst", "max.burst", String(burst));
  }
  for (const name of ["realtimePeriod", "realtimeRuntime"] as const) {
    if (isSet(cpu[name])) to.warnings.push(noEffect(`cpu.${name}`));
  }
}

/** The period stays what it is where only a quota is given. */
export function cpuMax(quota: Integer | undefined, period: Integer | undefined): string | undefined {
  const hasPeriod = isSet(period);
  if (!isSet(quota) && !hasPeriod) return undefined;
  const max = isSet(quota) ? orMax(quota) : "max";
  return hasPeriod ? `${max} ${period}` : max;
}

/**
 * v1's shares, 2 to 262,144, as v2's weight, 1 to 10,000. A straight line would make 39 of the default, 1,024; this curve
 * goes through both ends and from default to default (100). In use since 2025: opencontainers/cgroups#20, crun#1721.
 */
export function cpuWeight(shares: Integer): number {
  const bounded = Math.min(Math.max(Number(shares), 2), 262_144);
  if (bounded === 2) return 1;
  if (bounded === 262_144) return 10_000;
  const log = Math.log2(bounded);
  return Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34));
}

/** The BFQ scheduler has weights of its own, of v1's range; io.weight has another one, and works with any scheduler. */
function ioFiles(blockIO: NonNullable<Resources["blockIO"]>, to: ResourceFiles): void {
  const add = adder(to, "io", "blockIO");
  const { weight, leafWeight } = blockIO;
  const otherwise = (prefix: string, weight: number) => ({
    otherwise: { file: "io.weight", value: `${prefix}${ioWeight(weight)}` },
  });
  if (isSet(weight)) add("weight", "bfq.weight", weight, otherwise("", weight));
  if (isSet(leafWeight)) to.warnings.push(noEffect("blockIO.leafWeight"));
  for (const [at, { major, minor, weight, leafWeight }] of (blockIO.weightDevice ?? []).entries()) {
    const device = `${major}:${minor} `;
    if (isSet(leafWeight)) to.warnings.push(noEffect(`blockIO.weightDevice[${at}].leafWeight`));
    if (isSet(weight)) add(`weightDevice/${at}/weight`, "bfq.weight", `${device}${weight}`, otherwise(device, weight));
  }
  const throttles = [
    ["throttleReadBpsDevice", "rbps"],
    ["throttleWriteBpsDevice", "wbps"],
    ["throttleReadIOPSDevice", "riops"],
    ["throttleWriteIOPSDevice", "wiops"],
  ] as const;
  for (const [name, key] of throttles) {
    for (const [at, { major, minor, rate }] of (blockIO[name] ?? []).entries()) {
      if (rate === undefined) continue;
      // 0 takes a limit away on v1; here the kernel refuses it.
      add(`${name}/${at}/rate`, "max", `${major}:${minor} ${key}=${Number(rate) === 0 ? "max" : rate}`);
    }
  }
}

/** 10 to 1,000 as 1 to 10,000. */
export function ioWeight(weight: number): number {
  return 1 + Math.floor(((weight - 10) * 9999) / 990);
}

function hugetlbFiles(limits: NonNullable<Resources["hugepageLimits"]>, { files }: ResourceFiles): void {
  for (const [at, { pageSize, limit }] of limits.entries()) {
    const pointer = `/linux/resources/hugepageLimits/${at}/limit`;
    const same = { controller: "hugetlb", value: String(limit), pointer };
    files.push({ ...same, file: `hugetlb.${pageSize}.max` });
    files.push({ ...same, file: `hugetlb.${pageSize}.rsvd.max`, optional: true });
  }
}

function networkFiles({ classID, priorities }: NonNullable<Resources["network"]>, { warnings }: ResourceFiles): void {
  if (isSet(classID)) warnings.push(noEffect("network.classID"));
  if ((priorities ?? []).length > 0) warnings.push(noEffect("network.priorities"));
}

/**
 * Files by their names, what they say line by line: the kernel takes one line a write. `checkController` throws where v2
 * does not have the controller.
 */
export function unifiedFiles(
  unified: NonNullable<Resources["unified"]>,
  checkController: (controller: string) => void,
): ResourceFile[] {
  return Object.entries(unified).flatMap(([file, text]) => {
    const name = file.slice(0, Math.max(file.indexOf("."), 0));
    checkController(name);
    const controller = name === "cgroup" ? "" : name;
    const pointer = `/linux/resources/unified/${pointerPart(file)}`;
    const lines = text.split("\n").filter((line, at) => line !== "" || at === 0);
    return lines.map((value) => ({ controller, file, value, pointer }));
  });
}
