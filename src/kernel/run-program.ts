import { errnoNumber } from "../abi/errno.ts";
import type { Arg, Data, Program, Slot, Step, Word } from "../plan/step.ts";
import { childError, stepError } from "../plan/step-error.ts";
import { textOf } from "../text.ts";
import { type RunChild, runChild } from "./child.ts";
import { nanoseconds } from "./clock.ts";
import { addressOf, cString, type Sys, type SysArg } from "./kernel.ts";

/** Told of each step that ran: result is the negative errno when it was tolerated or ended the program. */
export type StepObserver = (step: Step, result: number, startedAt: number) => void;

/**
 * Runs a program in tsrun itself, with the meaning that the agent gives it: results into slots, tolerated errors, jumps.
 * Throws the error of the first step that fails. execve is a child, waited for; it fails when the child does not exit with 0.
 */
export function runProgram(program: Program, sys: Sys, observe?: StepObserver, child: RunChild = runChild): void {
  const memory = newMemory();
  let at = 0;
  while (at < program.steps.length) {
    const step = program.steps[at]!;
    const startedAt = observe === undefined ? 0 : nanoseconds();
    if (step.into?.home !== undefined) materialize(memory, step.into.home);
    const result = step.call === "execve" ? runAsChild(step, child) : runStep(step, step.args, sys, memory);
    observe?.(step, result, startedAt);
    if (step.into !== undefined) store(memory, step.into, result);
    if (memory.hasAddresses) loadAddresses(memory, step.args);
    const to = next(step, result, at);
    if (to === undefined) throw stepError(step, -result, explanation(step, sys, memory));
    at = to;
  }
}

/** Undefined when the step has failed. */
function next(step: Step, result: number, at: number): number | undefined {
  if (result > 0) return step.onPositive?.at ?? at + 1;
  if (result === 0) return step.onZero?.at ?? at + 1;
  return isTolerated(step, -result) ? (step.onTolerated?.at ?? at + 1) : undefined;
}

function isTolerated({ tolerate }: Step, errno: number): boolean {
  return tolerate?.some((name) => errnoNumber(name) === errno) ?? false;
}

function explanation({ explain, ...step }: Step, sys: Sys, memory: Memory): string {
  if (explain === undefined) return "";
  runStep(step, explain.args, sys, memory);
  const log = materialize(memory, explain.log) as Uint8Array;
  const end = log.indexOf(0);
  const lines = textOf(log.subarray(0, end < 0 ? log.length : end)).split("\n");
  return lines
    .filter((line) => line !== "")
    .slice(-LAST_LINES)
    .join("; ");
}

/** Of a log that goes on until something is wrong. */
const LAST_LINES = 3;

function runStep(step: Step, list: readonly Arg[], sys: Sys, memory: Memory): number {
  const a = argument(memory, list, 0);
  const b = argument(memory, list, 1);
  const c = argument(memory, list, 2);
  const d = argument(memory, list, 3);
  const e = argument(memory, list, 4);
  const f = argument(memory, list, 5);
  for (;;) {
    const result = sys(step.call, a, b, c, d, e, f);
    if (step.retry !== true || (result !== -4 && result !== -11)) return result; // EINTR, EAGAIN
  }
}

/** Only newuidmap(1) and its like: a system call of their own would not do, for they have privileges that tsrun has not. */
function runAsChild(step: Step, run: RunChild): number {
  const [path, line] = step.args as [string, Data & { kind: "words of a command" }];
  const { started, status, output } = run(
    path,
    line.words.map((word) => (typeof word === "string" ? word : String(word.value))),
  );
  if (started === 0 && status !== 0) throw childError(step, status, output);
  return started;
}

function argument(memory: Memory, list: readonly Arg[], n: number): SysArg | undefined {
  const arg = n < list.length ? list[n] : undefined;
  return arg !== undefined && isData(arg) ? materialize(memory, arg) : arg;
}

/** Faster to an interpreter than typeof "object". */
function isData(arg: Word): arg is Data | Slot {
  return typeof arg !== "number" && typeof arg !== "string" && typeof arg !== "bigint";
}

/** What steps point to, alive as long as the program runs. */
interface Memory {
  readonly objects: Map<Data, SysArg>;
  readonly homes: Map<Slot, [BigUint64Array, number]>;
  readonly kept: unknown[];
  /** There is data of kind "address". */
  hasAddresses: boolean;
}

function newMemory(): Memory {
  return { objects: new Map(), homes: new Map(), kept: [], hasAddresses: false };
}

function store(memory: Memory, slot: Slot, result: number): void {
  slot.value = result;
  const home = memory.homes.get(slot);
  if (home !== undefined) home[0][home[1]] = BigInt.asUintN(64, BigInt(result));
}

function loadAddresses(memory: Memory, args: readonly Arg[]): void {
  for (const arg of args) if (isData(arg) && arg.kind === "address") load(memory, arg);
}

/** What the kernel wrote through a pointer to slots. */
function load(memory: Memory, data: Data & { kind: "address" }): void {
  const array = memory.objects.get(data) as BigUint64Array;
  for (const [i, slot] of [data.slot, ...(data.rest ?? [])].entries())
    slot.value = Number(BigInt.asIntN(64, array[i]!));
}

function materialize(memory: Memory, data: Data | Slot): SysArg {
  if (data.kind === "slot") {
    if (data.value === undefined) throw new Error(`slot "${data.name}" is used before it is known`);
    return data.value;
  }
  const known = memory.objects.get(data);
  if (known !== undefined) return known;
  const made = make(memory, data);
  memory.objects.set(data, made);
  return made;
}

function make(memory: Memory, data: Data): SysArg {
  switch (data.kind) {
    case "bytes":
      return data.bytes;
    case "space":
      return new Uint8Array(data.size);
    case "text":
      return data.parts.map((part) => (typeof part === "string" ? part : String(materialize(memory, part)))).join("");
    case "strings":
      return pointers(
        memory,
        data.strings.map((text) => text as Word),
      );
    case "words":
      return words(memory, data.words);
    case "pair":
      return half(data.low) | (half(data.high) << 32n);
    case "address":
      memory.hasAddresses = true;
      return new BigUint64Array(1 + (data.rest?.length ?? 0));
    default:
      throw new Error(`data of kind "${data.kind}" is only for the agent`);
  }
}

function half(field: number | Slot): bigint {
  return BigInt.asUintN(32, BigInt(typeof field === "number" ? field : (field.value ?? 0)));
}

function pointers(memory: Memory, list: readonly Word[]): BigUint64Array {
  return words(memory, [...list, 0]);
}

function words(memory: Memory, list: readonly Word[]): BigUint64Array {
  const array = new BigUint64Array(list.length);
  for (let i = 0; i < list.length; i++) {
    const word = list[i]!;
    if (isData(word) && word.kind === "slot") memory.homes.set(word, [array, i]);
    array[i] = BigInt.asUintN(64, wordValue(memory, word));
  }
  return array;
}

function wordValue(memory: Memory, word: Word): bigint {
  if (typeof word === "number" || typeof word === "bigint") return BigInt(word);
  if (isData(word) && word.kind === "slot") return BigInt(word.value ?? 0);
  const made = typeof word === "string" ? cString(word) : materialize(memory, word);
  if (typeof made === "number" || typeof made === "bigint") return BigInt(made);
  const array = typeof made === "string" ? cString(made) : made;
  memory.kept.push(array);
  return BigInt(addressOf(array));
}
