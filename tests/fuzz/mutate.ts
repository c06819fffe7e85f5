import fc from "fast-check";
import { array, copy, object, placesIn, raw, type Tree, text } from "./tree.ts";

/** One change of a document. */
export interface Mutation {
  readonly kind: "delete" | "repeat" | "replace" | "rename" | "nest";
  /** Which place, counted around. */
  readonly at: number;
  readonly value: Tree;
  readonly name: string;
}

/** Numbers at the edges of what anybody may take them for. */
const NUMBERS = [
  ..."0 -1 -0 1 0.5 1e3 1e300 -1e300 1e-300 2147483647 2147483648 -2147483649 4294967295 4294967296".split(" "),
  ..."9007199254740991 9007199254740993 9223372036854775807 9223372036854775808 18446744073709551615".split(" "),
  ..."18446744073709551616 -9223372036854775808 -9223372036854775809 1e400 100000000000000000000000000".split(" "),
].map(raw);

const TEXTS = [
  "",
  "/",
  "..",
  "a/../../b",
  "\0",
  "a\0b",
  "\n",
  "\u001b[31m",
  "\u009b31m",
  "\ud800",
  "é😀",
  "ﬀ\u0301\u202e",
  "%s%n",
  "-1",
  "1x",
  "__proto__",
  "constructor",
  "=",
  " ",
  "x".repeat(70),
  "/".repeat(5000),
].map(text);

const NAMES = [
  "__proto__",
  "constructor",
  "toString",
  "",
  "path",
  "type",
  "hasOwnProperty",
  "\0",
  "0",
  "length",
  "ociVersion",
];

/** Values that are seldom what is wanted. `huge`: with a million characters, or nested thousandfold. */
export function oddValues(huge = true): fc.Arbitrary<Tree> {
  const small = fc.oneof(
    fc.constantFrom(...NUMBERS),
    fc.constantFrom(...TEXTS),
    fc.constantFrom("null", "true", "false", "[]", "{}", "[[]]", "[{}]", '{"":0}', "[null]").map(raw),
    fc.string({ unit: "binary", maxLength: 12 }).map(text),
  );
  if (!huge) return small;
  return fc.oneof(
    { weight: 30, arbitrary: small },
    { weight: 1, arbitrary: fc.constantFrom(1000, 100_000, 1_000_000).map((length) => text("x".repeat(length))) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(300, 5000, 60_000).map((depth) => raw("[".repeat(depth) + "]".repeat(depth))),
    },
    { weight: 1, arbitrary: fc.constantFrom(300, 5000, 60_000).map(nested) },
    { weight: 1, arbitrary: fc.constantFrom(1000, 20_000).map((length) => array(Array(length).fill(text("/a")))) },
    { weight: 1, arbitrary: fc.constantFrom(1000, 20_000).map(manyNames) },
  );
}

/** Values that are wrong nearly everywhere, and name nothing of the machine's. */
export function harmlessValues(): fc.Arbitrary<Tree> {
  const words = ["", "x", "a\0b", "é😀", "__proto__", "a b", "1x", "\u001b[31m", "x".repeat(70)].map(text);
  const others = ["null", "true", "false", "[]", "{}", "[[]]", "[null]", '{"":0}'].map(raw);
  return fc.constantFrom(...NUMBERS, ...words, ...others);
}

function nested(depth: number): Tree {
  return raw(`${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`);
}

function manyNames(count: number): Tree {
  return object(Array.from({ length: count }, (_, at) => [`n${at}`, raw(String(at))] as const));
}

export function mutations(values: fc.Arbitrary<Tree>): fc.Arbitrary<Mutation> {
  return fc.record({
    kind: fc.constantFrom("replace", "delete", "repeat", "rename", "nest"),
    at: fc.nat(),
    value: values,
    name: fc.oneof(fc.constantFrom(...NAMES), fc.string({ maxLength: 5 })),
  });
}

/** The document with these changes made one after another. */
export function mutated(tree: Tree, changes: readonly Mutation[]): Tree {
  const root = copy(tree);
  for (const { kind, at, value, name } of changes) {
    const places = placesIn(root);
    const place = places[at % Math.max(1, places.length)];
    if (place === undefined) continue;
    if (kind === "delete") place.remove();
    else if (kind === "repeat") place.repeat();
    else if (kind === "rename") place.repeat(name);
    else if (kind === "nest") place.set(name === "" ? array([place.value]) : object([[name, place.value]]));
    else place.set(value);
  }
  return root;
}

/** A change of the bytes of a text. */
export interface Damage {
  readonly kind: "cut" | "flip" | "insert" | "drop";
  readonly at: number;
  readonly byte: number;
}

export const damages: fc.Arbitrary<Damage> = fc.record({
  kind: fc.constantFrom("flip", "cut", "insert", "drop"),
  at: fc.nat(),
  byte: fc.oneof(
    fc.constantFrom(0, 0x22, 0x2c, 0x3a, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d, 0x80, 0xc0, 0xed, 0xff),
    fc.nat(255),
  ),
});

export function damaged(bytes: Uint8Array, changes: readonly Damage[]): Uint8Array {
  let result = bytes;
  for (const { kind, at, byte } of changes) {
    const place = at % (result.length + 1);
    const [before, after] = [result.subarray(0, place), result.subarray(place)];
    if (kind === "cut") result = before;
    else if (kind === "insert") result = Buffer.concat([before, Uint8Array.of(byte), after]);
    else if (kind === "drop") result = Buffer.concat([before, after.subarray(1 + (byte % 8))]);
    else result = Buffer.concat([before, after.subarray(0, 1).map((old) => old ^ (byte || 1)), after.subarray(1)]);
  }
  return result;
}
