import { type Before, readBefore, restore, restoredFiles } from "../cgroup/before.ts";
import { opensMeanwhile } from "../cgroup/device-list.ts";
import { canRestrictDevices, deviceModel } from "../cgroup/device-rules.ts";
import { planDeviceRules } from "../cgroup/plan-device-rules.ts";
import { planResources } from "../cgroup/plan-resources.ts";
import { readDeviceCgroup } from "../cgroup/read-device-cgroup.ts";
import { type CgroupPaths, type ResourceFile, resourceFiles } from "../cgroup/resources.ts";
import { setScopeProperties } from "../cgroup/systemd.ts";
import { deviceProperties, resourceProperties } from "../cgroup/systemd-properties.ts";
import { property } from "../cgroup/unit-property.ts";
import { errorMessage, TsrunError } from "../errors.ts";
import { readFacts } from "../host/read-facts.ts";
import { readText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { runProgram } from "../kernel/run-program.ts";
import { stage, stepObserver } from "../kernel/trace.ts";
import { type Program, program, type SlotTable, slotTable } from "../plan/step.ts";
import { parseConfig, parseSavedResources } from "../spec/load.ts";
import type { Config, Resources } from "../spec/types.ts";
import type { ContainerState } from "../state/state.ts";
import { readSavedConfig, replaceConfig } from "../state/store.ts";
import { type LockedContainer, withLockedContainer } from "./locked.ts";
import { mergeResources, resourcesToWrite, sameRules } from "./merge-resources.ts";
import { scopeOf } from "./scope.ts";

export type Warn = (message: string) => void;

export interface Update {
  readonly change: Resources;
  /** Device rules too, where `change` has any. */
  readonly replacesDevices: boolean;
}

/** Changes limits of a container: all that the update says, or nothing. Later commands see them in the saved config. */
export function updateContainer(root: string, id: string, update: Update, warn: Warn): void {
  withLockedContainer(root, id, checkUpdatable, ({ state, status, directory }) => {
    const saved = readSavedConfig(directory);
    const current = parseSavedResources(saved, update.change.devices !== undefined);
    const change = withoutDevices(update, current, warn);
    const merged = mergeResources(current, change);
    checkUsage(state, merged, change);
    const wanted = resourcesToWrite(merged, change);
    if (wanted.devices !== undefined && status === "running") checkDevices(state, wanted.devices, current.devices);
    stage("plan");
    const plan = planUpdate(state, wanted, current.devices, warn);
    const before = readBefore(plan);
    try {
      stage("write");
      setProperties(state, () => resourceFiles(wanted, state.cgroup_paths).files, wanted.devices);
      runProgram(plan, sys, stepObserver());
      stage("save");
      // Kubernetes asks for the same every ten seconds.
      if (jsonOf(merged) !== jsonOf(current)) saveResources(directory, saved, merged);
    } catch (error) {
      throw undone(state, error, before, wanted.devices === undefined ? undefined : (current.devices ?? []), wanted);
    }
  });
}

/**
 * containerd repeats the device rules that it knows in every update that Kubernetes asks for. Those in force may be
 * others, or have more in them: vendors' hooks and runtimes let devices in (NVIDIA's containers lost theirs to updates of
 * other limits). So they change only when the caller says that this is meant.
 */
function withoutDevices({ change, replacesDevices }: Update, current: Resources, warn: Warn): Resources {
  const { devices, ...others } = change;
  if (devices === undefined || replacesDevices) return change;
  if (!sameRules(devices, current.devices ?? []))
    warn("linux.resources.devices is left as it is: update changes device rules only with --replace-devices");
  return others;
}

/** runc's text: engines look for it. */
function checkUpdatable({ status }: LockedContainer): void {
  if (status === "created" || status === "running" || status === "paused") return;
  const code = status === "stopped" ? "ESRCH" : "EINVAL";
  throw new TsrunError("container not running", { code, hint: `it is ${status}` });
}

function planUpdate(
  { cgroup_paths: cgroups }: ContainerState,
  resources: Resources,
  told: Resources["devices"],
  warn: Warn,
): Program {
  const plan = program("update");
  const slots = slotTable();
  for (const warning of planResources(plan, slots, cgroups, resources)) warn(warning);
  if (resources.devices !== undefined) planDevices(plan, slots, cgroups, { rules: resources.devices, told }, warn);
  return plan;
}

type Devices = NonNullable<Resources["devices"]>;

/** On v1 the processes of a running container would find everything open for a moment. */
function checkDevices({ cgroup_paths: cgroups }: ContainerState, rules: Devices, told: Resources["devices"]): void {
  const cgroup = readDeviceCgroup(cgroups, deviceModel(told).model);
  if (cgroup?.version !== 1 || !opensMeanwhile(cgroup.current, deviceModel(rules).model)) return;
  const what = "all devices would be open for a moment between a list of allowed ones and one of denied ones";
  const hint = "pause the container for the time of the update";
  throw new TsrunError(`cannot replace device rules: ${what}`, { code: "EBUSY", hint });
}

/** `told`: the rules so far. */
function planDevices(
  plan: Program,
  slots: SlotTable,
  cgroups: CgroupPaths,
  { rules, told }: { readonly rules: Devices; readonly told: Resources["devices"] },
  warn: Warn,
): void {
  const cgroup = canRestrictDevices(readFacts()) ? readDeviceCgroup(cgroups, deviceModel(told).model) : undefined;
  if (cgroup === undefined) {
    warn(
      "linux.resources.devices has no effect: tsrun may not restrict devices here, or there is no cgroup to do it in",
    );
    return;
  }
  const { model, warnings } = deviceModel(rules);
  for (const warning of warnings) warn(warning);
  planDeviceRules({ prepare: plan, restrict: plan, slots }, cgroup, model);
}

/**
 * First of all: systemd writes files itself, and the error of a value that is refused is to be the file's. Of devices it
 * has rules where v1 has (see choose.ts); its list of them only grows unless it is emptied.
 */
function setProperties(state: ContainerState, files: () => readonly SetFile[], devices: Devices | undefined): void {
  const scope = scopeOf(state);
  if (scope === undefined) return;
  const model = devices === undefined || !("devices" in state.cgroup_paths) ? undefined : deviceModel(devices).model;
  setScopeProperties(scope, (version) => [
    ...resourceProperties(files(), version),
    ...(model === undefined ? [] : [property("DeviceAllow", "a(ss)", []), ...deviceProperties(model, version)]),
  ]);
}

type SetFile = Pick<ResourceFile, "file" | "value" | "otherwise">;

/** The texts are runc's. What cannot be read is not in the way of an update. */
function checkUsage({ cgroup_paths }: ContainerState, { memory }: Resources, change: Resources): void {
  if (memory?.checkBeforeUpdate !== true) return;
  const paths = new Map(Object.entries(cgroup_paths));
  const v1 = paths.get("memory");
  const file = v1 === undefined ? `${paths.get("")}/memory.current` : `${v1}/memory.usage_in_bytes`;
  const text = readText(file);
  if (typeof text === "number") return;
  const usage = BigInt(text.trim());
  for (const [name, what] of [
    ["swap", "memory+swap"],
    ["limit", "memory"],
  ] as const) {
    const limit = change.memory?.[name];
    if (limit === undefined || Number(limit) <= 0 || BigInt(limit) > usage) continue;
    const pointer = `/linux/resources/memory/${name}`;
    const message = `rejecting ${what} limit ${limit} <= usage ${usage} (linux.resources.memory.${name})`;
    throw new TsrunError(message, { code: "EBUSY", pointer });
  }
}

/** TypeScript does not know it yet (ECMAScript proposal "JSON.parse source text access"). */
const { rawJSON } = JSON as JSON & { readonly rawJSON: (text: string) => unknown };

/** `limits`: all but the device rules, or with them. */
function saveResources(directory: number, saved: string, limits: Resources): void {
  const { config } = parseConfig(saved, "config.json");
  const devices = config.linux?.resources?.devices;
  const resources = devices === undefined ? limits : { devices, ...limits };
  replaceConfig(directory, jsonOf({ ...config, linux: { ...config.linux, resources } }));
}

/** Integers that a double does not hold keep their digits. A replacer is called for every value, and few documents need it. */
function jsonOf(document: Config | Resources): string {
  const digits = (_: string, value: unknown) => (typeof value === "bigint" ? rawJSON(String(value)) : value);
  try {
    return JSON.stringify(document);
  } catch {
    return JSON.stringify(document, digits);
  }
}

/** The error, when what was changed before it has been changed back. `devices`: the old rules, where new ones were asked for. */
function undone(
  state: ContainerState,
  error: unknown,
  before: readonly Before[],
  devices: Devices | undefined,
  change: Resources,
): unknown {
  const problems: string[] = [];
  const attempt = (action: () => void) => {
    try {
      action();
    } catch (failure) {
      problems.push(errorMessage(failure));
    }
  };
  attempt(() => setProperties(state, () => restoredFiles(before), devices));
  problems.push(...restore(before).map((path) => `cannot change back "${path}"`));
  if (devices !== undefined) attempt(() => restoreDevices(state.cgroup_paths, devices, change.devices));
  if (!(error instanceof TsrunError)) return error;
  const { code, pointer, hint } = error.details;
  const isTooLittle = code === "EBUSY" && pointer === "/linux/resources/memory/limit";
  const what = [`cannot update container "${state.id}": ${error.message}`, ...problems].join("; ");
  return new TsrunError(what, { ...error.details, hint: isTooLittle ? TOO_LITTLE : hint });
}

const TOO_LITTLE = "the container uses more than that, and cannot be made to use less";

function restoreDevices(cgroups: CgroupPaths, rules: Devices, told: Resources["devices"]): void {
  const plan = program("restore devices");
  planDevices(plan, slotTable(), cgroups, { rules, told }, () => {});
  runProgram(plan, sys);
}
