import { propertyOf, TsrunError } from "../errors.ts";
import { locate, type Position } from "./json-position.ts";

/** One thing that is wrong with a document, as data. */
export interface Fault {
  /** JSON pointer (RFC 6901) of the property; empty for the document itself. */
  readonly pointer: string;
  /** What is there, or what is wrong with it. */
  readonly found: string;
  /** As it follows "should be". */
  readonly expected?: string | undefined;
  /** What was probably meant. */
  readonly suggestion?: string | undefined;
}

export interface LocatedFault extends Fault {
  readonly line: number;
  readonly column: number;
}

/** An invalid document; `faults` says of each fault what `message` says of all. */
export class InvalidDocument extends TsrunError {
  readonly faults: readonly LocatedFault[];
  constructor(message: string, faults: readonly LocatedFault[]) {
    super(message, { code: "EINVALIDCONFIG", step: "validate", pointer: faults[0]?.pointer || undefined });
    this.faults = faults;
  }
}

/** More than that no one reads, and a hostile file has millions. */
export const MAX_FAULTS = 50;

/**
 * One fault: `invalid config.json:14:17: process.args: found 3 (number), should be an array of strings`. More: a first
 * line with their number, then a line for each.
 */
export function invalidDocument(file: string, text: string, faults: readonly Fault[]): InvalidDocument {
  const located = inOrder(locateFaults(text, faults));
  const lines = located.map((fault) => `${file}:${fault.line}:${fault.column}`);
  const only = located[0];
  if (located.length === 1 && only !== undefined) {
    return new InvalidDocument(`invalid ${lines[0]}: ${faultText(only)}`, located);
  }
  const count = located.length < MAX_FAULTS ? `${located.length} faults` : `${MAX_FAULTS} faults or more`;
  const list = located.map((fault, at) => `\n  ${lines[at]} ${faultText(fault)}`);
  return new InvalidDocument(`invalid ${file}: ${count}${list.join("")}`, located);
}

function inOrder(faults: LocatedFault[]): LocatedFault[] {
  return faults.sort((a, b) => a.line - b.line || a.column - b.column);
}

/** What is missing is reported at the object that lacks it. */
function locateFaults(text: string, faults: readonly Fault[]): LocatedFault[] {
  const pointers = faults.flatMap(({ pointer }) => ancestors(pointer));
  const places = locate(text, pointers);
  return faults.map((fault) => ({ ...fault, ...nearestPlace(fault.pointer, places) }));
}

function nearestPlace(pointer: string, places: ReadonlyMap<string, { value: Position }>): Position {
  for (const candidate of ancestors(pointer)) {
    const place = places.get(candidate);
    if (place !== undefined) return { line: place.value.line, column: place.value.column };
  }
  return { line: 1, column: 1 };
}

/** `/a/b` → `/a/b`, `/a`, ``. */
function ancestors(pointer: string): string[] {
  const list = [pointer];
  for (let end = pointer.lastIndexOf("/"); end !== -1; end = pointer.lastIndexOf("/", end - 1)) {
    list.push(pointer.slice(0, end));
    if (end === 0) break;
  }
  return list;
}

function faultText({ pointer, found, expected, suggestion }: Fault): string {
  const property = pointer === "" ? "" : `${shortened(propertyOf(pointer))}: `;
  const should = expected === undefined ? "" : `, should be ${expected}`;
  const meant = suggestion === undefined ? "" : ` (did you mean ${JSON.stringify(suggestion)}?)`;
  return `${property}${shortened(found)}${should}${meant}`;
}

/** A hostile document has values, and names, of megabytes. */
const LONGEST_PART = 300;

function shortened(text: string): string {
  return text.length <= LONGEST_PART ? text : `${text.slice(0, LONGEST_PART)}…`;
}

const LONGEST_QUOTE = 60;

/** A value as errors show it: `"netwrok"`, `3 (number)`, `an object`. */
export function shown(value: unknown): string {
  if (typeof value === "string") return quoted(value);
  if (typeof value === "number" || typeof value === "bigint") return `${value} (number)`;
  if (typeof value === "boolean") return `${value} (boolean)`;
  if (value === null) return "null";
  if (value === undefined) return "nothing";
  return Array.isArray(value) ? "an array" : "an object";
}

export function quoted(text: string): string {
  return JSON.stringify(text.length > LONGEST_QUOTE ? `${text.slice(0, LONGEST_QUOTE)}…` : text);
}
