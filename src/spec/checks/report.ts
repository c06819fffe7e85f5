import type { Fault } from "../fault.ts";
import type { Config, NamespaceType } from "../types.ts";

/** What the checks find. */
export interface Report {
  readonly faults: Fault[];
  /** What the caller should know although the container runs. */
  readonly warnings: string[];
}

/** Looks at one rule of a whole config; the name says which. */
export type ConfigCheck = (config: Config, report: Report) => void;

/** `found` is what is there, or the whole sentence when there is nothing to be put in its place. */
export function addFault(report: Report, pointer: string, found: string, expected?: string): void {
  report.faults.push({ pointer, found, expected });
}

/** True when the container has a namespace of its own of that type, new or joined. */
export function hasNamespace(config: Config, type: NamespaceType): boolean {
  return config.linux?.namespaces?.some((namespace) => namespace.type === type) ?? false;
}

export function checkAbsolute(path: string, pointer: string, report: Report): void {
  if (!path.startsWith("/")) addFault(report, pointer, `found ${JSON.stringify(path)}`, "an absolute path");
}

/** Each entry of `list` is new by its `key`. */
export function checkUnique<T>(
  list: readonly T[],
  key: (item: T) => string,
  onRepeat: (at: number, key: string) => void,
) {
  const seen = new Set<string>();
  for (const [at, item] of list.entries()) {
    const name = key(item);
    if (seen.has(name)) onRepeat(at, name);
    seen.add(name);
  }
}

/** `name=value` with a name: the texts are runc's. */
export function checkEnvironment(list: readonly string[] | undefined, pointer: string, report: Report): void {
  for (const [at, entry] of (list ?? []).entries()) {
    const equals = entry.indexOf("=");
    if (equals > 0) continue;
    if (equals === -1) {
      addFault(report, `${pointer}/${at}`, `invalid environment variable: missing '=' in ${JSON.stringify(entry)}`);
    } else addFault(report, `${pointer}/${at}`, "invalid environment variable: name cannot be empty");
  }
}
