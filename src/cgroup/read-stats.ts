import { errnoName, errnoNumber, errnoText } from "../abi/errno.ts";
import { TsrunError } from "../errors.ts";
import { directoriesIn, readText } from "../kernel/files.ts";
import type { Stats } from "./stats.ts";
import { NO_TEXTS, type Texts } from "./stats-texts.ts";
import { blkioStatsV1, cpuStatsV1, cpusetStatsV1, hugetlbStatsV1, memoryStatsV1, pidsStats } from "./stats-v1.ts";
import { blkioStatsV2, cpuStatsV2, cpusetStatsV2, hugetlbStatsV2, memoryStatsV2 } from "./stats-v2.ts";

/**
 * What a container uses, from its cgroups (`cgroup_paths` of its state): each controller where it is, in a v1 hierarchy
 * or in v2's. What the kernel does not count is 0. Throws when a file is there but cannot be read.
 */
export function readStats(cgroupPaths: Readonly<Record<string, string>>): Stats {
  const paths = new Map(Object.entries(cgroupPaths));
  const unified = textsIn(paths.get(""));
  const at = (controller: string) => (paths.has(controller) ? textsIn(paths.get(controller)) : undefined);
  const has = (...controllers: string[]) => controllers.some((controller) => paths.has(controller));
  const sizes = hugePageSizes();
  return {
    cpu: has("cpu", "cpuacct") ? cpuStatsV1(at("cpu") ?? NO_TEXTS, at("cpuacct") ?? NO_TEXTS) : cpuStatsV2(unified),
    cpuset: has("cpuset") ? cpusetStatsV1(at("cpuset")!) : cpusetStatsV2(),
    memory: has("memory") ? memoryStatsV1(at("memory")!) : memoryStatsV2(unified),
    pids: pidsStats(at("pids") ?? unified),
    blkio: has("blkio") ? blkioStatsV1(at("blkio")!) : blkioStatsV2(unified),
    hugetlb: has("hugetlb") ? hugetlbStatsV1(at("hugetlb")!, sizes) : hugetlbStatsV2(unified, sizes),
  };
}

/** EOPNOTSUPP: pressure is switched off; ENODEV: the cgroup has just been removed. */
const ABSENT = ["ENOENT", "ENODEV", "EOPNOTSUPP"].map((name) => -errnoNumber(name as "ENOENT"));

function textsIn(directory: string | undefined): Texts {
  if (directory === undefined) return NO_TEXTS;
  return (file) => {
    const text = readText(`${directory}/${file}`);
    if (typeof text === "string") return text;
    if (ABSENT.includes(text)) return undefined;
    throw new TsrunError(`cannot read "${directory}/${file}": ${errnoText(-text)}`, { code: errnoName(-text) });
  };
}

/** `2MB`, as the names of the cgroup's files have them; the kernel's directories are `hugepages-2048kB`. */
function hugePageSizes(): string[] {
  const names = directoriesIn("/sys/kernel/mm/hugepages");
  if (typeof names === "number") return [];
  return names.map((name) => sizeName(Number(/\d+/.exec(name)?.[0] ?? 0))).sort();
}

function sizeName(kB: number): string {
  if (kB >= 1 << 20) return `${kB / (1 << 20)}GB`;
  return kB >= 1024 ? `${kB / 1024}MB` : `${kB}KB`;
}
