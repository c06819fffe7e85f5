import type { SyscallName } from "../abi/syscalls.ts";
import { propertyOf } from "../errors.ts";
import { printArgs, slotName } from "./print-args.ts";
import type { Label, Program, Slot, Step } from "./step.ts";

/** A step in words: what `tsrun plan --json` prints. */
export interface PrintedStep {
  /** Place in the program, which is what jumps name. */
  readonly index: number;
  readonly call: SyscallName;
  /** In strace's syntax; what is known only when it runs as the name of the step's result in angle brackets. */
  readonly args: readonly string[];
  /** The whole line in strace's syntax. */
  readonly text: string;
  /** What is done, as it follows "cannot". */
  readonly what: string;
  /** JSON pointer of the config property that it serves; empty for what every container needs. */
  readonly pointer: string;
  /** Name of the result. */
  readonly into?: string;
  /** Errors that do not stop the program. */
  readonly tolerate: readonly string[];
  /** Index of the next step in this program by what the call returns; the next one where absent. */
  readonly jumps: { readonly positive?: number; readonly zero?: number; readonly tolerated?: number };
  readonly retry: boolean;
}

export function printProgram(program: Program): PrintedStep[] {
  return program.steps.map(printStep);
}

/** Gives slots of the same name numbers, so that each name means one result. Only for plans that will not be run. */
export function nameApart(programs: readonly Program[]): void {
  const names = new Map<string, Slot[]>();
  for (const slot of programs.flatMap(({ steps }) => steps.flatMap(slotsWritten))) {
    const alike = names.get(slot.name) ?? [];
    if (!alike.includes(slot)) names.set(slot.name, [...alike, slot]);
  }
  for (const alike of names.values()) {
    for (const [i, slot] of alike.entries()) if (i > 0) Object.assign(slot, { name: `${slot.name} #${i + 1}` });
  }
}

function slotsWritten({ into, args }: Step): Slot[] {
  const written = args.flatMap((arg) =>
    typeof arg === "object" && arg.kind === "address" ? [arg.slot, ...(arg.rest ?? [])] : [],
  );
  return into === undefined ? written : [into, ...written];
}

export function printStep(step: Step, index: number): PrintedStep {
  const args = printArgs(step.call, step.args);
  const result = step.into === undefined ? "" : ` = ${slotName(step.into)}`;
  return {
    index,
    call: step.call,
    args,
    text: `${step.call}(${args.join(", ")})${result}`,
    what: step.what,
    pointer: step.pointer ?? "",
    ...(step.into === undefined ? {} : { into: step.into.name }),
    tolerate: step.tolerate ?? [],
    jumps: {
      ...jump("positive", step.onPositive),
      ...jump("zero", step.onZero),
      ...jump("tolerated", step.onTolerated),
    },
    retry: step.retry ?? false,
  };
}

function jump(name: string, label: Label | undefined): Record<string, number> {
  return label === undefined ? {} : { [name]: label.at };
}

/** A line of text: the number that jumps name, the call, and in a comment why it is made and what may happen. */
export function stepLine(step: PrintedStep): string {
  const property = step.pointer === "" ? "" : `${propertyOf(step.pointer)}: `;
  const reason = `${property}${step.what}${outcome(step)}`.replaceAll("*/", "* /");
  return `${String(step.index).padStart(4)} ${step.text}  /* ${reason} */`;
}

/** `; ENOENT → 12, ≥ 0 → 20`. */
function outcome({ tolerate, jumps }: PrintedStep): string {
  const { positive, zero, tolerated } = jumps;
  const parts: string[] = [];
  if (tolerate.length > 0)
    parts.push(`${tolerate.join(" ")} ${tolerated === undefined ? "is fine" : `→ ${tolerated}`}`);
  if (positive !== undefined && positive === zero) parts.push(`≥ 0 → ${positive}`);
  else {
    if (positive !== undefined) parts.push(`> 0 → ${positive}`);
    if (zero !== undefined) parts.push(`0 → ${zero}`);
  }
  return parts.map((part) => `; ${part}`).join("");
}
