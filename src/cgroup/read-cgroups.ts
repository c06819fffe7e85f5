import { AT_FDCWD } from "../abi/fcntl.ts";
import { propertyOf, TsrunError } from "../errors.ts";
import { readText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { type CgroupDirectory, levelsOf } from "./paths.ts";
import { processesIn } from "./processes.ts";
import type { RequiredController } from "./required.ts";

/** What planning must know of one of the container's cgroups before it is made. */
export interface CgroupFinding {
  readonly directory: CgroupDirectory;
  /** v1 cpuset: what to write into those on the way down that have none: they take no process otherwise. */
  readonly cpuset?: CpusetFinding | undefined;
  /** v2: controllers that those above the container's do not hand down yet, outermost first. */
  readonly handDown: readonly HandDown[];
}

export interface CpusetFinding {
  readonly cpus: string;
  readonly mems: string;
  /** Absolute paths, outermost first. */
  readonly empty: readonly string[];
}

export interface HandDown {
  /** Absolute path of the cgroup. */
  readonly path: string;
  readonly controllers: readonly string[];
  /** Those among them that the container cannot do without. */
  readonly required: readonly RequiredController[];
}

export interface CgroupFindings {
  readonly cgroups: readonly CgroupFinding[];
  readonly warnings: readonly string[];
}

/**
 * Looks at where the container's cgroups will be. `mayGoWithout`: hierarchies where tsrun has no permission are left
 * out with a warning, as callers without root expect. `required`: see requiredControllers. Throws when a cgroup of that
 * name has processes, or when it is clear that it cannot have what is required.
 */
export function readCgroups(
  directories: readonly CgroupDirectory[],
  unified: boolean,
  mayGoWithout: boolean,
  required: readonly RequiredController[] = [],
): CgroupFindings {
  const usable = mayGoWithout ? directories.filter(isUsable) : directories;
  checkUnused(usable);
  const cgroups = usable.map((directory) => ({
    directory,
    cpuset: readCpuset(directory),
    handDown: readHandDown(directory, unified, required),
  }));
  const lost = directories.filter((directory) => !usable.includes(directory)).map(({ hierarchy }) => hierarchy.mount);
  const none = directories.length === 0 ? ["no cgroup hierarchy is mounted: the container runs without a cgroup"] : [];
  const warnings = lost.length === 0 ? none : [`no permission to make cgroups in ${lost.join(", ")}: going on without`];
  return { cgroups, warnings };
}

function exists(path: string): boolean {
  return sys("faccessat2", AT_FDCWD, path, 0, 0) === 0;
}

/** On v2, where a process goes needs the permission of the cgroup that is above where it comes from, too (cgroups(7)). */
export function isUsable(directory: CgroupDirectory): boolean {
  const { hierarchy, path } = directory;
  const deepest = levelsOf(directory).reverse().find(exists) ?? hierarchy.mount;
  return (
    isWritable(deepest) && (hierarchy.version === 1 || isWritable(`${commonCgroup(hierarchy, path)}/cgroup.procs`))
  );
}

/** With the effective ids, and false on a read-only mount. */
function isWritable(path: string): boolean {
  const W_OK = 2;
  const AT_EACCESS = 0x200;
  return sys("faccessat2", AT_FDCWD, path, W_OK, AT_EACCESS) === 0;
}

/** The deepest cgroup that both tsrun's own and `path` are in. */
function commonCgroup({ mount, own }: CgroupDirectory["hierarchy"], path: string): string {
  const target = path.slice(mount.length).split("/");
  let common = mount;
  for (const [i, name] of own.split("/").entries()) {
    if (i === 0 || name === "") continue;
    if (name !== target[i]) break;
    common += `/${name}`;
  }
  return common;
}

/** What is left of an earlier container is taken over, but not one that lives. */
function checkUnused(directories: readonly CgroupDirectory[]): void {
  const found = new Set<number>();
  for (const { hierarchy, path } of directories) {
    if (path.endsWith(".slice")) throw isSlice(path);
    if (!exists(path)) continue;
    if (hierarchy.version === 2) checkType(path);
    for (const pid of processesIn(path)) found.add(pid);
    if (found.size === 0 && isFrozen(path)) throw inUse("container's cgroup unexpectedly frozen");
  }
  if (found.size > 0) throw inUse(`container's cgroup is not empty: ${found.size} process(es) found`);
}

/** A threaded one does not list its processes, and takes only those of the cgroup above it. */
function checkType(path: string): void {
  const type = contentOf(`${path}/cgroup.type`);
  if (type !== "domain") throw threaded(path, type);
}

/** What is in a slice is never killed (see isShared), so that a container there could not be deleted. */
function isSlice(path: string): TsrunError {
  return new TsrunError(`cannot use "${path}" for a container: a slice holds others' cgroups (linux.cgroupsPath)`, {
    code: "EINVALIDCONFIG",
    pointer: "/linux/cgroupsPath",
    hint: `give it a name in the slice: ${path.slice(path.lastIndexOf("/"))}/NAME`,
  });
}

function inUse(message: string): TsrunError {
  const hint = "another container may use it: give this one its own linux.cgroupsPath";
  return new TsrunError(message, { code: "EBUSY", pointer: "/linux/cgroupsPath", hint });
}

function isFrozen(path: string): boolean {
  return contentOf(`${path}/freezer.state`) === "FROZEN" || contentOf(`${path}/cgroup.freeze`) === "1";
}

function contentOf(path: string): string {
  const text = readText(path);
  return typeof text === "string" ? text.trim() : "";
}

function readCpuset(directory: CgroupDirectory): CpusetFinding | undefined {
  if (!directory.hierarchy.controllers.includes("cpuset")) return undefined;
  const empty: string[] = [];
  for (const level of [...levelsOf(directory).reverse(), directory.hierarchy.mount]) {
    const cpus = contentOf(`${level}/cpuset.cpus`);
    const mems = contentOf(`${level}/cpuset.mems`);
    if (cpus !== "" && mems !== "") return { cpus, mems, empty: empty.reverse() };
    empty.push(level);
  }
  return undefined;
}

/**
 * Which controllers to hand down where. On unified v2 whatever there is, for limits may be asked for later (update); on a
 * mixed machine only what is required, since v2 has nothing there that people expect in a container's cgroup.
 */
function readHandDown(
  { hierarchy, path }: CgroupDirectory,
  unified: boolean,
  required: readonly RequiredController[],
): HandDown[] {
  if (hierarchy.version !== 2 || (!unified && required.length === 0)) return [];
  const { mount } = hierarchy;
  const available = words(`${mount}/cgroup.controllers`);
  for (const each of required) if (!available.includes(each.controller)) throw notAvailable(mount, each);
  const wanted = unified ? available : required.map(({ controller }) => controller);
  const steps: HandDown[] = [];
  for (const level of [mount, ...levelsOf({ hierarchy, path }).slice(0, -1)]) {
    const enabled = words(`${level}/cgroup.subtree_control`);
    const controllers = wanted.filter((controller) => !enabled.includes(controller));
    const missing = required.filter(({ controller }) => controllers.includes(controller));
    if (controllers.length > 0 && canHandDown(level, missing))
      steps.push({ path: level, controllers, required: missing });
  }
  return steps;
}

/**
 * A cgroup with processes of its own cannot hand down every controller, and should hand down none: those that it can
 * (cpu, pids: threaded ones) would make it the root of a threaded subtree, where no container can be.
 */
function canHandDown(level: string, [first]: readonly RequiredController[]): boolean {
  if (!exists(level)) return true;
  const type = contentOf(`${level}/cgroup.type`);
  // The root cgroup, which has no type, may have both processes and children with controllers.
  if (type === "") return true;
  if (type !== "domain") throw threaded(level, type);
  const hasProcesses = contentOf(`${level}/cgroup.procs`) !== "";
  if (first === undefined) return !hasProcesses;
  if (hasProcesses) throw cannotUse(first, busyCause(level), "EBUSY", busyHint(level, first));
  const file = `${level}/cgroup.subtree_control`;
  if (!isWritable(file)) throw cannotUse(first, deniedCause(level), "EACCES", deniedHint(file, first));
  return true;
}

function notAvailable(mount: string, required: RequiredController): TsrunError {
  const { controller } = required;
  const hint =
    `"${mount}/cgroup.controllers" does not list it: the kernel was built or booted without it ` +
    `(cgroup_disable=${controller}), a v1 hierarchy has it, or it was not given to the container that tsrun runs in`;
  return cannotUse(required, "cgroup v2 does not have it here", "ENOENT", hint);
}

function cannotUse({ controller, pointer }: RequiredController, cause: string, code: string, hint: string): TsrunError {
  const message = `cannot use the cgroup controller "${controller}": ${cause} (${propertyOf(pointer)})`;
  return new TsrunError(message, { code, pointer, hint });
}

function busyCause(level: string): string {
  return `cgroup "${level}" has processes of its own, and so cannot hand it down`;
}

function busyHint(level: string, { controller }: RequiredController): string {
  const command = `echo +${controller} > ${level}/cgroup.subtree_control`;
  return `choose another linux.cgroupsPath, or move those processes into a cgroup below it, then: ${command}`;
}

function deniedCause(level: string): string {
  return `cgroup "${level}" does not hand it down, and tsrun may not make it: permission denied`;
}

function deniedHint(file: string, { controller }: RequiredController): string {
  const dropIn = `systemctl edit user@.service, with "[Service]" and "Delegate=cpu cpuset io memory pids"`;
  return `root can: echo +${controller} > ${file}; or for all users for good: ${dropIn}, then log in again`;
}

function threaded(level: string, type: string): TsrunError {
  const message = `cannot create the container's cgroup in "${level}": its type is "${type}"`;
  const hint = "below a threaded cgroup there are only threads of its processes: choose another linux.cgroupsPath";
  return new TsrunError(`${message} (linux.cgroupsPath)`, { code: "EOPNOTSUPP", pointer: "/linux/cgroupsPath", hint });
}

function words(path: string): string[] {
  return contentOf(path)
    .split(" ")
    .filter((word) => word !== "");
}
