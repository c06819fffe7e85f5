import { TsrunError } from "../errors.ts";

/** Who makes the container's cgroup; `disabled`: nobody, the container stays in tsrun's. */
export type CgroupManager = "cgroupfs" | "disabled";

/** The global options that say so. */
export interface CgroupWish {
  readonly systemdCgroup: boolean;
  readonly cgroupManager: CgroupManager | "systemd";
}

export function chooseCgroupManager(wish: CgroupWish): CgroupManager {
  if (!wish.systemdCgroup && wish.cgroupManager !== "systemd") return wish.cgroupManager;
  throw new TsrunError("cannot let systemd make the cgroup: this version of tsrun makes cgroups itself only", {
    code: "ENOTSUP",
    hint: "leave out --systemd-cgroup, and tell the engine to use its cgroupfs driver",
  });
}
