import type { Globals } from "../cli/options.ts";
import { TsrunError } from "../errors.ts";

/** Who makes the container's cgroup; `disabled`: nobody, the container stays in tsrun's. */
export type CgroupManager = "cgroupfs" | "disabled";

export function chooseCgroupManager(globals: Pick<Globals, "systemdCgroup" | "cgroupManager">): CgroupManager {
  if (!globals.systemdCgroup && globals.cgroupManager !== "systemd") return globals.cgroupManager;
  throw new TsrunError("cannot let systemd make the cgroup: this version of tsrun makes cgroups itself only", {
    code: "ENOTSUP",
    hint: "leave out --systemd-cgroup, and tell the engine to use its cgroupfs driver",
  });
}
