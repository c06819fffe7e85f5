import { BASIC_TYPES, type BusData, firstType, memberSignatures } from "../abi/dbus.ts";
import { utf8 } from "../text.ts";

/** A value with its type. */
export interface TypedValue {
  /** Of D-Bus. */
  readonly signature: string;
  readonly value: BusData;
}

/**
 * Reads GVariant's text format (docs.gtk.org/glib/gvariant-text-format.html): `true`, `uint64 5`, `'text'`, `[1, 2]`,
 * `@as []`, `('a', uint32 1)`, `b'bytes'`. Dictionaries, variants and maybe types are left out: no property of a unit
 * has them. Returns what is wrong with a text that is none.
 */
export function parseVariant(text: string): TypedValue | string {
  const reader: Reader = { text, at: 0, depth: 0 };
  try {
    const node = readValue(reader);
    skipSpace(reader);
    if (reader.at < text.length) return `${JSON.stringify(text.slice(reader.at))} follows the value`;
    const signature = typeOf(node);
    if (signature === "") return "an empty array does not tell its type: write it such as @as []";
    return { signature, value: convert(node, signature) };
  } catch (error) {
    if (error instanceof Malformed) return error.message;
    throw error;
  }
}

/** Stops the reader; never leaves this file. */
class Malformed extends Error {}

interface Reader {
  readonly text: string;
  at: number;
  depth: number;
}

/** A value whose type may follow from what is beside it. */
type Node =
  | { readonly kind: "boolean"; readonly value: boolean }
  | { readonly kind: "number"; readonly text: string }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "bytes"; readonly value: readonly number[] }
  | { readonly kind: "list"; readonly isArray: boolean; readonly items: readonly Node[] }
  | { readonly kind: "typed"; readonly signature: string; readonly node: Node };

/** The type that a keyword before a value names. */
function keywordType(word: string): string | undefined {
  const names = "boolean byte int16 uint16 int32 uint32 int64 uint64 double string objectpath signature".split(" ");
  const at = names.indexOf(word);
  return at < 0 ? undefined : "bynqiuxtdsog"[at];
}

function readValue(reader: Reader): Node {
  if (++reader.depth > DEEPEST) throw new Malformed("it is nested too deeply");
  const node = readNode(reader);
  reader.depth--;
  return node;
}

/** systemd takes no property that is nested deeper; a text of brackets only must not exhaust the stack. */
const DEEPEST = 8;

function readNode(reader: Reader): Node {
  skipSpace(reader);
  const next = reader.text[reader.at];
  if (next === undefined) throw new Malformed("a value is missing");
  if (next === "[" || next === "(") return readList(reader, next === "[");
  if (next === "'" || next === '"') return { kind: "string", value: readString(reader) };
  if (next === "@") return readAnnotated(reader);
  if (/^b['"]/.test(reader.text.slice(reader.at, reader.at + 2))) return readByteString(reader);
  return readWord(reader);
}

function skipSpace(reader: Reader): void {
  while (/\s/.test(reader.text[reader.at] ?? "")) reader.at++;
}

function readList(reader: Reader, isArray: boolean): Node {
  const end = isArray ? "]" : ")";
  const items: Node[] = [];
  reader.at++;
  for (;;) {
    skipSpace(reader);
    const isFirst = items.length === 0;
    // `(1,)` is a struct of one.
    if (reader.text[reader.at] === end) break;
    if (!isFirst) expect(reader, ",");
    skipSpace(reader);
    if (!isArray && items.length === 1 && reader.text[reader.at] === end) break;
    items.push(readValue(reader));
  }
  reader.at++;
  if (!isArray && items.length === 0) throw new Malformed("a struct has members");
  return { kind: "list", isArray, items };
}

function expect(reader: Reader, character: string): void {
  if (reader.text[reader.at] !== character) {
    const found = reader.at < reader.text.length ? JSON.stringify(reader.text.slice(reader.at)) : "the end";
    throw new Malformed(`"${character}" is missing before ${found}`);
  }
  reader.at++;
}

function readString(reader: Reader): string {
  const quote = reader.text[reader.at++]!;
  let value = "";
  for (;;) {
    const character = reader.text[reader.at++];
    if (character === undefined) throw new Malformed(`a string has no closing ${quote}`);
    if (character === quote) return value;
    if (character === "\0") throw new Malformed("a string has a NUL");
    value += character === "\\" ? readEscape(reader) : character;
  }
}

function readEscape(reader: Reader): string {
  const character = reader.text[reader.at++];
  if (character === undefined) throw new Malformed("a string ends in a backslash");
  if (character !== "u" && character !== "U") return cEscape(character);
  const length = character === "u" ? 4 : 8;
  const digits = reader.text.slice(reader.at, reader.at + length);
  const code = /^[0-9a-fA-F]+$/.test(digits) && digits.length === length ? Number.parseInt(digits, 16) : 0;
  if (code === 0 || code > 0x10ffff) throw new Malformed(`\\${character}${digits} is no character`);
  reader.at += length;
  return String.fromCodePoint(code);
}

function cEscape(letter: string): string {
  const at = "abfnrtv".indexOf(letter);
  return at < 0 ? letter : "\x07\b\f\n\r\t\v"[at]!;
}

/** Bytes and the NUL that ends them (type `ay`); besides the escapes of C up to three octal digits. */
function readByteString(reader: Reader): Node {
  const quote = reader.text[++reader.at]!;
  reader.at++;
  const value: number[] = [];
  for (;;) {
    const character = reader.text[reader.at++];
    if (character === undefined) throw new Malformed(`a byte string has no closing ${quote}`);
    if (character === quote) return { kind: "bytes", value: [...value, 0] };
    const octal =
      character === "\\" ? (/^[0-7]{1,3}/.exec(reader.text.slice(reader.at, reader.at + 3))?.[0] ?? "") : "";
    reader.at += octal.length;
    if (octal !== "") value.push(Number.parseInt(octal, 8) & 0xff);
    else value.push(...utf8(character === "\\" ? readEscape(reader) : character));
  }
}

/** `@as []` */
function readAnnotated(reader: Reader): Node {
  const LONGEST_SIGNATURE = 255;
  reader.at++;
  const signature = firstType(reader.text.slice(reader.at, reader.at + LONGEST_SIGNATURE));
  if (signature === "") throw new Malformed(`@${reader.text.slice(reader.at)} begins with no type of a property`);
  reader.at += signature.length;
  return { kind: "typed", signature, node: readValue(reader) };
}

function readWord(reader: Reader): Node {
  const word = /^[-+.\w]+/.exec(reader.text.slice(reader.at))?.[0] ?? reader.text.slice(reader.at);
  reader.at += word.length;
  if (word === "true" || word === "false") return { kind: "boolean", value: word === "true" };
  const signature = keywordType(word);
  if (signature !== undefined) return { kind: "typed", signature, node: readValue(reader) };
  if (isWhole(word) || isFraction(word)) return { kind: "number", text: word };
  throw new Malformed(`${JSON.stringify(word)} is no value: text has to be in quotes`);
}

/** Decimal, 0x hexadecimal, or octal with a leading 0. */
function isWhole(word: string): boolean {
  return /^[-+]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/.test(word);
}

function isFraction(word: string): boolean {
  return /^[-+]?(?:[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|inf|nan)$/.test(word);
}

/** What a value is by itself; empty for an array that does not tell. */
function typeOf(node: Node): string {
  switch (node.kind) {
    case "boolean":
      return "b";
    case "number":
      return isWhole(node.text) ? "i" : "d";
    case "string":
      return "s";
    case "bytes":
      return "ay";
    case "typed":
      return node.signature;
    case "list":
      return node.isArray ? arrayType(node.items) : `(${node.items.map(mustHaveType).join("")})`;
  }
}

function mustHaveType(node: Node): string {
  const type = typeOf(node);
  if (type === "") throw new Malformed("an empty array does not tell its type: write it such as @as []");
  return type;
}

/** One element that says its type says it for all; otherwise a fraction makes all of them fractions. */
function arrayType(items: readonly Node[]): string {
  const types = items.map(typeOf).filter((type) => type !== "");
  const said = items.find(({ kind }) => kind === "typed");
  const type = said !== undefined ? typeOf(said) : (types.find((each) => each !== "i") ?? types[0] ?? "");
  return type === "" ? "" : `a${type}`;
}

function convert(node: Node, signature: string): BusData {
  if (node.kind === "typed") {
    if (node.signature !== signature) throw mismatch(node.signature, signature);
    return convert(node.node, signature);
  }
  if (node.kind === "list") {
    if (signature.startsWith("a") !== node.isArray || BASIC_TYPES.includes(signature))
      throw mismatch("a list", signature);
    const members = memberSignatures(signature, node.items.length);
    if (members.length !== node.items.length) throw mismatch("another number of members", signature);
    return node.items.map((item, i) => convert(item, members[i]!));
  }
  if (node.kind === "number") return convertNumber(node.text, signature);
  if (node.kind === "string" && (signature === "o" || signature === "g")) return node.value;
  if (typeOf(node) !== signature) throw mismatch(typeOf(node), signature);
  return node.value;
}

function mismatch(found: string, wanted: string): Malformed {
  return new Malformed(`found ${found} where type ${wanted} is wanted`);
}

/** Lowest and highest value of an integer type. */
function rangeOf(signature: string): readonly [bigint, bigint] | undefined {
  const bits = new Map(Object.entries({ y: 8n, n: 16n, q: 16n, i: 32n, u: 32n, x: 64n, t: 64n })).get(signature);
  if (bits === undefined) return undefined;
  return "nix".includes(signature) ? [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] : [0n, (1n << bits) - 1n];
}

function convertNumber(text: string, signature: string): number | bigint {
  const range = rangeOf(signature);
  if (signature === "d") return fraction(text);
  if (range === undefined || !isWhole(text)) throw mismatch(text, signature);
  const value = whole(text);
  if (value < range[0] || value > range[1]) throw new Malformed(`${text} is beyond ${range[0]} to ${range[1]}`);
  return signature === "x" || signature === "t" ? value : Number(value);
}

function whole(text: string): bigint {
  const digits = text.replace(/^[-+]/, "");
  const magnitude = BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits);
  return text.startsWith("-") ? -magnitude : magnitude;
}

function fraction(text: string): number {
  if (/nan$/.test(text)) return Number.NaN;
  if (/inf$/.test(text)) return text.startsWith("-") ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return isWhole(text) ? Number(whole(text)) : Number(text);
}
