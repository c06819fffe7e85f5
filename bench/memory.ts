import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import type { Bundle } from "./bundle.ts";
import { inView, type Runtime, run, V1_ONLY, type View } from "./runtimes.ts";

/** kB of memory of a container that is created and waits for start, as /proc/PID/smaps_rollup counts them (proc(5)). */
export interface CreatedMemory {
  readonly runtime: string;
  /** Its share of every page: a page that n processes have counts as 1/n. */
  readonly pss: number;
  /** Pages that only it has. */
  readonly private: number;
}

/** kB: the smallest limit_in_bytes of a parent cgroup (v1 memory) in which `run` of /bin/true succeeds. */
export interface SmallestLimit {
  readonly runtime: string;
  readonly limit: number;
}

const ID = "bench-memory";
const MEMORY = "/sys/fs/cgroup/memory";

/** The median of five containers each: what a process has touched by then varies. */
export function measureCreated(view: View, all: readonly Runtime[], bundle: Bundle, home: string): CreatedMemory[] {
  bundle.configure(["/bin/true"]);
  const runtimes = all.filter(({ name }) => view.runtimes.includes(name));
  return runtimes.map((runtime) => {
    const measured = Array.from({ length: 5 }, () => createdMemory(view, runtime, bundle, home));
    return measured.sort((a, b) => a.pss - b.pss)[2]!;
  });
}

function createdMemory(view: View, { name, path }: Runtime, bundle: Bundle, home: string): CreatedMemory {
  const line = `${path} --root ${home}/state-of-${name}`;
  const script = `set -e; ${line} create --bundle ${bundle.dir} ${ID} </dev/null >/dev/null 2>&1
    trap '${line} delete --force ${ID}' EXIT
    pid=$(${line} state ${ID} | sed -n 's/.*"pid": *\\([0-9]*\\).*/\\1/p')
    cat /proc/$pid/smaps_rollup`;
  const rollup = run([...inView(view), "sh", "-c", script]);
  const onlyIts = field(rollup, "Private_Clean") + field(rollup, "Private_Dirty");
  return { runtime: name, pss: field(rollup, "Pss"), private: onlyIts };
}

function field(rollup: string, name: string): number {
  const found = new RegExp(`^${name}: +(\\d+) kB$`, "m").exec(rollup);
  if (found === null) throw new Error(`no ${name} in smaps_rollup:\n${rollup}`);
  return Number(found[1]);
}

/** Whether this machine has v1 controllers. */
export function hasV1(): boolean {
  return existsSync(`${MEMORY}/memory.limit_in_bytes`);
}

/** Bisects for each runtime. The limit is the parent's, because then it holds from the container's first page on. */
export function measureLimits(all: readonly Runtime[], bundle: Bundle, home: string): SmallestLimit[] {
  if (!hasV1()) return [];
  return all.map((runtime) => ({
    runtime: runtime.name,
    limit: smallest((kB) => runsWithin(kB, runtime, bundle, home)),
  }));
}

const PRECISION = 16;

/** The smallest multiple of 16 kB that works, to 2 %. */
function smallest(works: (kB: number) => boolean): number {
  let high = 64;
  while (!works(high)) {
    high *= 2;
    if (high > 1 << 20) throw new Error("not even with 1 GB");
  }
  let low = high === 64 ? 0 : high / 2;
  while (high - low > Math.max(PRECISION, high / 50)) {
    const middle = Math.ceil((low + high) / 2 / PRECISION) * PRECISION;
    if (middle >= high) break;
    if (works(middle)) high = middle;
    else low = middle;
  }
  return high;
}

/** Works means: three times in a row. What the kernel charges varies by some pages. */
function runsWithin(kB: number, runtime: Runtime, bundle: Bundle, home: string): boolean {
  return [1, 2, 3].every(() => runsOnce(kB, runtime, bundle, home));
}

let attempts = 0;

function runsOnce(kB: number, { name, path }: Runtime, bundle: Bundle, home: string): boolean {
  const parent = `bench-${process.pid}-${++attempts}`;
  const root = `${home}/state-of-${name}`;
  mkdirSync(`${MEMORY}/${parent}`);
  try {
    writeFileSync(`${MEMORY}/${parent}/memory.limit_in_bytes`, String(kB * 1024));
    bundle.configure(["/bin/true"], `/${parent}/${ID}`);
    const command = [path, "--root", root, "run", "--bundle", bundle.dir, ID];
    const { exitCode } = Bun.spawnSync([...inView(V1_ONLY), ...command], {
      stdio: ["ignore", "ignore", "ignore"],
      timeout: 10_000,
      killSignal: "SIGKILL",
    });
    return exitCode === 0;
  } finally {
    Bun.spawnSync([...inView(V1_ONLY), path, "--root", root, "delete", "--force", ID], { stderr: "ignore" });
    removeParents(parent);
  }
}

/** Runtimes make the parent in every hierarchy and leave it. */
function removeParents(parent: string): void {
  for (const point of hierarchies()) {
    for (const path of [`${point}/${parent}/${ID}`, `${point}/${parent}`]) if (existsSync(path)) removeSoon(path);
  }
}

/** What a runtime that was killed for want of memory made after it was looked for. */
export function removeLeftParents(): void {
  for (const point of hierarchies()) {
    for (const name of readdirSync(point)) if (name.startsWith(`bench-${process.pid}-`)) removeParents(name);
  }
}

function hierarchies(): string[] {
  const points = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "");
  return points.filter((point) => point.startsWith("/sys/fs/cgroup/"));
}

/** A cgroup is busy until the last process has been reaped. */
function removeSoon(path: string): void {
  for (let round = 0; ; round++) {
    try {
      rmdirSync(path);
      return;
    } catch (error) {
      if (round === 100) throw error;
      Bun.sleepSync(10);
    }
  }
}
