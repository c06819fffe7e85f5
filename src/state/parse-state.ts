import type { ContainerState } from "./state.ts";

/** The state that `text` holds, or what is wrong with it. Fields that are not known are kept. */
export function parseState(text: string): ContainerState | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return text.trim() === "" ? "the file is empty" : `not JSON: ${error instanceof Error ? error.message : error}`;
  }
  if (!isObject(value)) return "not a JSON object";
  for (const [property, expected] of expectations()) {
    const found = Object.hasOwn(value, property) ? value[property] : undefined;
    if (!matches(found, expected)) return `"${property}" should be ${expected}`;
  }
  for (const [property, choices] of laterProperties()) {
    const found = Object.hasOwn(value, property) ? value[property] : undefined;
    const fits = typeof found === "string" && (choices.length === 0 || choices.includes(found));
    if (found !== undefined && !fits) return `"${property}" should be ${choices.join(" or ") || "a string"}`;
  }
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
  | "an object with env, preserve_fds and agent_socket";

function expectations(): [keyof ContainerState, Expected][] {
  return [
    ["ociVersion", "a string"],
    ["id", "a string"],
    ["phase", '"creating" or "created"'],
    ["init_process_pid", "an integer"],
    ["init_process_start", "an integer"],
    ["created", "a string"],
    ["bundle", "a string"],
    ["rootfs", "a string"],
    ["owner", "an integer"],
    ["annotations", "an object of strings"],
    ["cgroup_paths", "an object of strings"],
    ["rootless", "a boolean"],
    ["mounted", "an array of strings"],
    ["creator", "an integer"],
    ["start", "an object with env, preserve_fds and agent_socket"],
  ];
}

/** What states of earlier versions do not have: strings, of a few where some are named. */
function laterProperties(): [keyof ContainerState, string[]][] {
  return [
    ["cgroup_manager", ["cgroupfs", "systemd", "disabled"]],
    ["systemd_unit", []],
    ["systemd_slice", []],
    ["systemd_instance", ["system", "user"]],
  ];
}

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
    case "an object with env, preserve_fds and agent_socket":
      return isObject(value) && isStrings(value.env) && isInteger(value.preserve_fds) && isInteger(value.agent_socket);
  }
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
