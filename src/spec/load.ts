/** Reads config.json and its like: text in, checked document and warnings out. Pure, and on the way of every command. */
import { propertyOf, type TsrunError } from "../errors.ts";
import type { Report } from "./checks/report.ts";
import { checkConfig, checkProcess, checkResourcesDocument } from "./checks.ts";
import { type Fault, InvalidDocument, invalidDocument, MAX_FAULTS, quoted, shown } from "./fault.ts";
import { isConfig, isProcess, isResources } from "./generated/fast.js";
import { reporters } from "./generated/faults.js";
import { locate, syntaxFault } from "./json-position.ts";
import { suggestion } from "./suggest.ts";
import type { Config, Process, Resources } from "./types.ts";
import type { FastCheck, Listener, Reporter } from "./validator.ts";

/** A kind of document: how it is checked for its shape, and for its sense. */
interface DocumentKind<T> {
  readonly isValid: FastCheck;
  /** Loaded only for a document that the fast check refuses. */
  readonly reportTo: () => Reporter;
  /** `tolerant`: the shape is wrong, look at what can be looked at. */
  readonly check: (document: T, tolerant: boolean) => Report;
}

/** `file` is how messages call the text. @throws InvalidDocument with every fault. */
export function parseConfig(text: string, file: string): { config: Config; warnings: string[] } {
  const kind = { isValid: isConfig, reportTo: () => reporters().reportConfig, check: checkConfig };
  const { document, warnings } = parseDocument<Config>(text, file, kind);
  return { config: document, warnings };
}

/**
 * The resources in a configuration that was checked when it was saved: only their shape, and what depends on that, is
 * looked at again. Device rules, of which there are dozens, for those who say so; the others get none.
 */
export function parseSavedResources(text: string, withRules: boolean): Resources {
  const resources = resourcesIn(parseJson(text, "config.json") as Config | null, withRules);
  return isResources(resources) ? resources : resourcesIn(parseConfig(text, "config.json").config, withRules);
}

function resourcesIn(config: Config | null, withRules: boolean): Resources {
  const { devices, ...limits } = config?.linux?.resources ?? {};
  return withRules && devices !== undefined ? { ...limits, devices } : limits;
}

/** The file of `exec --process`. @throws InvalidDocument with every fault. */
export function parseProcess(text: string, file: string): { process: Process; warnings: string[] } {
  const kind = { isValid: isProcess, reportTo: () => reporters().reportProcess, check: checkProcess };
  const { document, warnings } = parseDocument<Process>(text, file, kind);
  return { process: document, warnings };
}

/** The file of `update --resources`. @throws InvalidDocument with every fault. */
export function parseResources(text: string, file: string): { resources: Resources; warnings: string[] } {
  const { document, warnings } = parseDocument<Resources>(text, file, {
    isValid: isResources,
    reportTo: () => reporters().reportResources,
    check: checkResourcesDocument,
  });
  return { resources: document, warnings };
}

/** A config.json that an engine writes has some 10 kB. The limit keeps a hostile one from taking the host's memory. */
const MAX_LENGTH = 32 * 1024 * 1024;

function parseDocument<T>(text: string, file: string, kind: DocumentKind<T>): { document: T; warnings: string[] } {
  if (text.length > MAX_LENGTH) throw tooLong(text, file);
  let value = parseJson(text, file);
  let valid = kind.isValid(value);
  if (!valid && MANY_DIGITS.test(text)) {
    value = parseJson(text, file, exactInteger);
    valid = kind.isValid(value);
  }
  if (!valid) return parseDoubtful(text, file, value, kind);
  const { faults, warnings } = kind.check(value as T, false);
  if (text.includes(ESCAPED_NUL)) faults.push(...nulFaults(value));
  if (faults.length > 0) throw invalidDocument(file, text, faults);
  return { document: value as T, warnings };
}

function tooLong(text: string, file: string): TsrunError {
  const fault = {
    pointer: "",
    found: `${text.length} characters`,
    expected: `at most ${MAX_LENGTH}`,
    line: 1,
    column: 1,
  };
  return new InvalidDocument(`invalid ${file}: found ${fault.found}, should be ${fault.expected}`, [fault]);
}

// --- JSON -------------------------------------------------------------------------------------------------------------

/**
 * Where an integer could be that a double does not hold. The fast check refuses such a one, and the text is read again in
 * the slow way that keeps the digits.
 */
const MANY_DIGITS = /[\s:,[]-?\d{16}/;

function parseJson(text: string, file: string, reviver?: typeof exactInteger): unknown {
  try {
    return JSON.parse(text, reviver);
  } catch (error) {
    throw notJson(text, file, error);
  }
}

function exactInteger(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
  const source = context?.source ?? "";
  return /^-?\d+$/.test(source) ? BigInt(source) : value;
}

function notJson(text: string, file: string, error: unknown): InvalidDocument {
  const stop = syntaxFault(text);
  if (stop === undefined) {
    // JSON it is, but the engine gave up: only nesting does that.
    const fault = { pointer: "", found: `cannot be read (${String(error)})`, line: 1, column: 1 };
    return new InvalidDocument(`invalid ${file}: nested too deeply`, [{ ...fault, expected: "nested less deeply" }]);
  }
  const fault = { ...stop, pointer: "", found: `not JSON: found ${stop.found}` };
  return new InvalidDocument(
    `invalid ${file}:${stop.line}:${stop.column}: ${fault.found}, should be ${stop.expected}`,
    [fault],
  );
}

// --- what the fast check refused --------------------------------------------------------------------------------------

function parseDoubtful<T>(text: string, file: string, value: unknown, kind: DocumentKind<T>) {
  const document = text.includes("null") ? withoutNulls(value) : value;
  const { faults, unknown } = inspect(document, kind.reportTo());
  const isObject = typeof document === "object" && document !== null;
  const sense: Report = isObject ? kind.check(document as T, faults.length > 0) : { faults: [], warnings: [] };
  if (text.includes(ESCAPED_NUL)) sense.faults.push(...nulFaults(document));
  const all = [...faults, ...sense.faults.filter((fault) => !faults.some((other) => overlap(fault, other)))];
  if (all.length > 0) throw invalidDocument(file, text, all.slice(0, MAX_FAULTS));
  return { document: document as T, warnings: [...misspellings(text, file, unknown), ...sense.warnings] };
}

/** Go reads `null` as if the property were absent, and so do engines write it. */
function withoutNulls(value: unknown): unknown {
  const open = [value];
  while (open.length > 0) {
    const next = open.pop();
    if (typeof next !== "object" || next === null) continue;
    const container = next as Record<string, unknown>;
    for (const key of Array.isArray(next) ? next.keys() : Object.keys(container)) {
      if (container[key] !== null) open.push(container[key]);
      else if (!Array.isArray(next)) delete container[key];
    }
  }
  return value;
}

interface UnknownProperty {
  readonly pointer: string;
  readonly name: string;
  readonly meant: string;
}

/** Ends the validator's walk when enough has been found. */
const ENOUGH = Symbol("enough");

function inspect(document: unknown, reportTo: Reporter): { faults: Fault[]; unknown: UnknownProperty[] } {
  const faults: Fault[] = [];
  const unknown: UnknownProperty[] = [];
  const add = (fault: Fault) => {
    faults.push(fault);
    if (faults.length >= MAX_FAULTS) throw ENOUGH;
  };
  const listener: Listener = {
    wrong: (pointer, expected, oneOf) => add(wrongFault(document, pointer, expected, oneOf)),
    missing: (pointer, name, expected) => add(missingFault(document, pointer, name, expected)),
    unknown(pointer, name, known) {
      const meant = unknown.length < MAX_FAULTS ? suggestion(name, known) : undefined;
      if (meant !== undefined) unknown.push({ pointer, name, meant });
    },
  };
  try {
    reportTo.call(listener, document);
  } catch (error) {
    if (error !== ENOUGH) throw error;
  }
  return { faults, unknown };
}

function wrongFault(document: unknown, pointer: string, expected: string, oneOf?: readonly string[]): Fault {
  const value = valueAt(document, pointer);
  const meant = oneOf !== undefined && typeof value === "string" ? suggestion(value, oneOf) : undefined;
  return { pointer, found: `found ${shown(value)}`, expected, suggestion: meant };
}

/** Engines look for these texts of runc when the process lacks what it needs. */
function missingFault(document: unknown, pointer: string, name: string, expected: string): Fault {
  const texts = new Map([
    ["cwd", "Cwd property must not be empty"],
    ["args", "args must not be empty"],
  ]);
  const parent = valueAt(document, pointer);
  const names = typeof parent === "object" && parent !== null ? Object.keys(parent) : [];
  const instead = names.find((other) => suggestion(other, [name]) !== undefined);
  const found = `${texts.get(name) ?? "missing"}${instead === undefined ? "" : `, there is ${quoted(instead)}`}`;
  return { pointer: `${pointer}/${name}`, found, expected };
}

function valueAt(document: unknown, pointer: string): unknown {
  let value = document;
  for (const part of pointer.split("/").slice(1)) {
    const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

/** The only way to write a NUL in JSON. */
const ESCAPED_NUL = "\\u0000";

/** A NUL byte ends a string for the kernel: what comes after it would silently be lost. Annotations stay with engines. */
function nulFaults(document: unknown): Fault[] {
  const faults: Fault[] = [];
  const open: [pointer: string, value: unknown][] = [["", document]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [pointer, value] = next;
    if (typeof value === "string" && value.includes("\0")) {
      faults.push({ pointer, found: "contains nul byte (\\x00)", expected: "text without it" });
    }
    if (typeof value !== "object" || value === null || pointer === "/annotations") continue;
    for (const [key, child] of Object.entries(value)) open.push([`${pointer}/${escapedKey(key)}`, child]);
  }
  return faults.slice(0, MAX_FAULTS);
}

function escapedKey(key: string): string {
  return key.replaceAll("~", "~0").replaceAll("/", "~1");
}

function overlap(a: Fault, b: Fault): boolean {
  return a.pointer === b.pointer || a.pointer.startsWith(`${b.pointer}/`) || b.pointer.startsWith(`${a.pointer}/`);
}

function misspellings(text: string, file: string, unknown: readonly UnknownProperty[]): string[] {
  const pointers = unknown.map(({ pointer, name }) => `${pointer}/${escapedKey(name)}`);
  const places = locate(text, pointers);
  return unknown.map(({ meant }, at) => {
    const pointer = pointers[at]!;
    const place = places.get(pointer)?.name;
    const where = place === undefined ? file : `${file}:${place.line}:${place.column}`;
    return `${where}: ${propertyOf(pointer)} is not a property and was ignored (did you mean ${JSON.stringify(meant)}?)`;
  });
}
