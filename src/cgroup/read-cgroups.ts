import { AT_FDCWD } from "../abi/fcntl.ts";
import { TsrunError } from "../errors.ts";
import { readText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { type CgroupDirectory, levelsOf } from "./paths.ts";
import { processesIn } from "./processes.ts";

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
}

export interface CgroupFindings {
  readonly cgroups: readonly CgroupFinding[];
  readonly warnings: readonly string[];
}

/**
 * Looks at where the container's cgroups will be. `mayGoWithout`: hierarchies where tsrun has no permission are left
 * out with a warning, as callers without root expect. Throws when a cgroup of that name has processes.
 */
export function readCgroups(
  directories: readonly CgroupDirectory[],
  unified: boolean,
  mayGoWithout: boolean,
): CgroupFindings {
  const usable = mayGoWithout ? directories.filter(isUsable) : directories;
  checkUnused(usable);
  const cgroups = usable.map((directory) => ({
    directory,
    cpuset: readCpuset(directory),
    handDown: unified ? readHandDown(directory) : [],
  }));
  const lost = directories.filter((directory) => !usable.includes(directory)).map(({ hierarchy }) => hierarchy.mount);
  const none = directories.length === 0 ? ["no cgroup hierarchy is mounted: the container runs without a cgroup"] : [];
  const warnings = lost.length === 0 ? none : [`no permission to make cgroups in ${lost.join(", ")}: going on without`];
  return { cgroups, warnings };
}

function exists(path: string): boolean {
  return sys("faccessat2", AT_FDCWD, path, 0, 0) === 0;
}

/** With the effective ids, and false on a read-only mount. */
function isUsable(directory: CgroupDirectory): boolean {
  const W_OK = 2;
  const AT_EACCESS = 0x200;
  const deepest = levelsOf(directory).reverse().find(exists) ?? directory.hierarchy.mount;
  return sys("faccessat2", AT_FDCWD, deepest, W_OK, AT_EACCESS) === 0;
}

/** What is left of an earlier container is taken over, but not one that lives. */
function checkUnused(directories: readonly CgroupDirectory[]): void {
  const found = new Set<number>();
  for (const { path } of directories) {
    if (!exists(path)) continue;
    for (const pid of processesIn(path)) found.add(pid);
    if (found.size === 0 && isFrozen(path)) throw inUse("container's cgroup unexpectedly frozen");
  }
  if (found.size > 0) throw inUse(`container's cgroup is not empty: ${found.size} process(es) found`);
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

function readHandDown({ hierarchy, path }: CgroupDirectory): HandDown[] {
  if (hierarchy.version !== 2) return [];
  const above = [hierarchy.mount, ...levelsOf({ hierarchy, path }).slice(0, -1)];
  const available = words(`${hierarchy.mount}/cgroup.controllers`);
  return above
    .map((level) => {
      const enabled = new Set(words(`${level}/cgroup.subtree_control`));
      return { path: level, controllers: available.filter((controller) => !enabled.has(controller)) };
    })
    .filter(({ controllers }) => controllers.length > 0);
}

function words(path: string): string[] {
  return contentOf(path)
    .split(" ")
    .filter((word) => word !== "");
}
