import { existsSync } from "node:fs";
import { command } from "./command.ts";

/** Who makes the cgroups of the containers under test: `MANAGER=systemd tests/run.sh …`. */
export const MANAGER = managerOf(process.env.MANAGER);

/** The global options that say so. */
export const MANAGER_FLAGS: readonly string[] = MANAGER === "systemd" ? ["--systemd-cgroup"] : [];

/** A container's linux.cgroupsPath as the manager wants it. */
export function cgroupsPathFor(id: string): string {
  return MANAGER === "systemd" ? `system.slice:tsrun:${id}` : `/${id}`;
}

/** The unit of a container. */
export function scopeOf(id: string): string {
  return `tsrun-${id}.scope`;
}

/** Units that systemd still knows by this mark: the scopes of containers are to be gone with them, failed or not. */
export function unitsOf(mark: string): string[] {
  if (MANAGER !== "systemd") return [];
  const list = command(["systemctl", "list-units", "--all", "--plain", "--no-legend", `*${mark}*`]);
  return list.stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split(" ")[0]!);
}

/** Ends a unit that was left, so that it does not trouble others. */
export function removeUnit(unit: string): void {
  command(["systemctl", "stop", unit]);
  command(["systemctl", "reset-failed", unit]);
}

/** What systemd knows of a unit. */
export function unitProperty(unit: string, name: string): string {
  return command(["systemctl", "show", "--property", name, "--value", unit]).stdout.trim();
}

function managerOf(name: string | undefined): "cgroupfs" | "systemd" {
  if (name === undefined || name === "" || name === "cgroupfs") return "cgroupfs";
  if (name !== "systemd") throw new Error(`MANAGER=${name}: cgroupfs or systemd`);
  if (!existsSync("/run/systemd/system")) throw new Error("MANAGER=systemd: systemd does not run here");
  return name;
}
