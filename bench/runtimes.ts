import { existsSync } from "node:fs";
import { resolve } from "node:path";

export interface Runtime {
  readonly name: string;
  readonly path: string;
  /** What it calls itself: the first line of --version. */
  readonly version: string;
}

/** Those that are measured, tsrun first. Another tsrun, or a wrapper, can be given as TSRUN. */
export function readRuntimes(): Runtime[] {
  const tsrun = resolve(process.env.TSRUN ?? `${import.meta.dir}/../bin/tsrun`);
  const paths = { tsrun, runc: "/usr/sbin/runc", crun: "/usr/bin/crun" };
  return Object.entries(paths).map(([name, path]) => {
    if (!existsSync(path)) throw new Error(`no ${path}: run make build test-setup`);
    return {
      name,
      path,
      version: run([path, "--version"])
        .split("\n")[0]!
        .replace(/^\S+ (version )?/, ""),
    };
  });
}

/** Which cgroups the runtimes see: in a mount namespace of its own, so nobody else does. */
export interface View {
  readonly name: string;
  /** Shell commands that make the view. */
  readonly setup: string;
  /** Runtimes that work in it. */
  readonly runtimes: readonly string[];
}

const EVERY = ["tsrun", "runc", "crun"];

export const V2_ONLY: View = {
  name: "cgroup v2",
  setup: "umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup",
  runtimes: EVERY,
};

/** crun 1.8.1 refuses a v2 hierarchy with controllers beside v1. */
export const V1_ONLY: View = {
  name: "cgroup v1",
  setup: "if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi",
  runtimes: EVERY,
};

export const AS_IT_IS: View = { name: "the machine's own cgroups", setup: ":", runtimes: ["tsrun", "runc"] };

/** What must stand before a command to run it in the view. */
export function inView(view: View): string[] {
  return ["unshare", "-m", "--propagation", "private", "sh", "-c", `${view.setup} && exec "$@"`, "view"];
}

/** Standard output of a command that must succeed. */
export function run(argv: readonly string[]): string {
  const { exitCode, signalCode, stdout, stderr } = Bun.spawnSync([...argv], { stdio: ["ignore", "pipe", "pipe"] });
  if (exitCode === 0) return stdout.toString();
  const end = signalCode ?? `status ${exitCode}`;
  throw new Error(`${argv.join(" ")} ended with ${end}:\n${stdout.toString()}${stderr.toString()}`);
}
