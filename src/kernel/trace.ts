/**
 * What --trace shows: stages of tsrun, one after another, and steps, tsrun's own and the agent's. Until `beginTrace`
 * nothing is kept and nothing is made, so that a command without --trace pays for a comparison here and there.
 */
import { CLOCK_TAI, CLOCK_THREAD_CPUTIME_ID } from "../abi/time.ts";
import type { Step } from "../plan/step.ts";
import { nanoseconds, readClock } from "./clock.ts";
import { sys } from "./kernel.ts";
import type { StepObserver } from "./run-program.ts";

export interface Span {
  readonly name: string;
  readonly kind: "stage" | "step";
  readonly pid: number;
  /** As nanoseconds() counts. */
  readonly start: number;
  readonly end: number;
  /** Nanoseconds of processor time that a stage took; the command line is in that of the start. */
  readonly cpu?: number;
  readonly what?: string;
  readonly pointer?: string;
  /** Negative errno; absent where nobody has looked. */
  readonly result?: number;
}

export interface Trace {
  readonly spans: Span[];
  readonly processes: Map<number, string>;
  /** CLOCK_TAI when nanoseconds() was 0. The agent tells time by it: a time namespace shifts CLOCK_MONOTONIC. */
  readonly origin: bigint;
  readonly pid: number;
}

let trace: Trace | undefined;
let openStage: { name: string; start: number; cpu: number } | undefined;
let startedAt = 0;

export function isTracing(): boolean {
  return trace !== undefined;
}

/** tsrun's own code begins to run. */
export function markStart(): void {
  startedAt = nanoseconds();
}

/**
 * What came before is two stages: the start of the program and the command line. When the process began is not to be
 * had, but the processor time that its only busy thread has used since says that it was no later.
 */
export function beginTrace(): void {
  const used = Number(readClock(CLOCK_THREAD_CPUTIME_ID));
  const tai = readClock(CLOCK_TAI);
  const now = nanoseconds();
  const pid = sys("getpid");
  trace = { spans: [], processes: new Map([[pid, "tsrun"]]), origin: tai - BigInt(Math.round(now)), pid };
  openStage = { name: "start tsrun", start: Math.min(startedAt, now - used), cpu: 0 };
  endStage(startedAt, used);
  openStage = { name: "read the command line", start: startedAt, cpu: used };
}

/** From here on tsrun does `name`; ends the stage before. */
export function stage(name: string): void {
  if (trace === undefined) return;
  const now = nanoseconds();
  const used = Number(readClock(CLOCK_THREAD_CPUTIME_ID));
  endStage(now, used);
  openStage = { name, start: now, cpu: used };
}

function endStage(now: number, used: number): void {
  if (openStage === undefined || trace === undefined) return;
  const { name, start, cpu } = openStage;
  trace.spans.push({ name, kind: "stage", pid: trace.pid, start, end: now, cpu: used - cpu });
  openStage = undefined;
}

/** For runProgram: makes a span of each step that tsrun runs itself. */
export function stepObserver(): StepObserver | undefined {
  return trace === undefined ? undefined : observe;
}

function observe(step: Step, result: number, startedAt: number): void {
  addStep(trace!.pid, step, startedAt, nanoseconds(), result);
}

export function addStep(pid: number, step: Step, start: number, end: number, result?: number): void {
  trace?.spans.push({
    name: step.call,
    kind: "step",
    pid,
    start,
    end,
    what: step.what,
    ...(step.pointer === undefined ? {} : { pointer: step.pointer }),
    ...(result === undefined ? {} : { result }),
  });
}

export function nameProcess(pid: number, name: string): void {
  trace?.processes.set(pid, name);
}

/** A time of CLOCK_TAI on Bun's clock. */
export function fromAgentClock(seconds: bigint, nanoseconds: bigint): number {
  return Number(seconds * 1_000_000_000n + nanoseconds - trace!.origin);
}

/** Ends the last stage; undefined when nothing was traced. */
export function endTrace(): Trace | undefined {
  if (trace !== undefined) endStage(nanoseconds(), Number(readClock(CLOCK_THREAD_CPUTIME_ID)));
  return trace;
}
