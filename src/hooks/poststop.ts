import { errorMessage } from "../errors.ts";
import type { Hooks } from "../spec/types.ts";
import { checkHook, runHook } from "./run.ts";

/** Hooks after the container is gone: a failure is a warning, and the next ones run (runtime.md, lifecycle step 13). */
export function runPoststopHooks(hooks: Hooks | undefined, state: string, warn: (message: string) => void): void {
  for (const [i, hook] of (hooks?.poststop ?? []).entries()) {
    try {
      checkHook("poststop", i, hook, runHook(hook, state));
    } catch (error) {
      warn(errorMessage(error));
    }
  }
}
