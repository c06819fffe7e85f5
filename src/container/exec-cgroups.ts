import { AT_FDCWD } from "../abi/fcntl.ts";
import { type ContainerCgroup, containerCgroups } from "../cgroup/paths.ts";
import { parseSubCgroups, subCgroups } from "../cgroup/sub-cgroups.ts";
import { TsrunError } from "../errors.ts";
import type { CgroupFacts } from "../host/facts.ts";
import { parseCgroupFile } from "../host/parse-cgroups.ts";
import { readText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import type { ContainerState } from "../state/state.ts";

/** The cgroups that `exec --cgroup` names, all of which must exist. */
export function chosenCgroups({ cgroup_paths }: ContainerState, values: readonly string[]): ContainerCgroup[] {
  const cgroups = subCgroups(cgroup_paths, parseSubCgroups(values));
  if (cgroups.length === 0) {
    throw new TsrunError("cannot exec in a cgroup of a container that has none (--cgroup)", { code: "EINVAL" });
  }
  const missing = cgroups.find(({ path }) => sys("faccessat2", AT_FDCWD, path, 0, 0) < 0);
  if (missing === undefined) return cgroups;
  throw new TsrunError(`cannot exec in cgroup "${missing.path}": no such file or directory (--cgroup)`, {
    code: "ENOENT",
    hint: "make it first; of v1's hierarchies, CONTROLLER:PATH chooses some",
  });
}

/**
 * Cgroup v2 has no processes in a cgroup that hands controllers down: a container that did so has moved its own first.
 * Then exec goes where the container's first process is (runc's and crun's choice, too), if that is inside its cgroup.
 */
export function cgroupsOfInit(
  { cgroup_paths, init_process_pid: pid }: ContainerState,
  { hierarchies }: CgroupFacts,
): ContainerCgroup[] | undefined {
  const own = cgroup_paths[""];
  const mount = hierarchies.find(({ version }) => version === 2)?.mount;
  const text = readText(`/proc/${pid}/cgroup`);
  if (own === undefined || mount === undefined || typeof text === "number") return undefined;
  const path = mount + (parseCgroupFile(text).find(({ controllers }) => controllers.length === 0)?.path ?? "");
  return path.startsWith(`${own}/`) ? containerCgroups({ ...cgroup_paths, "": path }) : undefined;
}
