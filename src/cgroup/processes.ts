import { directoriesIn, readText } from "../kernel/files.ts";
import { isDigits } from "../text.ts";

/** The process ids in a cgroup and in all below it; none when it does not exist. */
export function processesIn(path: string): number[] {
  const pids = parsePids(readText(`${path}/cgroup.procs`));
  for (const child of childrenOf(path)) pids.push(...processesIn(child));
  return pids;
}

/** The cgroups right below one. */
export function childrenOf(path: string): string[] {
  const names = directoriesIn(path);
  return typeof names === "number" ? [] : names.map((name) => `${path}/${name}`);
}

/** A threaded cgroup of v2 has EOPNOTSUPP in place of a list: its processes show in the one above it. */
function parsePids(text: string | number): number[] {
  if (typeof text === "number") return [];
  const pids = text.split("\n").filter(isDigits);
  // 0 stands for a process that this process id namespace cannot name.
  return pids.map(Number).filter((pid) => pid > 0);
}
