import { TsrunError } from "../errors.ts";
import type { CgroupFacts, CgroupHierarchy } from "../host/facts.ts";

/** The container's cgroup in one hierarchy. */
export interface CgroupDirectory {
  readonly hierarchy: CgroupHierarchy;
  /** Absolute: the hierarchy's mount and at least one component below it. */
  readonly path: string;
}

/**
 * Where the container's cgroup lies, one directory a hierarchy, as runc has it: an absolute cgroupsPath starts at the
 * hierarchy's root, a relative one (or the id, in place of an absent one) at tsrun's own cgroup. On unified v2 at the
 * parent of tsrun's own: a cgroup that has processes cannot give controllers to those below it.
 * `slice:prefix:name` is a name like any other: only systemd takes it apart. `below`: a relative path starts at tsrun's
 * own cgroup on unified v2 too, for users who were given nothing above it.
 */
export function cgroupDirectories(
  cgroupsPath: string | undefined,
  id: string,
  facts: CgroupFacts,
  below = false,
): CgroupDirectory[] {
  const wanted = cgroupsPath === undefined || cgroupsPath === "" ? id : cgroupsPath;
  const inner = cleanPath(wanted);
  if (inner === "") {
    throw new TsrunError(`cannot use the root cgroup for a container (linux.cgroupsPath)`, {
      code: "EINVALIDCONFIG",
      pointer: "/linux/cgroupsPath",
      hint: "give it a name below the root, such as /containers/NAME",
    });
  }
  return facts.hierarchies.map((hierarchy) => {
    const start = wanted.startsWith("/") ? "" : startOf(facts, hierarchy, below);
    return { hierarchy, path: `${hierarchy.mount}${start}/${inner}` };
  });
}

function startOf(facts: CgroupFacts, { own }: CgroupHierarchy, below: boolean): string {
  const from = facts.mode === "unified" && !below ? own.slice(0, own.lastIndexOf("/")) : own;
  return from === "/" ? "" : from;
}

/** `/a/./b/../c` → `a/c`. As if chrooted: no number of `..` leads out. */
export function cleanPath(path: string): string {
  const kept: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") kept.pop();
    else if (part !== "" && part !== ".") kept.push(part);
  }
  return kept.join("/");
}

/** Levels from the first below the mount to the container's own. */
export function levelsOf({ hierarchy, path }: CgroupDirectory): string[] {
  const levels: string[] = [];
  let level = hierarchy.mount;
  for (const name of path.slice(hierarchy.mount.length + 1).split("/")) {
    level += `/${name}`;
    levels.push(level);
  }
  return levels;
}

/** Mount point of each hierarchy to the directory in it. */
export function cgroupMap(directories: readonly CgroupDirectory[]): Map<string, string> {
  return new Map(directories.map(({ hierarchy, path }) => [hierarchy.mount, path]));
}

/** For state.json: each controller, `name=systemd`, or "" for v2, to its directory. */
export function cgroupRecord(directories: readonly CgroupDirectory[]): Record<string, string> {
  const record: Record<string, string> = Object.create(null);
  for (const { hierarchy, path } of directories) {
    if (hierarchy.version === 2) record[""] = path;
    for (const controller of hierarchy.controllers) record[controller] = path;
  }
  return record;
}

/** What kill and delete need to know of a directory; made from state.json. */
export interface ContainerCgroup {
  readonly version: 1 | 2;
  readonly path: string;
}

/** The distinct directories of a state's cgroup_paths, v2 first: what it can do at once, v1 needs loops for. */
export function containerCgroups(cgroupPaths: Readonly<Record<string, string>>): ContainerCgroup[] {
  const versions = new Map<string, 1 | 2>();
  for (const [controller, path] of Object.entries(cgroupPaths)) versions.set(path, controller === "" ? 2 : 1);
  const cgroups: ContainerCgroup[] = [];
  for (const [path, version] of versions) cgroups.push({ version, path });
  return cgroups.sort((a, b) => b.version - a.version);
}
