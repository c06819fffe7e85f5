import { type Agent, finish, finishExec, send } from "../agent/session.ts";
import type { LastCapabilities } from "../plan/capabilities.ts";
import { planCloseOnExec, planExecve } from "../plan/command.ts";
import { planFilter, planLastCapabilities } from "../plan/seccomp.ts";
import { type Program, program, type Slot, type SlotTable } from "../plan/step.ts";
import type { Filter } from "../seccomp/filter.ts";
import type { Process } from "../spec/types.ts";
import { askForListener, PATIENCE_MS, waitForProcess } from "./seccomp-listener.ts";

/** What is left to do when a process is complete but for its program. */
export interface Execution {
  readonly process: Process;
  /** Complete. */
  readonly env: readonly string[];
  readonly preserveFds: number;
  readonly pointer: string;
  readonly filter: Filter | undefined;
  readonly lastCapabilities: LastCapabilities | undefined;
  /** Gives the listener of the filter, a descriptor in the process, to who decides on its calls; `ask` has it sent. */
  readonly sendListener: (descriptor: number, ask: () => number) => void;
}

export interface LastPrograms {
  /** Up to where the listener has to be handed over; only for filters that have one. */
  readonly filter: Program | undefined;
  readonly exec: Program;
  readonly listener: Slot | undefined;
}

/**
 * No more than two steps come after the filter: capset, when no_new_privs did not allow to do without CAP_SYS_ADMIN, and
 * execve. With a listener the process also writes that it has one, and waits for tsrun to have passed it on: at execve it
 * is closed, and until somebody has it every call that it decides on waits.
 */
export function lastPrograms(slots: SlotTable, execution: Omit<Execution, "sendListener">): LastPrograms {
  const { process, env, preserveFds, pointer, filter, lastCapabilities } = execution;
  const exec = program("exec", { silent: true });
  const first = filter?.notifies === true ? program("filter") : undefined;
  planCloseOnExec(first ?? exec, preserveFds);
  const listener = filter === undefined ? undefined : planFilter(first ?? exec, slots, filter);
  if (lastCapabilities !== undefined) planLastCapabilities(exec, lastCapabilities, pointer);
  planExecve(exec, process, env, pointer, filter?.isMute);
  return { filter: first, exec, listener };
}

/** Has the process execute its program. When this returns, it runs. */
export function execute(agent: Agent, slots: SlotTable, execution: Execution): void {
  const { filter, exec, listener } = lastPrograms(slots, execution);
  if (filter === undefined) {
    finishExec(send(agent, [exec], slots));
    return;
  }
  // Not even the time is asked for in between: the filter may have something against it.
  finish(send(agent, [filter], slots, false));
  const theirs = listener!.value!;
  execution.sendListener(theirs, () => askForListener(agent, slots, theirs));
  const sent = send(agent, [exec], slots, false);
  waitForProcess(agent, PATIENCE_MS, "begun its program", "it has to answer for execve");
  finishExec(sent);
}
