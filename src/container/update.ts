import { type Before, readBefore, restore } from "../cgroup/before.ts";
import { planResources } from "../cgroup/plan-resources.ts";
import { TsrunError } from "../errors.ts";
import { readText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { runProgram } from "../kernel/run-program.ts";
import { program, slotTable } from "../plan/step.ts";
import { parseConfig } from "../spec/load.ts";
import type { Config, Resources } from "../spec/types.ts";
import type { ContainerState } from "../state/state.ts";
import { readSavedConfig, replaceConfig } from "../state/store.ts";
import { type LockedContainer, withLockedContainer } from "./locked.ts";
import { mergeResources, resourcesToWrite } from "./merge-resources.ts";

export type Warn = (message: string) => void;

/** Changes limits of a container: all that `change` says, or nothing. Later commands see them in the saved config. */
export function updateContainer(root: string, id: string, change: Resources, warn: Warn): void {
  withLockedContainer(root, id, checkUpdatable, ({ state, directory }) => {
    const { config } = parseConfig(readSavedConfig(directory), "config.json");
    const current = config.linux?.resources ?? {};
    const merged = mergeResources(current, change);
    checkUsage(state, merged, change);
    const plan = planUpdate(state, resourcesToWrite(current, change), warn);
    const before = readBefore(plan);
    try {
      runProgram(plan, sys);
      saveResources(directory, config, merged);
    } catch (error) {
      throw undone(id, error, before);
    }
  });
}

/** runc's text: engines look for it. */
function checkUpdatable({ status }: LockedContainer): void {
  if (status === "created" || status === "running" || status === "paused") return;
  throw new TsrunError("container not running", {
    code: status === "stopped" ? "ESRCH" : "EINVAL",
    hint: `it is ${status}`,
  });
}

function planUpdate(state: ContainerState, resources: Resources, warn: Warn) {
  const plan = program("update");
  const warnings = planResources(plan, slotTable(), state.cgroup_paths, resources);
  for (const warning of warnings) warn(warning);
  return plan;
}

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

/** Integers that a double does not hold keep their digits. */
function saveResources(directory: number, config: Config, resources: Resources): void {
  const changed = { ...config, linux: { ...config.linux, resources } };
  const digits = (_: string, value: unknown) => (typeof value === "bigint" ? rawJSON(String(value)) : value);
  replaceConfig(directory, JSON.stringify(changed, digits));
}

/** The error, when what was changed before it has been changed back. */
function undone(id: string, error: unknown, before: readonly Before[]): unknown {
  const left = restore(before);
  if (!(error instanceof TsrunError)) return error;
  const rest = left.length === 0 ? "" : `; cannot change back ${left.join(", ")}`;
  const busy = error.details.code === "EBUSY" && error.details.pointer?.startsWith("/linux/resources/memory/");
  const hint = busy ? "the container uses more than that, and cannot be made to use less" : error.details.hint;
  return new TsrunError(`cannot update container "${id}": ${error.message}${rest}`, { ...error.details, hint });
}
