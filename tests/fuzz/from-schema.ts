import fc from "fast-check";
import { array, number, object, raw, type Tree, text } from "./tree.ts";

/** As much of JSON Schema as schemas/ uses. */
export interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMaximum?: number;
  readonly allOf?: readonly Schema[];
  readonly definitions?: Readonly<Record<string, Schema>>;
}

/**
 * What makes a document sensible besides valid: values for a place, and names of the members of a place. A place is a
 * pointer with `*` for every index and every name that is not the schema's, as in "mounts, any, destination".
 */
export interface Sense {
  readonly values: ReadonlyMap<string, fc.Arbitrary<Tree>>;
  readonly names: ReadonlyMap<string, fc.Arbitrary<string>>;
  /** Of a property that may be absent: how likely it is there, from 0 to 1. */
  readonly density: number;
}

/** Documents that the schema allows. */
export function fromSchema(root: Schema, sense: Sense): fc.Arbitrary<Tree> {
  return treeFor(root, "", { root, sense });
}

interface Context {
  readonly root: Schema;
  readonly sense: Sense;
}

function treeFor(schema: Schema, place: string, context: Context): fc.Arbitrary<Tree> {
  const sensible = context.sense.values.get(place);
  if (sensible !== undefined) return sensible;
  const whole = resolved(schema, context.root);
  if (whole.enum !== undefined) return fc.constantFrom(...whole.enum).map(text);
  switch (whole.type) {
    case "object":
      return objectOf(whole, place, context);
    case "array":
      return arrayOf(whole, place, context);
    case "string":
      return whole.pattern === undefined ? words : fc.stringMatching(new RegExp(whole.pattern)).map(text);
    case "integer":
      return integerOf(whole);
    case "boolean":
      return fc.boolean().map((value) => raw(String(value)));
    case undefined:
      return fc.constantFrom("null", "0", '"x"', "{}", "[1]").map(raw);
    default:
      throw new Error(`schema at "${place}": a type that is not known here, ${whole.type}`);
  }
}

/** Follows references; an `allOf` here is one schema and what it is called. */
export function resolved(schema: Schema, root: Schema): Schema {
  if (schema.$ref !== undefined) {
    const name = schema.$ref.replace("#/definitions/", "");
    const found = root.definitions?.[name];
    if (found === undefined) throw new Error(`no definition ${schema.$ref}`);
    return resolved(found, root);
  }
  return schema.allOf === undefined ? schema : resolved(schema.allOf[0]!, root);
}

const words = fc
  .oneof(fc.constantFrom("", "a", "web", "/a", "/a/b", "x=y", "0-1", "é"), fc.string({ maxLength: 8 }))
  .map((value) => text(value.replaceAll("\0", "")));

function objectOf(schema: Schema, place: string, context: Context): fc.Arbitrary<Tree> {
  const { properties = {}, required = [], additionalProperties } = schema;
  const { density, names } = context.sense;
  const known = Object.entries(properties).map(([name, child]) => {
    const value = treeFor(child, `${place}/${name}`, context).map((tree) => [name, tree] as const);
    if (required.includes(name)) return value;
    return fc.oneof(
      { weight: Math.round(100 * density), arbitrary: value },
      { weight: Math.round(100 * (1 - density)), arbitrary: fc.constant(undefined) },
    );
  });
  const members = fc.tuple(...known).map((list) => list.filter((entry) => entry !== undefined));
  if (additionalProperties === undefined) return members.map(object);
  const others = fc.uniqueArray(
    fc.tuple(names.get(place) ?? fc.string({ maxLength: 6 }), treeFor(additionalProperties, `${place}/*`, context)),
    { selector: ([name]) => name, maxLength: 3 },
  );
  return fc.tuple(members, others).map(([first, second]) => object([...first, ...second]));
}

function arrayOf(schema: Schema, place: string, context: Context): fc.Arbitrary<Tree> {
  const items = treeFor(schema.items ?? {}, `${place}/*`, context);
  return fc.array(items, { minLength: schema.minItems ?? 0, maxLength: 3 }).map(array);
}

/** Small ones, and the ends of the range. 2^64 and 2^63 are exact as doubles where a limit is exclusive. */
function integerOf(schema: Schema): fc.Arbitrary<Tree> {
  const least = BigInt(schema.minimum ?? -(2 ** 53));
  const most =
    schema.exclusiveMaximum === undefined ? BigInt(schema.maximum ?? 2 ** 53) : BigInt(schema.exclusiveMaximum) - 1n;
  const small = most > 100n ? 100n : most;
  return fc
    .oneof(
      { weight: 4, arbitrary: fc.bigInt({ min: least > 0n ? least : least === 0n ? 0n : -2n, max: small }) },
      { weight: 1, arbitrary: fc.bigInt({ min: least, max: most }) },
      { weight: 1, arbitrary: fc.constantFrom(least, most) },
    )
    .map(number);
}
