import { type Agent, readInAgent, runInAgent } from "../agent/session.ts";
import { planHook } from "../plan/hooks.ts";
import { program, type SlotTable } from "../plan/step.ts";
import type { Hook, HookKind } from "../spec/types.ts";
import { textOf } from "../text.ts";
import { checkHook, OUTPUT_TAIL } from "./run.ts";

/** Runs the hooks of one kind in the container's namespaces, as children of the init. Throws as runHooks does. */
export function runHooksInContainer(
  agent: Agent,
  slots: SlotTable,
  kind: HookKind,
  hooks: readonly Hook[] | undefined,
  state: string,
): void {
  for (const [i, hook] of (hooks ?? []).entries()) {
    const running = program(`${kind} hook #${i}`);
    const result = planHook(running, slots, hook, state, `/hooks/${kind}/${i}`);
    runInAgent(agent, [running], slots);
    checkHook(kind, i, hook, {
      execve: Math.min(0, result.execve.value!),
      timedOut: result.poll.value === 0,
      status: result.status.value! & 0xffff,
      output: () => textOf(readInAgent(agent, slots, result.output, 0).subarray(-OUTPUT_TAIL)),
    });
    const closing = program("close the hook's output");
    closing.steps.push({ call: "close", args: [result.output], what: "close the hook's output" });
    runInAgent(agent, [closing], slots);
  }
}
