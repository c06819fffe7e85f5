import type { Target } from "./property.ts";

/** What can be fuzzed, in the order of the bounded run. Each is loaded when it is chosen. */
const TARGETS = {
  config: async () => (await import("./config-text.ts")).configTexts(),
  bundle: async () => (await import("./config-run.ts")).configRuns(),
  command: async () => (await import("./command-lines.ts")).commandLines(),
  state: async () => (await import("./state-files.ts")).stateFiles(),
  seccomp: async () => (await import("./seccomp.ts")).seccompProfiles(),
  mount: async () => (await import("./mount-options.ts")).mountOptions(),
  name: async () => (await import("./names.ts")).names(),
} satisfies Record<string, () => Promise<Target>>;

type TargetName = keyof typeof TARGETS;

export function targetNames(): TargetName[] {
  return Object.keys(TARGETS) as TargetName[];
}

export function openTarget(name: string): Promise<Target> {
  if (!Object.hasOwn(TARGETS, name)) throw new Error(`targets are ${targetNames().join(", ")}, not ${name}`);
  return TARGETS[name as TargetName]();
}
