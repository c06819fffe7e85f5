import { readdirSync, readFileSync, rmdirSync, statSync } from "node:fs";
import { command } from "./command.ts";
import { removeUnit, unitsOf } from "./manager.ts";
import { slow } from "./time.ts";

/**
 * What a test may have left on the machine. `mark` is in the container's id, in its cgroup's name and in the path of
 * everything that the test made, so other people's containers are never taken for ours.
 */
export function findLeaks(mark: string): string[] {
  return [
    ...processesOf(mark).map((pid) => `process ${pid}: ${readProc(pid, "cmdline").replaceAll("\0", " ")}`),
    ...mountsUnder(mark).map((path) => `mount ${path}`),
    ...cgroupsOf(mark).map((path) => `cgroup ${path}`),
    ...unitsOf(mark).map((unit) => `unit ${unit}`),
  ];
}

/** Processes that are in a marked cgroup, were started with a marked path, or see a marked path among their mounts. */
export function processesOf(mark: string): number[] {
  const pids = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
  return pids.filter((pid) => pid !== process.pid && isMarked(pid, mark));
}

function isMarked(pid: number, mark: string): boolean {
  const program = readProc(pid, "cmdline");
  // Zombies, and what has ended but for being reaped, have no memory to show: waiting for them is their parent's business.
  if (program === "") return false;
  if (program.includes(mark) || readProc(pid, "cgroup").includes(mark)) return true;
  return readProc(pid, "environ").includes(mark);
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return ""; // It has ended meanwhile, or is none of ours to look at.
  }
}

/** Mount points with `mark` in their path, in this process's mount namespace, the deepest first. */
export function mountsUnder(mark: string): string[] {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  const points = lines.map((line) => line.split(" ")[4] ?? "").filter((point) => point.includes(mark));
  return points.sort((a, b) => b.length - a.length);
}

/** Directories with `mark` in their name in every hierarchy, the deepest first. */
export function cgroupsOf(mark: string): string[] {
  const found: string[] = [];
  const walk = (dir: string, marked: boolean): void => {
    for (const entry of foldersIn(dir)) {
      const path = `${dir}/${entry}`;
      const inside = marked || entry.includes(mark);
      walk(path, inside);
      if (inside) found.push(path);
    }
  };
  walk("/sys/fs/cgroup", false);
  return found;
}

/** A cgroup's directory has some dozen files, and a link for each directory in it besides its own two. */
function foldersIn(dir: string): string[] {
  try {
    if (statSync(dir).nlink === 2) return [];
    const entries = readdirSync(dir, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch {
    return [];
  }
}

/** Ends, unmounts and removes whatever is marked, in that order. Throws when a mount stays: what it shows is not ours. */
export function removeLeaks(mark: string): void {
  for (const pid of processesOf(mark)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
  for (let round = 0; round < slow(100) && processesOf(mark).length > 0; round++) Bun.sleepSync(10);
  for (const point of mountsUnder(mark)) command(["umount", "-l", point]);
  if (mountsUnder(mark).length > 0) throw new Error(`cannot unmount ${mountsUnder(mark).join(", ")}`);
  for (const unit of unitsOf(mark)) removeUnit(unit);
  // A cgroup is busy until the last of its processes has been reaped.
  for (let round = 0; round < slow(100) && !cgroupsOf(mark).every(removed); round++) Bun.sleepSync(10);
}

function removed(cgroup: string): boolean {
  try {
    rmdirSync(cgroup);
    return true;
  } catch {
    return false;
  }
}
