import { existsSync } from "node:fs";
import { resolve } from "node:path";

/** Each test runs with both; what it sees with runc is the expectation. */
export interface Runtime {
  readonly name: "runc" | "tsrun";
  readonly path: string;
}

/** `RUNTIME=/path/to/another` is tested in the place of bin/tsrun. */
export const TSRUN = resolve(process.env.RUNTIME ?? `${import.meta.dir}/../../bin/tsrun`);
export const RUNC = "/usr/sbin/runc";

export const RUNTIMES: readonly Runtime[] = [
  { name: "runc", path: RUNC },
  { name: "tsrun", path: TSRUN },
];

export function checkRuntimes(): void {
  for (const { path } of RUNTIMES) if (!existsSync(path)) throw new Error(`no ${path}: run make build test-setup`);
}

/** Only cgroup v2 is to be seen; it may be without controllers, as where v1 has them. */
export const V2_ONLY = existsSync("/sys/fs/cgroup/cgroup.procs");

/** For the names of tests. */
export const VIEW = V2_ONLY ? ", cgroup v2" : "";
