/**
 * A start that is over before tsrun is asked for anything. When tsrun is built, it is run until `freeze`, with all of its
 * modules loaded, and its memory is kept in its file; whoever runs tsrun then goes on from there (scripts/program/). What
 * JavaScript knows of its process by itself is that of the build: arguments and environment come from here instead, and
 * nothing else of the process may be looked at before `freeze`. Bun's event loop does not run afterwards, nor may a thread.
 */
import { AT_FREEZE } from "../abi/auxv.ts";
import type { SyscallName } from "../abi/syscalls.ts";
import {
  addressOf,
  auxiliaryValue,
  callFunction,
  cString,
  environmentVariable,
  stringAt,
  sys,
  wordAt,
} from "./kernel.ts";

/** System calls that make a machine, and command lines to be run there; where one of the calls fails, none of them. */
export interface WarmUpPart {
  readonly calls: readonly (readonly [SyscallName, ...(string | number)[]])[];
  readonly lines: readonly (readonly string[])[];
}

/** Where argc is, with argv, envp and the auxiliary vector behind it; undefined in a program that Bun has started. */
let begin: number | undefined;

const lastActions: (() => void)[] = [];

let variables: Record<string, string | undefined> | undefined;

/** True in a program that is to be frozen. */
export function isToFreeze(): boolean {
  return Number(auxiliaryValue(AT_FREEZE)) !== 0;
}

/** Stops. What returns is another process, one that somebody has started to have something done. */
export function freeze(): void {
  rehearsed.length = 0;
  variables = undefined;
  begin = callFunction(Number(auxiliaryValue(AT_FREEZE)));
}

/** What a rehearsal has made up, for as long as it goes on. */
const rehearsed: unknown[] = [];

/** Calls `act` as the process would that has this command line, so that the engine has linked all that it runs. */
export function rehearse(line: readonly string[], act: () => void): void {
  const words = ["tsrun", ...line].map(cString);
  const variable = cString("NAME=value");
  const stack = [words.length, ...words.map(addressOf), 0, addressOf(variable), 0];
  const array = BigUint64Array.from(stack, BigInt);
  rehearsed.push(words, variable, array);
  begin = addressOf(array);
  act();
}

/**
 * Begins anew, through the start of the dynamic loader and Bun, where this process has come without: its libc is the one of
 * the build, and what this machine has may want a newer. Returns where that is not so, or not possible.
 */
export function startCold(): void {
  if (begin === undefined) return;
  for (const action of lastActions) action();
  const variable = cString("BUN_COLD=1");
  const pointers = [addressOf(variable)];
  const envp = begin + 8 * (wordAt(begin) + 2);
  for (let at = envp; pointers.at(-1) !== 0; at += 8) pointers.push(wordAt(at));
  sys("execve", "/proc/self/exe", begin + 8, BigUint64Array.from(pointers, BigInt));
}

/** For what a process that begins anew must find as it was. */
export function beforeColdStart(action: () => void): void {
  lastActions.push(action);
}

/** What follows the program's name on the command line. */
export function programArguments(): string[] {
  return begin === undefined ? process.argv.slice(2) : stringsAt(begin + 8).slice(1);
}

/** One variable of tsrun's environment. */
export function variable(name: string): string | undefined {
  return begin === undefined ? process.env[name] : environmentVariable(name);
}

/** All of them. */
export function environment(): Readonly<Record<string, string | undefined>> {
  if (begin === undefined) return process.env;
  if (variables !== undefined) return variables;
  variables = Object.create(null) as Record<string, string>;
  const argc = wordAt(begin);
  for (const text of stringsAt(begin + 8 * (argc + 2))) {
    const end = text.indexOf("=", 1);
    if (end > 0) variables[text.slice(0, end)] ??= text.slice(end + 1);
  }
  return variables;
}

/** The strings that an array of pointers with a NULL at its end has. */
function stringsAt(address: number): string[] {
  const strings: string[] = [];
  for (let at = address, pointer = wordAt(at); pointer !== 0; pointer = wordAt(at)) {
    strings.push(stringAt(pointer));
    at += 8;
  }
  return strings;
}
