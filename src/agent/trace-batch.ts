import { nanoseconds } from "../kernel/clock.ts";
import { addStep, fromAgentClock, nameProcess } from "../kernel/trace.ts";
import type { Label, Step } from "../plan/step.ts";
import type { Batch } from "./records.ts";
import type { Agent } from "./session.ts";

/** Which process is at the other end of a socket. The agent of a socket changes when it clones. */
const processes = new Map<number, number>();

function processAt({ socket, pid }: Agent): number {
  return processes.get(socket) ?? pid;
}

interface Executed {
  readonly index: number;
  readonly start: number;
}

/**
 * Makes spans of the steps that ran, from the times at which they began: two words each, seconds and nanoseconds, and
 * one more for the end. What did not run has an older time, or none: the memory is that of earlier batches.
 */
export function traceBatch(batch: Batch, times: DataView, agent: Agent, sentAt: number, receivedAt: number): void {
  const at = (i: number) => fromAgentClock(times.getBigUint64(16 * i, true), times.getBigUint64(16 * i + 8, true));
  const known = Math.min(batch.steps.length, Math.floor(times.byteLength / 16));
  const executed: Executed[] = [];
  for (let index = 0; index < known; index++) {
    const start = at(index);
    if (start >= sentAt) executed.push({ index, start });
  }
  const hasEnd = times.byteLength >= 16 * (batch.steps.length + 1);
  const end = hasEnd ? at(batch.steps.length) : 0;
  const pidOf = processesOf(batch.steps, agent);
  for (const [i, { index, start }] of executed.entries()) {
    const next = executed[i + 1]?.start ?? (end >= sentAt ? end : receivedAt);
    addStep(pidOf(index), batch.steps[index]!, start, next);
  }
}

/**
 * Behind a clone where the child goes on (the container's init), the child is the agent; where it comes back (a hook),
 * only what lies between is the child's.
 */
function processesOf(steps: readonly Step[], agent: Agent): (index: number) => number {
  const before = processAt(agent);
  nameProcess(before, processes.get(agent.socket) === undefined ? "agent" : "container");
  const clone = steps.findIndex(({ call }) => call === "clone3");
  const child = steps[clone]?.into?.value;
  if (child === undefined || child <= 0) return () => before;
  const { onZero, onPositive } = steps[clone]!;
  if (onZero !== undefined) {
    processes.set(agent.socket, child);
    nameProcess(child, "container");
    return (index) => (index > clone ? child : before);
  }
  nameProcess(child, "hook");
  return (index) => (index > clone && isBefore(steps, index, onPositive) ? child : before);
}

/** Labels count in their program; a hook's program has its batch for itself. */
function isBefore(steps: readonly Step[], index: number, label: Label | undefined): boolean {
  return index < (label?.at ?? steps.length);
}

/** The steps that ran when the agent could no more be asked: it has become the program. */
export function traceLast(batch: Batch, from: number, agent: Agent, start: number): void {
  const pid = processAt(agent);
  const steps = batch.steps[from]?.call === "execve" ? batch.steps.slice(from, from + 1) : batch.steps.slice(from);
  const end = nanoseconds();
  for (const [i, step] of steps.entries()) addStep(pid, step, start, i === steps.length - 1 ? end : start);
}
