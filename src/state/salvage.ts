import { readText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { DRAFT, NOTHING_ELSE, STATE } from "./names.ts";
import { parseState } from "./parse-state.ts";
import type { ContainerState } from "./state.ts";

/** What can be saved of a broken container: state.json, or the draft; undefined when neither is whole, or of that `id`. */
export function salvageState(directory: number, id?: string): ContainerState | undefined {
  for (const name of [STATE, DRAFT]) {
    const text = readText(name, directory, NOTHING_ELSE);
    const state = typeof text === "string" ? parseState(text, id) : "";
    if (typeof state !== "string") return name === DRAFT ? { ...state, phase: "creating" } : state;
  }
  return undefined;
}

/** True when create had finished, however broken its state.json is now. */
export function hasFinalState(directory: number): boolean {
  return sys("faccessat2", directory, STATE, 0, 0) === 0;
}
