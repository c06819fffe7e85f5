import { TsrunError } from "../errors.ts";
import type { Resources } from "../spec/types.ts";
import { RESOURCES_V1 } from "./resources-v1.ts";
import { RESOURCES_V2, unifiedFiles } from "./resources-v2.ts";

/** One write to one file of the container's cgroup. */
export interface ResourceFile {
  /** The v1 controller, or the v2 one that the cgroup must have; "" for a file that every cgroup of v2 has. */
  readonly controller: string;
  readonly file: string;
  readonly value: string;
  /** JSON pointer into config.json. */
  readonly pointer: string;
  /** Nothing is lost where the kernel is without the file. */
  readonly optional?: boolean | undefined;
  /** What to write where the kernel is without the file. */
  readonly otherwise?: { readonly file: string; readonly value: string } | undefined;
  /**
   * The kernel may refuse it (EINVAL) as long as a file below it has its old value; it is in the list once more behind
   * that one. So an update works in every direction without a look at what is there, which may change meanwhile.
   */
  readonly early?: boolean | undefined;
}

export interface ResourceFiles {
  /** In the order in which to write them. */
  readonly files: ResourceFile[];
  /** Properties that have no effect on this machine, each with the reason. */
  readonly warnings: string[];
}

/** Which files say what linux.resources says; each adds to the lists. One record for v1, one for v2. */
export interface ResourceWriter {
  readonly memory: (memory: NonNullable<Resources["memory"]>, to: ResourceFiles) => void;
  readonly cpu: (cpu: NonNullable<Resources["cpu"]>, to: ResourceFiles) => void;
  readonly cpuset: (cpu: NonNullable<Resources["cpu"]>, to: ResourceFiles) => void;
  readonly pids: (pids: NonNullable<Resources["pids"]>, to: ResourceFiles) => void;
  readonly blkio: (blockIO: NonNullable<Resources["blockIO"]>, to: ResourceFiles) => void;
  readonly hugetlb: (limits: NonNullable<Resources["hugepageLimits"]>, to: ResourceFiles) => void;
  readonly rdma: (limits: NonNullable<Resources["rdma"]>, to: ResourceFiles) => void;
  readonly network: (network: NonNullable<Resources["network"]>, to: ResourceFiles) => void;
}

/**
 * The container's cgroups as state.json has them: each v1 controller, and "" for v2, to the absolute path of a cgroup. A
 * controller that is not in it is v2's, where there is v2.
 */
export type CgroupPaths = Readonly<Record<string, string>>;

/**
 * What to write where for linux.resources but its devices (config-linux.md "Control groups"). 0 asks for nothing, except
 * for pids; -1 is no limit. What cannot be had with this version of cgroups is a warning, as runc goes on without it.
 * Throws for `unified` where there is no v2.
 */
export function resourceFiles(resources: Resources, cgroups: CgroupPaths): ResourceFiles {
  const to: ResourceFiles = { files: [], warnings: [] };
  const { memory, cpu, pids, blockIO, hugepageLimits, rdma, network, unified } = resources;
  if (cpu !== undefined) {
    writer(cgroups, "cpuset").cpuset(cpu, to);
    writer(cgroups, "cpu").cpu(cpu, to);
  }
  if (memory !== undefined) writer(cgroups, "memory").memory(memory, to);
  if (blockIO !== undefined) writer(cgroups, "blkio").blkio(blockIO, to);
  if (hugepageLimits !== undefined) writer(cgroups, "hugetlb").hugetlb(hugepageLimits, to);
  if (rdma !== undefined) writer(cgroups, "rdma").rdma(rdma, to);
  if (network !== undefined) (hasV1(cgroups) ? RESOURCES_V1 : RESOURCES_V2).network(network, to);
  if (pids !== undefined) writer(cgroups, "pids").pids(pids, to);
  if (unified !== undefined) to.files.push(...unifiedFiles(unified, (controller) => checkUnified(cgroups, controller)));
  return to;
}

/** v1's when it has the controller, or when there is no v2: then v1's names say best what is missing. */
function writer(cgroups: CgroupPaths, controller: string): ResourceWriter {
  return cgroups[""] === undefined || cgroups[controller] !== undefined ? RESOURCES_V1 : RESOURCES_V2;
}

/** Where v1 is in use, what only v1 has can be had by mounting it: it is missing then, and not without effect. */
function hasV1(cgroups: CgroupPaths): boolean {
  return cgroups[""] === undefined || Object.keys(cgroups).some((name) => name !== "" && !name.startsWith("name="));
}

/** The text that cgroup libraries have for it, or what is in the way on a machine with both versions. */
function checkUnified(cgroups: CgroupPaths, controller: string): void {
  const pointer = "/linux/resources/unified";
  if (cgroups[""] === undefined) {
    const message = "invalid configuration: cannot use unified on cgroup v1 (linux.resources.unified)";
    throw new TsrunError(message, { code: "ENOTSUP", pointer });
  }
  const v1 = controller === "io" ? "blkio" : controller;
  if (!Object.hasOwn(cgroups, v1) || controller === "") return;
  const message = `invalid configuration: cannot use unified on cgroup v1, which has the controller "${controller}" here (linux.resources.unified)`;
  throw new TsrunError(message, { code: "ENOTSUP", pointer });
}
