import type { Config } from "./types.ts";

/**
 * The properties of this config that tsrun does not apply yet, so that the caller can say so: nothing is dropped
 * silently. The list only shrinks. `null` and empty values ask for nothing.
 */
export function pendingProperties({ linux }: Config): string[] {
  const pending: [name: string, value: unknown][] = [
    ["linux.intelRdt", linux?.intelRdt],
    ["linux.netDevices", linux?.netDevices],
    ["linux.memoryPolicy", linux?.memoryPolicy],
  ];
  return pending.filter(([, value]) => !isEmpty(value)).map(([name]) => name);
}

function isEmpty(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return value === undefined || value === null || value === "";
  return Object.keys(value).length === 0;
}
