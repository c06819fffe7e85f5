import { pointerPart, TsrunError } from "../errors.ts";
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

type Add = (name: string, file: string, value: Integer | string, more?: Partial<ResourceFile>) => void;

/** What adds `<controller>.<file>` for a property `name` of linux.resources.`group`. */
export function adder({ files }: ResourceFiles, controller: string, group: "memory" | "cpu" | "blockIO"): Add {
  return (name, file, value, more) => {
    const pointer = `/linux/resources/${group}/${name}`;
    files.push({ controller, file: `${controller}.${file}`, value: String(value), pointer, ...more });
  };
}

/** memory.rst. Memory and swap together must never be less than memory, not even for a moment. */
function memoryFiles(memory: NonNullable<Resources["memory"]>, to: ResourceFiles): void {
  const { limit, reservation, kernel, kernelTCP, swappiness, disableOOMKiller, useHierarchy } = memory;
  const add = adder(to, "memory", "memory");
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
  if (isSet(kernel)) to.warnings.push("linux.resources.memory.kernel has no effect: Linux has given it up in 5.16");
  if (isSet(kernelTCP)) add("kernelTCP", "kmem.tcp.limit_in_bytes", kernelTCP);
  if (useHierarchy === true) add("useHierarchy", "use_hierarchy", 1);
  if (useHierarchy === false) {
    to.warnings.push("linux.resources.memory.useHierarchy has no effect: it is always true since Linux 5.11");
  }
  if (disableOOMKiller !== undefined) add("disableOOMKiller", "oom_control", disableOOMKiller ? 1 : 0);
  if (swappiness !== undefined) add("swappiness", "swappiness", swappiness);
}

/** scheduler/sched-bwc.rst: the quota of each cgroup is judged together with its period, and a burst with the quota. */
function cpuFiles(cpu: NonNullable<Resources["cpu"]>, to: ResourceFiles): void {
  const add = adder(to, "cpu", "cpu");
  const { quota, period, burst, realtimePeriod, realtimeRuntime } = cpu;
  weightFiles(cpu, add, to.warnings);
  const hasQuota = isSet(quota);
  if (isSet(period)) add("period", "cfs_period_us", period, { early: hasQuota });
  if (burst !== undefined) add("burst", "cfs_burst_us", burst, { early: hasQuota });
  if (hasQuota) {
    add("quota", "cfs_quota_us", Number(quota) < 0 ? -1 : quota);
    if (isSet(period)) add("period", "cfs_period_us", period);
    if (burst !== undefined) add("burst", "cfs_burst_us", burst);
  }
  const hasRuntime = isSet(realtimeRuntime);
  if (isSet(realtimePeriod)) add("realtimePeriod", "rt_period_us", realtimePeriod, { early: hasRuntime });
  if (hasRuntime) {
    add("realtimeRuntime", "rt_runtime_us", realtimeRuntime);
    if (isSet(realtimePeriod)) add("realtimePeriod", "rt_period_us", realtimePeriod);
  }
}

/** The kernel refuses a weight for what is idle; and of shares that are out of its range it makes others, silently. */
function weightFiles({ shares, idle }: NonNullable<Resources["cpu"]>, add: Add, warnings: string[]): void {
  if (idle !== undefined) add("idle", "idle", idle);
  if (!isSet(shares)) return;
  if (isSet(idle)) {
    warnings.push("linux.resources.cpu.shares has no effect: linux.resources.cpu.idle leaves no weight");
    return;
  }
  if (shares > 262_144) throw wrongShares(shares, "maximum allowed cpu-shares is 262144");
  if (shares < 2) throw wrongShares(shares, "minimum allowed cpu-shares is 2");
  add("shares", "shares", shares);
}

/** The end of the text is runc's. */
function wrongShares(shares: Integer, bound: string): TsrunError {
  const message = `cannot give the container ${shares} cpu-shares: the ${bound} (linux.resources.cpu.shares)`;
  return new TsrunError(message, { code: "EINVAL", pointer: "/linux/resources/cpu/shares" });
}

/** The same on v1 and v2: cpusets.rst. */
export function cpusetFiles({ cpus, mems }: NonNullable<Resources["cpu"]>, to: ResourceFiles): void {
  const add = adder(to, "cpuset", "cpu");
  if (cpus !== undefined && cpus !== "") add("cpus", "cpus", cpus);
  if (mems !== undefined && mems !== "") add("mems", "mems", mems);
}

/** The same on v1 and v2: pids.rst. */
export function pidsFiles({ limit }: NonNullable<Resources["pids"]>, { files }: ResourceFiles): void {
  const value = Number(limit) < 0 ? "max" : String(limit);
  files.push({ controller: "pids", file: "pids.max", value, pointer: "/linux/resources/pids/limit" });
}

/** blkio-controller.rst. The weights are the BFQ scheduler's own since CFQ is gone. */
function blkioFiles(blockIO: NonNullable<Resources["blockIO"]>, to: ResourceFiles): void {
  const add = adder(to, "blkio", "blockIO");
  const { weight, leafWeight } = blockIO;
  const bfq = (file: string, value: string) => ({ otherwise: { file: `blkio.bfq.${file}`, value } });
  if (isSet(weight)) add("weight", "weight", weight, bfq("weight", String(weight)));
  if (isSet(leafWeight)) add("leafWeight", "leaf_weight", leafWeight);
  for (const [at, device] of (blockIO.weightDevice ?? []).entries()) {
    const name = `weightDevice/${at}`;
    const [own, leaf] = [device.weight, device.leafWeight].map((each) => `${device.major}:${device.minor} ${each}`);
    if (isSet(device.weight)) add(`${name}/weight`, "weight_device", own!, bfq("weight_device", own!));
    if (isSet(device.leafWeight)) add(`${name}/leafWeight`, "leaf_weight_device", leaf!);
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
    const pointer = `/linux/resources/rdma/${pointerPart(device)}`;
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
