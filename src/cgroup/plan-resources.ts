import { AT_FDCWD, O_CLOEXEC, O_WRONLY } from "../abi/fcntl.ts";
import { propertyOf, TsrunError } from "../errors.ts";
import { add, type Label, label, type Program, place, type Slot, type SlotTable, slot } from "../plan/step.ts";
import type { Resources } from "../spec/types.ts";
import { utf8 } from "../text.ts";
import { type CgroupPaths, type ResourceFile, resourceFiles } from "./resources.ts";

/**
 * Writes linux.resources, but for its devices, to the files of the container's cgroups. Run by tsrun, when of the
 * container only its init is there. Works in place, whatever the files say. Returns what the caller should know although
 * it works. Throws where there is no cgroup for what is asked for.
 */
export function planResources(
  program: Program,
  slots: SlotTable,
  cgroups: CgroupPaths,
  resources: Resources,
): readonly string[] {
  const { files, warnings } = resourceFiles(resources, cgroups);
  if (files.length === 0) return warnings;
  const fd = slot(slots, "resource file");
  for (const each of files) planFile(program, fd, placeOf(cgroups, each), each);
  return warnings;
}

interface Place {
  readonly version: 1 | 2;
  /** Absolute path of the cgroup. */
  readonly path: string;
}

/** The text is runc's. */
function placeOf(cgroups: CgroupPaths, { controller, pointer }: ResourceFile): Place {
  const v1 = controller === "" ? undefined : cgroups[controller === "io" ? "blkio" : controller];
  if (v1 !== undefined) return { version: 1, path: v1 };
  const v2 = cgroups[""];
  if (v2 !== undefined) return { version: 2, path: v2 };
  const message = `cannot set ${controller} limit: container could not join or create cgroup (${propertyOf(pointer)})`;
  const hint = `the cgroup controller "${controller}" must be mounted below /sys/fs/cgroup, and tsrun allowed to make cgroups in it`;
  throw new TsrunError(message, { code: "ENOTSUP", pointer, hint });
}

function planFile(program: Program, fd: Slot, cgroup: Place, wanted: ResourceFile): void {
  const { otherwise, optional } = wanted;
  const end = label();
  if (otherwise === undefined) planWrite(program, fd, cgroup, wanted, optional === true ? { missing: end } : {});
  else {
    const instead = label();
    planWrite(program, fd, cgroup, wanted, { missing: instead, done: end });
    place(program, instead);
    planWrite(program, fd, cgroup, { ...wanted, ...otherwise }, {});
  }
  place(program, end);
}

/** Where to go on when the kernel is without the file, which is an error otherwise, and when it is written. */
interface Ways {
  readonly missing?: Label;
  readonly done?: Label;
}

function planWrite(program: Program, fd: Slot, cgroup: Place, wanted: ResourceFile, { missing, done }: Ways): void {
  const { file, value, pointer, early } = wanted;
  const path = `${cgroup.path}/${file}`;
  const what = `write ${JSON.stringify(value)} to "${path}"`;
  add(program, {
    call: "openat",
    args: [AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0],
    into: fd,
    what,
    pointer,
    hint: missingHint(cgroup, wanted),
    tolerate: missing === undefined ? undefined : ["ENOENT"],
    onTolerated: missing,
  });
  add(program, {
    call: "write",
    args: [fd, value, byteLength(value)],
    what,
    pointer,
    hint: refusedHint(cgroup, wanted),
    tolerate: early === true ? ["EINVAL"] : undefined,
  });
  add(program, { call: "close", args: [fd], what: `close "${path}"`, pointer, onZero: done });
}

function byteLength(text: string): number {
  return utf8(text).length;
}

/** What is to be done when the kernel does not have the file. */
function missingHint({ version, path }: Place, { controller, file }: ResourceFile): string | undefined {
  if (file.includes("memsw")) return "the kernel must account for swap: start it with swapaccount=1";
  if (/^(blkio|io)\..*weight/.test(file)) {
    return "weights need an I/O scheduler that has them: modprobe bfq, and choose it in /sys/block/DISK/queue/scheduler";
  }
  if (file.startsWith("hugetlb.")) return "see /sys/kernel/mm/hugepages for the sizes that this machine has";
  if (controller === "" || version === 1) return undefined;
  return `the cgroup above must hand it down: echo +${controller} > ${above(path)}/cgroup.subtree_control`;
}

/** What is the matter most of the time when the kernel refuses the value. */
function refusedHint({ path }: Place, { file }: ResourceFile): string | undefined {
  switch (file) {
    case "memory.limit_in_bytes":
    case "memory.memsw.limit_in_bytes":
      return "it must be more than what the container's cgroup has in use already";
    case "cpuset.cpus":
    case "cpuset.mems":
      return `there is only what the cgroup above has: see ${above(path)}/${file}`;
    case "cpu.cfs_period_us":
    case "cpu.cfs_quota_us":
    case "cpu.cfs_burst_us":
    case "cpu.max":
    case "cpu.max.burst":
      return "a period is 1000 to 1000000, a quota 1000 or more, a burst at most the quota, all in microseconds and within the cgroups above";
    case "cpu.rt_period_us":
    case "cpu.rt_runtime_us":
      return `the cgroups above must have as much: see ${above(path)}/cpu.rt_runtime_us`;
    default:
      return undefined;
  }
}

function above(cgroup: string): string {
  return cgroup.slice(0, cgroup.lastIndexOf("/"));
}
