import type { CgroupFacts } from "../host/facts.ts";
import { prepareBus } from "../kernel/sd-bus.ts";
import { variable } from "../kernel/warm-start.ts";
import type { Config } from "../spec/types.ts";
import { deviceModel } from "./device-rules.ts";
import { type CgroupDirectory, cgroupDirectories } from "./paths.ts";
import { isUsable } from "./read-cgroups.ts";
import { resourceFiles } from "./resources.ts";
import { type PlannedScope, planScope, readSystemd, type Systemd } from "./systemd.ts";
import { annotatedProperties } from "./systemd-annotations.ts";
import { connectSystemd, type Instance } from "./systemd-bus.ts";
import { deviceProperties, resourceProperties, scopeProperties } from "./systemd-properties.ts";
import { scopeName } from "./systemd-unit.ts";
import type { UnitProperty } from "./unit-property.ts";

/** Who makes the container's cgroup; which files are in it is another question. */
export interface CgroupManager {
  /** For state.json. `disabled`: nobody, the container stays in tsrun's. */
  readonly name: "cgroupfs" | "systemd" | "disabled";
  /** Where the cgroup is to be. Looks, changes nothing. */
  readonly place: (wanted: WantedCgroup) => CgroupPlace;
}

export interface WantedCgroup {
  readonly config: Config;
  readonly id: string;
  readonly facts: CgroupFacts;
  /** No cgroup is better than no container. */
  readonly mayGoWithout: boolean;
}

export interface CgroupPlace {
  readonly directories: readonly CgroupDirectory[];
  /** The unit that systemd is asked for before anything else is made. */
  readonly scope?: PlannedScope | undefined;
}

/** The global options that say so. */
export interface CgroupWish {
  readonly systemdCgroup: boolean;
  readonly cgroupManager: CgroupManager["name"];
}

/**
 * Whose systemd: the user's for callers without root, and for the root of a user namespace that has a user's session
 * around it. `rootless`: the global option.
 */
export function systemdInstance(rootless: string, euid: number, inUserNamespace: boolean): Instance {
  if (rootless !== "auto") return rootless === "true" ? "user" : "system";
  if (euid !== 0) return "user";
  const hasSession = (variable("DBUS_SESSION_BUS_ADDRESS") ?? variable("XDG_RUNTIME_DIR") ?? "") !== "";
  return inUserNamespace && hasSession ? "user" : "system";
}

/** `instance`: whose systemd. `isTrial`: the plan is only printed, and may be made without a systemd. */
export function chooseCgroupManager(wish: CgroupWish, instance: Instance, isTrial = false): CgroupManager {
  if (wish.systemdCgroup || wish.cgroupManager === "systemd") return systemd(instance, isTrial);
  return wish.cgroupManager === "disabled" ? DISABLED : CGROUPFS;
}

const DISABLED: CgroupManager = { name: "disabled", place: () => ({ directories: [] }) };

const CGROUPFS: CgroupManager = {
  name: "cgroupfs",
  place: ({ config, id, facts, mayGoWithout }) => {
    const cgroupsPath = config.linux?.cgroupsPath;
    const directories = cgroupDirectories(cgroupsPath, id, facts);
    if (!mayGoWithout || facts.mode !== "unified" || directories.every(isUsable)) return { directories };
    const below = cgroupDirectories(cgroupsPath, id, facts, true);
    return { directories: below.every(isUsable) ? below : directories };
  },
};

/** The same path in every hierarchy: systemd makes it in its own, tsrun in those of v1 that systemd leaves alone. */
function systemd(instance: Instance, isTrial: boolean): CgroupManager {
  prepareBus();
  return {
    name: "systemd",
    place: ({ config, id, facts }) => {
      const name = scopeName(config.linux?.cgroupsPath, id, instance === "user");
      const scope = planScope(name, instance, ...askSystemd(instance, isTrial));
      const directories = facts.hierarchies.map((hierarchy) => ({ hierarchy, path: hierarchy.mount + scope.cgroup }));
      return { directories, scope };
    },
  };
}

function askSystemd(instance: Instance, isTrial: boolean): [Systemd, PlannedScope["connection"]] {
  try {
    const connection = connectSystemd(instance);
    return [readSystemd(connection), connection];
  } catch (error) {
    if (!isTrial) throw error;
    return [ASSUMED, undefined];
  }
}

/** For a plan that is printed where there is no systemd: one that knows every property. */
const ASSUMED: Systemd = { version: 257, cgroup: "" };

/**
 * The scope with all its properties: tsrun's own, those for linux.resources, and the annotations' last, which may change
 * them. `cgroups`: the container's cgroups as state.json has them.
 */
export function withProperties(
  scope: PlannedScope,
  { config, id, facts }: Omit<WantedCgroup, "mayGoWithout">,
  cgroups: Readonly<Record<string, string>>,
): PlannedScope {
  const { version } = scope.systemd;
  const resources = config.linux?.resources;
  const properties = new Map<string, UnitProperty>();
  for (const list of [
    scopeProperties(id, scope.slice, facts.mode === "unified", version),
    resources === undefined ? [] : resourceProperties(resourceFiles(resources, cgroups).files, version),
    cgroups.devices === undefined ? [] : deviceProperties(deviceModel(resources?.devices).model, version),
    annotatedProperties(config.annotations),
  ]) {
    for (const each of list) properties.set(each.name, each);
  }
  return { ...scope, properties: [...properties.values()] };
}
