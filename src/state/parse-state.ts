import { isDigits } from "../text.ts";
import type { ContainerState } from "./state.ts";

/**
 * The state that `text` holds, or what is wrong with it; with an `id`, also when it is another container's: whoever went
 * by that would kill the other's processes. Fields that are not known are kept.
 */
export function parseState(text: string, id?: string): ContainerState | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return text.trim() === "" ? "the file is empty" : `not JSON: ${error instanceof Error ? error.message : error}`;
  }
  if (!isObject(value)) return "not a JSON object";
  for (const property in EXPECTATIONS) {
    const found = Object.hasOwn(value, property) ? value[property] : undefined;
    const expected = EXPECTATIONS[property as keyof ContainerState]!;
    if (!matches(found, expected)) return `"${property}" should be ${expected}`;
  }
  for (const property in LATER_PROPERTIES) {
    const found = Object.hasOwn(value, property) ? value[property] : undefined;
    const choices = LATER_PROPERTIES[property as keyof ContainerState]!;
    const fits = typeof found === "string" && (choices.length === 0 || choices.includes(found));
    if (found !== undefined && !fits) return `"${property}" should be ${choices.join(" or ") || "a string"}`;
  }
  if (id !== undefined && value.id !== id) return `it is the state of container ${JSON.stringify(value.id)}`;
  // Every property that the type names was looked at.
  return value as unknown as ContainerState;
}

type Expected =
  | "a string"
  | "an integer"
  | "a boolean"
  | "an object of strings"
  | "an array of strings"
  | '"creating" or "created"'
  | "what start needs";

const EXPECTATIONS: { readonly [P in keyof ContainerState]?: Expected } = {
  ociVersion: "a string",
  id: "a string",
  phase: '"creating" or "created"',
  init_process_pid: "an integer",
  init_process_start: "an integer",
  created: "a string",
  bundle: "a string",
  rootfs: "a string",
  owner: "an integer",
  annotations: "an object of strings",
  cgroup_paths: "an object of strings",
  rootless: "a boolean",
  mounted: "an array of strings",
  creator: "an integer",
  start: "what start needs",
};

/** What states of earlier versions do not have: strings, of a few where some are named. */
const LATER_PROPERTIES: { readonly [P in keyof ContainerState]?: readonly string[] } = {
  cgroup_manager: ["cgroupfs", "systemd", "disabled"],
  systemd_unit: [],
  systemd_slice: [],
  systemd_instance: ["system", "user"],
};

function matches(value: unknown, expected: Expected): boolean {
  switch (expected) {
    case "a string":
      return typeof value === "string";
    case "an integer":
      return isInteger(value);
    case "a boolean":
      return typeof value === "boolean";
    case "an object of strings":
      return isObject(value) && Object.values(value).every(isString);
    case "an array of strings":
      return isStrings(value);
    case '"creating" or "created"':
      return value === "creating" || value === "created";
    case "what start needs":
      return isStart(value);
  }
}

/** See StartState; what earlier versions did not have may be absent. */
function isStart(value: unknown): boolean {
  if (!isObject(value) || !isStrings(value.env)) return false;
  const { preserve_fds, agent_socket, no_new_keyring = false, filter, last_capabilities } = value;
  if (!isInteger(preserve_fds) || !isInteger(agent_socket) || typeof no_new_keyring !== "boolean") return false;
  return (filter === undefined || isFilter(filter)) && (last_capabilities === undefined || areSets(last_capabilities));
}

function isFilter(value: unknown): boolean {
  if (!isObject(value)) return false;
  return isInteger(value.flags) && typeof value.notifies === "boolean" && typeof value.is_mute === "boolean";
}

function areSets(value: unknown): boolean {
  if (!isObject(value)) return false;
  return [value.effective, value.permitted, value.inheritable].every((set) => typeof set === "string" && isDigits(set));
}

function isInteger(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isStrings(value: unknown): boolean {
  return Array.isArray(value) && value.every(isString);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}
