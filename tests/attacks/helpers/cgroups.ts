/** Cgroups that belong to somebody without the host's privileges, and the mounts that show them to a container. */
import { chownSync, existsSync, mkdirSync, readdirSync, rmdirSync } from "node:fs";

/** Where v2 is on the host, if it is anywhere. */
export const V2 = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].find(
  (path) => existsSync(`${path}/cgroup.procs`) && existsSync(`${path}/cgroup.controllers`),
);
export const NO_V2 = V2 === undefined && "this machine has no cgroup v2";

/** Makes one of v2 that belongs to them, as systemd delegates it; `after` takes what removes it. */
export function delegatedCgroup(name: string, uid: number, gid: number, after: (undo: () => void) => void): string {
  const path = `${V2}/${name}`;
  mkdirSync(path);
  after(() => {
    for (const inner of readdirSync(path, { withFileTypes: true }))
      if (inner.isDirectory()) rmdirSync(`${path}/${inner.name}`);
    rmdirSync(path);
  });
  for (const file of ["", "/cgroup.procs", "/cgroup.subtree_control"]) chownSync(`${path}${file}`, uid, gid);
  return path;
}

/** The mounts of `spec --rootless`. */
export const SYS = {
  destination: "/sys",
  type: "none",
  source: "/sys",
  options: ["rbind", "nosuid", "noexec", "nodev", "ro"],
};
export const CGROUP = {
  destination: "/sys/fs/cgroup",
  type: "cgroup",
  source: "cgroup",
  options: ["nosuid", "noexec", "nodev", "relatime", "ro"],
};
