import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { command } from "./command.ts";
import { MANAGER } from "./manager.ts";

/** Where the kernel has a controller on this machine: bound to a hierarchy of v1, or free for v2. */
export interface ControllerPlace {
  readonly version: 1 | 2;
  /** The hierarchy's mount point. */
  readonly mount: string;
}

/** A controller's place as this process sees it, or undefined where it is nowhere. `cgroup` is what v2 has without any. */
export function controllerPlace(controller: string): ControllerPlace | undefined {
  const mounts = cgroupMounts();
  const v1 = mounts.find(({ type, options }) => type === "cgroup" && options.includes(controller));
  if (v1 !== undefined) return { version: 1, mount: v1.point };
  const v2 = mounts.find(({ type }) => type === "cgroup2");
  if (controller === "cgroup") return v2 && { version: 2, mount: v2.point };
  const isThere = v2 !== undefined && words(`${v2.point}/cgroup.controllers`).includes(controller);
  return isThere ? { version: 2, mount: v2.point } : undefined;
}

/** Why this machine cannot do what a controller is for, or undefined when it can. */
export function missingController(controller: string): string | undefined {
  return controllerPlace(controller) === undefined ? `the kernel has no controller ${controller} to give` : undefined;
}

/** Where nothing is bound to v1, memory is v2's, or nobody's. */
export const onlyV2 = controllerPlace("memory")?.version !== 1;

/** For what differs with it: the names of tests, so that differences of other runtimes can be told for each. */
export const LANE = `${onlyV2 ? "v2" : "v1"}${MANAGER === "systemd" ? "-systemd" : ""}`;

/** `memory.max` is of the controller `memory`, `hugetlb.2MB.max` of `hugetlb`. */
export function controllerOf(file: string): string {
  return file.slice(0, file.indexOf("."));
}

/**
 * Why the kernel cannot do what `file` is for, or undefined when it can. A cgroup is made to see it; what the root does not
 * hand down yet cannot be seen there, and is taken to be in order.
 */
export function missingFile(file: string): string | undefined {
  const controller = controllerOf(file);
  const place = controllerPlace(controller);
  if (place === undefined) return missingController(controller);
  if (place.version === 2 && !words(`${place.mount}/cgroup.subtree_control`).includes(controller)) return undefined;
  const probe = `${place.mount}/t${process.pid}-probe`;
  mkdirSync(probe);
  const isThere = existsSync(`${probe}/${file}`);
  rmdirSync(probe);
  return isThere ? undefined : `the kernel's cgroup v${place.version} has no ${file}`;
}

/** The directory of a process's cgroup that has this controller's files. */
export function cgroupOf(pid: number, controller: string): string {
  const place = controllerPlace(controller);
  if (place === undefined) throw new Error(`no controller ${controller} here`);
  const lines = readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n");
  const own = lines.map((line) => /^\d+:([^:]*):(.*)$/.exec(line)!);
  const line = own.find(([, names]) => (place.version === 2 ? names === "" : names!.split(",").includes(controller)));
  if (line === undefined) throw new Error(`process ${pid} has no cgroup of ${controller}: ${lines.join(" ")}`);
  return `${place.mount}${line[2]}`;
}

/** What a file of the process's cgroup says, without the line end. Throws when there is none. */
export function cgroupFile(pid: number, file: string): string {
  return readFileSync(`${cgroupOf(pid, controllerOf(file))}/${file}`, "utf8").trim();
}

interface CgroupMount {
  readonly point: string;
  readonly type: string;
  /** Those of the hierarchy: with v1 the controllers are among them. */
  readonly options: readonly string[];
}

/** The mounts of cgroup hierarchies, the latest first: it covers what was at its place before. */
function cgroupMounts(): CgroupMount[] {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").trim().split("\n");
  return lines
    .map((line) => {
      const [front, back] = line.split(" - ");
      const [type, , options] = back!.split(" ");
      return { point: front!.split(" ")[4]!, type: type!, options: options!.split(",") };
    })
    .filter(({ type, point }) => (type === "cgroup" || type === "cgroup2") && existsSync(`${point}/cgroup.procs`))
    .reverse();
}

function words(file: string): string[] {
  return readFileSync(file, "utf8").trim().split(" ");
}

/**
 * Mounts every hierarchy that is in /sys/fs/cgroup at `dir`, and there one of v1 with these controllers, which nobody may
 * use yet; then puts `dir` in the place of /sys/fs/cgroup. `mount` mounts until the end of the test, `after` does something
 * then.
 */
export function addHierarchy(
  controllers: string,
  dir: string,
  mount: (...args: string[]) => void,
  after: (action: () => void) => void,
): void {
  mkdirSync(dir);
  after(() => endHierarchy(controllers, dir));
  mount("-t", "tmpfs", "-o", "mode=755", "none", dir);
  for (const name of readdirSync("/sys/fs/cgroup")) {
    mkdirSync(`${dir}/${name}`);
    mount("--bind", `/sys/fs/cgroup/${name}`, `${dir}/${name}`);
  }
  mkdirSync(`${dir}/${controllers}`);
  mount("-t", "cgroup", "-o", controllers, "none", `${dir}/${controllers}`);
  mount("--rbind", dir, "/sys/fs/cgroup");
}

/**
 * A hierarchy outlives its last mount when a cgroup in it is not quite gone by then: it is mounted once more, and ends with
 * that mount when it is empty.
 */
function endHierarchy(controllers: string, dir: string): void {
  const one = controllers.split(",")[0]!;
  for (let round = 0; round < 5 && hierarchyOf(one).number !== 0; round++) {
    succeed("mount", "-t", "cgroup", "-o", controllers, "none", dir);
    for (let wait = 0; wait < 100 && hierarchyOf(one).cgroups > 1; wait++) Bun.sleepSync(10);
    Bun.sleepSync(20 * round);
    succeed("umount", dir);
    for (let wait = 0; wait < 30 && hierarchyOf(one).number !== 0; wait++) Bun.sleepSync(10);
  }
  rmdirSync(dir);
  if (hierarchyOf(one).number !== 0) throw new Error(`the hierarchy of ${controllers} stays`);
}

/** As /proc/cgroups has it: the number is 0 where the controller is not bound to v1. */
function hierarchyOf(controller: string): { number: number; cgroups: number } {
  const lines = readFileSync("/proc/cgroups", "utf8").split("\n");
  const [, number, cgroups] = lines.map((line) => line.split("\t")).find(([name]) => name === controller) ?? [];
  return { number: Number(number ?? 0), cgroups: Number(cgroups ?? 0) };
}

/** A loop device of its own, of 64 MiB, with a scheduler that can weigh; and how to give it back. */
export interface LoopDevice {
  readonly major: number;
  readonly minor: number;
  release(): void;
}

export const NO_LOOP_DEVICE = existsSync("/dev/loop-control") ? undefined : "no loop device is to be had";

/** `file` must not exist yet. The kernel takes the device back when this process ends, however it does. */
export function loopDevice(file: string): LoopDevice {
  succeed("truncate", "-s", "64M", file);
  const path = succeed("losetup", "--find", "--show", file);
  const held = openSync(path, "r");
  // What is open is detached when it is closed.
  succeed("losetup", "--detach", path);
  const block = `/sys/block/${path.slice("/dev/".length)}`;
  const scheduler = `${block}/queue/scheduler`;
  const before = /\[(.*)\]/.exec(readFileSync(scheduler, "utf8"))?.[1] ?? "none";
  if (readFileSync(scheduler, "utf8").includes("bfq")) writeFileSync(scheduler, "bfq");
  const release = () => {
    writeFileSync(scheduler, before);
    closeSync(held);
    rmSync(file);
  };
  const [major, minor] = readFileSync(`${block}/dev`, "utf8").trim().split(":").map(Number) as [number, number];
  return { major, minor, release };
}

function succeed(...argv: string[]): string {
  const { status, stdout, stderr } = command(argv);
  if (status !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
  return stdout.trim();
}
