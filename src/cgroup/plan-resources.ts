import { AT_FDCWD, O_CLOEXEC, O_WRONLY } from "../abi/fcntl.ts";
import { propertyOf, TsrunError } from "../errors.ts";
import { add, type Label, label, type Program, place, type Slot, type SlotTable, slot } from "../plan/step.ts";
import type { Resources } from "../spec/types.ts";
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
  for (const each of files) planFile(program, fd, cgroupFor(cgroups, each), each);
  return warnings;
}

function cgroupFor(cgroups: CgroupPaths, { controller, pointer }: ResourceFile): string {
  const path = cgroups[controller === "io" ? "blkio" : controller] ?? cgroups[""];
  if (path !== undefined) return path;
  const message = `cannot set ${controller} limit: container could not join or create cgroup (${propertyOf(pointer)})`;
  const hint = `the cgroup controller "${controller}" must be mounted below /sys/fs/cgroup, and tsrun allowed to make cgroups in it`;
  throw new TsrunError(message, { code: "ENOTSUP", pointer, hint });
}

function planFile(program: Program, fd: Slot, cgroup: string, wanted: ResourceFile): void {
  const { file, value, otherwise, optional, early } = wanted;
  const end = label();
  const next = otherwise === undefined ? end : label();
  const isSpare = optional === true || otherwise !== undefined;
  planWrite(program, fd, cgroup, { ...wanted, file, value }, isSpare ? next : undefined, early, otherwise && end);
  if (otherwise !== undefined) {
    place(program, next);
    planWrite(program, fd, cgroup, { ...wanted, ...otherwise });
  }
  place(program, end);
}

function planWrite(
  program: Program,
  fd: Slot,
  cgroup: string,
  { controller, file, value, pointer }: ResourceFile,
  missing?: Label,
  early?: boolean,
  done?: Label,
): void {
  const path = `${cgroup}/${file}`;
  const what = `write ${JSON.stringify(value)} to "${path}"`;
  const lacking = `cannot ${what}: cgroup "${cgroup}" does not have the controller "${controller}" (${propertyOf(pointer)})`;
  const hint = `the cgroup above it has to hand it down: echo +${controller} > cgroup.subtree_control`;
  add(program, {
    call: "openat",
    args: [AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0],
    into: fd,
    what,
    pointer,
    ...(missing === undefined ? { says: { ENOENT: lacking }, hint } : { tolerate: ["ENOENT"], onTolerated: missing }),
  });
  const length = new TextEncoder().encode(value).length;
  const tolerate = early === true ? { tolerate: ["EINVAL"] as const } : {};
  add(program, { call: "write", args: [fd, value, length], what, pointer, ...tolerate });
  add(program, { call: "close", args: [fd], what: `close "${path}"`, pointer, onZero: done });
}
