import { TsrunError } from "../errors.ts";
import type { Resources } from "../spec/types.ts";
import type { ResourceFile, ResourceFiles, ResourceWriter } from "./resources.ts";

/** cgroup v1: https://docs.kernel.org/admin-guide/cgroup-v1/ */
export const RESOURCES_V1: ResourceWriter = {
  memory: memoryFiles,
  cpu: cpuFiles,
  cpuset: cpusetFiles,
  pids: pidsFiles,
  blkio: blkioFiles,
  hugetlb: hugetlbFiles,
  rdma: rdmaFiles,
  network: networkFiles,
};

type Integer = number | bigint;

/** Not a value that asks for nothing. */
export function isSet(value: Integer | undefined): value is Integer {
  return value !== undefined && Number(value) !== 0;
}

const MEMORY = "/linux/resources/memory";

/** memory.rst. Memory and swap together must never be less than memory, not even for a moment. */
function memoryFiles(memory: NonNullable<Resources["memory"]>, { files, warnings }: ResourceFiles): void {
  const { limit, reservation, kernel, kernelTCP, swappiness, disableOOMKiller, useHierarchy } = memory;
  const add = (name: string, file: string, value: Integer, more?: Partial<ResourceFile>) =>
    files.push({
      controller: "memory",
      file: `memory.${file}`,
      value: String(value),
      pointer: `${MEMORY}/${name}`,
      ...more,
    });
  // No limit of memory is none of memory and swap together either, or the kernel refuses it.
  const swap = isSet(memory.swap) ? memory.swap : Number(limit) === -1 ? -1 : undefined;
  if (isSet(limit)) add("limit", "limit_in_bytes", limit, { early: swap !== undefined });
  if (swap !== undefined) {
    // The kernel may not account for swap; then nothing is lost that would be different with it.
    const optional = Number(swap) === -1 || swap === limit;
    add(isSet(memory.swap) ? "swap" : "limit", "memsw.limit_in_bytes", swap, { optional });
    if (isSet(limit)) add("limit", "limit_in_bytes", limit);
  }
  if (isSet(reservation)) add("reservation", "soft_limit_in_bytes", reservation);
  if (isSet(kernel)) warnings.push("linux.resources.memory.kernel has no effect: Linux has given it up in 5.16");
  if (isSet(kernelTCP)) add("kernelTCP", "kmem.tcp.limit_in_bytes", kernelTCP);
  if (useHierarchy === true) add("useHierarchy", "use_hierarchy", 1);
  if (useHierarchy === false) {
    warnings.push("linux.resources.memory.useHierarchy has no effect: it is always true since Linux 5.11");
  }
  if (disableOOMKiller !== undefined) add("disableOOMKiller", "oom_control", disableOOMKiller ? 1 : 0);
  if (swappiness !== undefined) add("swappiness", "swappiness", swappiness);
}

const CPU = "/linux/resources/cpu";

/** scheduler/sched-bwc.rst: the quota of each cgroup is judged together with its period, and a burst with the quota. */
function cpuFiles(cpu: NonNullable<Resources["cpu"]>, { files, warnings }: ResourceFiles): void {
  const add = (name: keyof typeof cpu, file: string, value: Integer, more?: Partial<ResourceFile>) =>
    files.push({ controller: "cpu", file: `cpu.${file}`, value: String(value), pointer: `${CPU}/${name}`, ...more });
  const { quota, period, burst, realtimePeriod, realtimeRuntime, idle } = cpu;
  const hasQuota = isSet(quota);
  planShares(cpu, add, warnings);
  const early = hasQuota ? { early: true } : {};
  if (isSet(period)) add("period", "cfs_period_us", period, early);
  if (burst !== undefined) add("burst", "cfs_burst_us", burst, early);
  if (hasQuota) {
    add("quota", "cfs_quota_us", Number(quota) < 0 ? -1 : quota);
    if (isSet(period)) add("period", "cfs_period_us", period);
    if (burst !== undefined) add("burst", "cfs_burst_us", burst);
  }
  if (idle !== undefined && Number(idle) !== 0) add("idle", "idle", idle);
  if (isSet(realtimePeriod)) {
    add("realtimePeriod", "rt_period_us", realtimePeriod, isSet(realtimeRuntime) ? { early: true } : {});
  }
  if (isSet(realtimeRuntime)) {
    add("realtimeRuntime", "rt_runtime_us", realtimeRuntime);
    if (isSet(realtimePeriod)) add("realtimePeriod", "rt_period_us", realtimePeriod);
  }
}

/** The kernel takes any number and makes one of its range of it. */
function planShares(
  { shares, idle }: NonNullable<Resources["cpu"]>,
  add: (name: "shares" | "idle", file: string, value: Integer) => void,
  warnings: string[],
): void {
  // The kernel refuses a weight for what is idle.
  if (idle !== undefined && Number(idle) === 0) add("idle", "idle", 0);
  if (!isSet(shares)) return;
  if (isSet(idle)) {
    warnings.push("linux.resources.cpu.shares has no effect: linux.resources.cpu.idle leaves no weight");
    return;
  }
  const wrong = Number(shares) > 262_144 ? "maximum allowed cpu-shares is 262144" : "minimum allowed cpu-shares is 2";
  if (Number(shares) > 262_144 || Number(shares) < 2) {
    const message = `cannot give the container ${shares} cpu-shares: the ${wrong} (linux.resources.cpu.shares)`;
    throw new TsrunError(message, { code: "EINVAL", pointer: `${CPU}/shares` });
  }
  add("shares", "shares", shares);
}

function cpusetFiles({ cpus, mems }: NonNullable<Resources["cpu"]>, { files }: ResourceFiles): void {
  const add = (name: string, value: string) =>
    files.push({ controller: "cpuset", file: `cpuset.${name}`, value, pointer: `${CPU}/${name}` });
  if (cpus !== undefined && cpus !== "") add("cpus", cpus);
  if (mems !== undefined && mems !== "") add("mems", mems);
}

/** The same on v1 and v2: pids.rst. */
export function pidsFiles({ limit }: NonNullable<Resources["pids"]>, { files }: ResourceFiles): void {
  const value = Number(limit) < 0 ? "max" : String(limit);
  files.push({ controller: "pids", file: "pids.max", value, pointer: "/linux/resources/pids/limit" });
}

const BLOCK_IO = "/linux/resources/blockIO";

/** blkio-controller.rst. The weights are the BFQ scheduler's own since CFQ is gone. */
function blkioFiles(blockIO: NonNullable<Resources["blockIO"]>, { files }: ResourceFiles): void {
  const add = (name: string, file: string, value: string, otherwise?: string) =>
    files.push({
      controller: "blkio",
      file: `blkio.${file}`,
      value,
      pointer: `${BLOCK_IO}/${name}`,
      otherwise: otherwise === undefined ? undefined : { file: `blkio.${otherwise}`, value },
    });
  const { weight, leafWeight } = blockIO;
  if (isSet(weight)) add("weight", "weight", String(weight), "bfq.weight");
  if (isSet(leafWeight)) add("leafWeight", "leaf_weight", String(leafWeight));
  for (const [at, device] of (blockIO.weightDevice ?? []).entries()) {
    const id = `${device.major}:${device.minor}`;
    const name = `weightDevice/${at}`;
    if (isSet(device.weight)) add(`${name}/weight`, "weight_device", `${id} ${device.weight}`, "bfq.weight_device");
    if (isSet(device.leafWeight)) add(`${name}/leafWeight`, "leaf_weight_device", `${id} ${device.leafWeight}`);
  }
  const throttles = [
    ["throttleReadBpsDevice", "read_bps_device"],
    ["throttleWriteBpsDevice", "write_bps_device"],
    ["throttleReadIOPSDevice", "read_iops_device"],
    ["throttleWriteIOPSDevice", "write_iops_device"],
  ] as const;
  for (const [name, file] of throttles) {
    for (const [at, { major, minor, rate }] of (blockIO[name] ?? []).entries()) {
      if (rate !== undefined) add(`${name}/${at}/rate`, `throttle.${file}`, `${major}:${minor} ${rate}`);
    }
  }
}

/** hugetlb.rst: reserved pages count as used when they are asked for, not when they are touched; not in older kernels. */
function hugetlbFiles(limits: NonNullable<Resources["hugepageLimits"]>, { files }: ResourceFiles): void {
  for (const [at, { pageSize, limit }] of limits.entries()) {
    const pointer = `/linux/resources/hugepageLimits/${at}/limit`;
    const same = { controller: "hugetlb", value: String(limit), pointer };
    files.push({ ...same, file: `hugetlb.${pageSize}.limit_in_bytes` });
    files.push({ ...same, file: `hugetlb.${pageSize}.rsvd.limit_in_bytes`, optional: true });
  }
}

/** The same on v1 and v2: rdma.rst. */
export function rdmaFiles(limits: NonNullable<Resources["rdma"]>, { files }: ResourceFiles): void {
  for (const [device, { hcaHandles, hcaObjects }] of Object.entries(limits)) {
    const handles = hcaHandles === undefined ? "" : ` hca_handle=${hcaHandles}`;
    const objects = hcaObjects === undefined ? "" : ` hca_object=${hcaObjects}`;
    if (handles === "" && objects === "") continue;
    const pointer = `/linux/resources/rdma/${device.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    files.push({ controller: "rdma", file: "rdma.max", value: `${device}${handles}${objects}`, pointer });
  }
}

/** net_cls.rst, net_prio.rst. */
function networkFiles({ classID, priorities }: NonNullable<Resources["network"]>, { files }: ResourceFiles): void {
  const pointer = "/linux/resources/network";
  if (isSet(classID)) {
    files.push({
      controller: "net_cls",
      file: "net_cls.classid",
      value: String(classID),
      pointer: `${pointer}/classID`,
    });
  }
  for (const [at, { name, priority }] of (priorities ?? []).entries()) {
    const value = `${name} ${priority}`;
    files.push({ controller: "net_prio", file: "net_prio.ifpriomap", value, pointer: `${pointer}/priorities/${at}` });
  }
}
