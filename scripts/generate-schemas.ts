/**
 * From the zod model in src/spec/model: the JSON Schemas in schemas/, and the validators in src/spec/generated that tsrun
 * runs. `--check` writes nothing and exits 1 when a committed file differs from what the model says.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { _, Ajv, type AnySchema, type Code, type CodeKeywordDefinition, type KeywordCxt } from "ajv";
import { not, or, stringify } from "ajv/dist/compile/codegen/index.js";
import standaloneCode from "ajv/dist/standalone/index.js";
import { z } from "zod";
import { config } from "../src/spec/model/config.ts";
import { features } from "../src/spec/model/features.ts";
import { process as processModel } from "../src/spec/model/process.ts";
import { resources } from "../src/spec/model/resources.ts";
import { state } from "../src/spec/model/state.ts";

interface JsonSchema {
  $id?: string;
  $ref?: string;
  title?: string;
  description?: string;
  type?: string;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  additionalProperties?: JsonSchema;
  propertyNames?: JsonSchema;
  items?: JsonSchema;
  minItems?: number;
  enum?: string[];
  pattern?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMaximum?: number;
  allOf?: JsonSchema[];
  definitions?: Record<string, JsonSchema>;
}

const documents = { config, process: processModel, resources, features, state };

/** The documents that tsrun reads, by the name of their validator. */
const validated = { validateConfig: config, validateProcess: processModel, validateResources: resources };

// --- zod → JSON Schema ------------------------------------------------------------------------------------------------

function jsonSchema(model: z.ZodType): JsonSchema {
  const options = { target: "draft-7", io: "input", unrepresentable: "any" } as const;
  return tidied(z.toJSONSchema(model, options) as JsonSchema);
}

/** Without what says nothing: an allOf around a single reference, and that names are strings. */
function tidied(schema: JsonSchema): JsonSchema {
  const { allOf, propertyNames: _names, id: _id, ...rest } = schema as JsonSchema & { id?: string };
  const reference = allOf?.length === 1 && Object.keys(rest).length === 0 ? allOf[0] : undefined;
  return reference ?? mapChildren({ ...rest, ...(allOf === undefined ? {} : { allOf }) }, tidied);
}

function mapChildren(schema: JsonSchema, change: (child: JsonSchema) => JsonSchema): JsonSchema {
  const mapped = { ...schema };
  for (const key of ["properties", "definitions"] as const) {
    const children = schema[key];
    if (children === undefined) continue;
    mapped[key] = Object.fromEntries(Object.entries(children).map(([name, child]) => [name, change(child)]));
  }
  if (schema.items !== undefined) mapped.items = change(schema.items);
  if (schema.additionalProperties !== undefined) mapped.additionalProperties = change(schema.additionalProperties);
  return mapped;
}

function schemaText(name: keyof typeof documents): string {
  const { $schema, ...rest } = jsonSchema(documents[name]) as JsonSchema & { $schema: string };
  const document = {
    $schema,
    $id: `urn:tsrun:schema:${name}`,
    title: `OCI runtime specification 1.3: ${name}`,
    ...rest,
  };
  return `${exactIntegers(JSON.stringify(document, null, 2))}\n`;
}

/** JSON.stringify prints the fewest digits that give the same double; other readers of the schema may not use doubles. */
function exactIntegers(text: string): string {
  return text.replace(/": (-?\d{17,})/g, (_all, digits) => `": ${BigInt(Number(digits))}`);
}

// --- JSON Schema → validators -----------------------------------------------------------------------------------------

/** What a value must be. `below` is an exclusive bound for 64-bit integers, which may arrive as bigint. */
interface Expectation {
  type: string;
  expected: string;
  oneOf?: string[];
  min?: number;
  max?: number;
  below?: number;
}

/** Our own keywords in place of type, required, enum, minimum …: they know bigint, and their errors say what was expected. */
type AjvSchema = JsonSchema & { expects?: Expectation; needs?: Record<string, string>; knows?: string[] };

function forAjv(schema: JsonSchema, root: JsonSchema): AjvSchema {
  const { $schema: _schema, description: _description, ...plain } = schema as JsonSchema & { $schema?: string };
  const { type, required, enum: oneOf, minimum, maximum, exclusiveMaximum, pattern, ...kept } = plain;
  const changed: AjvSchema = mapChildren(kept, (child) => forAjv(child, root));
  if (type !== undefined) {
    changed.expects = { type, expected: expectedText(schema, root), ...(oneOf === undefined ? {} : { oneOf }) };
    if (minimum !== undefined) changed.expects.min = minimum;
    if (maximum !== undefined) changed.expects.max = maximum;
    if (exclusiveMaximum !== undefined) changed.expects.below = exclusiveMaximum;
  }
  if (pattern !== undefined) changed.pattern = pattern;
  if (schema.properties !== undefined) changed.knows = Object.keys(schema.properties);
  if (required !== undefined) {
    changed.needs = Object.fromEntries(
      required.map((name) => [name, expectedText(schema.properties?.[name] ?? {}, root)]),
    );
  }
  return changed;
}

/** As it follows "should be". */
function expectedText(schema: JsonSchema, root: JsonSchema): string {
  const target = resolved(schema, root);
  if (target.enum !== undefined) return `one of ${target.enum.map((name) => JSON.stringify(name)).join(", ")}`;
  if (target.type === "array") return `an array of ${pluralOf(resolved(target.items ?? {}, root))}`;
  if (target.type === "integer") return integerText(target);
  if (target.type === "boolean") return "true or false";
  if (target.type === "object") return target.additionalProperties === undefined ? "an object" : mapText(target, root);
  return target.type === undefined ? "any value" : `a ${target.type}`;
}

function resolved(schema: JsonSchema, root: JsonSchema): JsonSchema {
  const reference = schema.$ref ?? schema.allOf?.[0]?.$ref;
  if (reference === undefined) return schema;
  return root.definitions?.[reference.replace("#/definitions/", "")] ?? schema;
}

function pluralOf(schema: JsonSchema): string {
  return schema.enum === undefined ? `${schema.type}s` : "names";
}

function mapText(schema: JsonSchema, root: JsonSchema): string {
  return `an object whose values are ${pluralOf(resolved(schema.additionalProperties ?? {}, root))}`;
}

function integerText({ minimum, maximum, exclusiveMaximum }: JsonSchema): string {
  const last = exclusiveMaximum === undefined ? maximum : BigInt(exclusiveMaximum) - 1n;
  if (maximum === Number.MAX_SAFE_INTEGER) return `an integer of at least ${minimum}`;
  return `an integer from ${BigInt(minimum ?? 0)} to ${last}`;
}

const expects: CodeKeywordDefinition = {
  keyword: "expects",
  schemaType: "object",
  error: {
    message: "",
    params: ({ schema }) =>
      schema.oneOf === undefined
        ? _`{expected: ${schema.expected}}`
        : _`{expected: ${schema.expected}, oneOf: ${arrayOf(schema.oneOf)}}`,
  },
  code(cxt: KeywordCxt) {
    cxt.fail(unexpected(cxt.data, cxt.schema));
  },
};

/** The condition under which `data` is not what it should be. */
function unexpected(data: Code, { type, oneOf, min, max, below }: Expectation): Code {
  if (oneOf !== undefined) return not(or(...oneOf.map((name) => _`${data} === ${name}`)));
  if (type === "array") return _`!Array.isArray(${data})`;
  if (type === "object") return _`typeof ${data} != "object" || ${data} === null || Array.isArray(${data})`;
  if (type !== "integer") return _`typeof ${data} != ${type}`;
  if (below === undefined) return _`!Number.isInteger(${data}) || ${data} < ${min} || ${data} > ${max}`;
  return _`typeof ${data} != "bigint" && !Number.isInteger(${data}) || ${data} < ${min} || ${data} >= ${below}`;
}

function arrayOf(names: readonly string[]): Code {
  return _`${stringify(names)}`;
}

const needs: CodeKeywordDefinition = {
  keyword: "needs",
  type: "object",
  schemaType: "object",
  error: {
    message: "",
    params: ({ params }) => _`{expected: ${params.expected}, missing: ${params.missing}}`,
  },
  code(cxt: KeywordCxt) {
    for (const [missing, expected] of Object.entries(cxt.schema as Record<string, string>)) {
      cxt.gen.if(_`${cxt.data}[${missing}] === undefined`, () => {
        cxt.setParams({ missing, expected });
        cxt.error();
      });
    }
  },
};

/** Tells `this` of every property that the model does not have: not an error, but it may be misspelt. */
const knows: CodeKeywordDefinition = {
  keyword: "knows",
  type: "object",
  schemaType: "array",
  code({ gen, data, schema, it }: KeywordCxt) {
    const names = schema as string[];
    gen.forIn("key", data, (key) => {
      const unknown = not(or(...names.map((name) => _`${key} === ${name}`)));
      gen.if(unknown, () => gen.code(_`this.unknown(instancePath + ${it.errorPath}, ${key}, ${arrayOf(names)})`));
    });
  },
};

function validatorsText(allErrors: boolean): string {
  const ajv = new Ajv({
    allErrors,
    code: { source: true, esm: true, lines: true },
    inlineRefs: false,
    messages: false,
    passContext: true,
    strict: false,
  });
  for (const keyword of [expects, needs, knows]) ajv.addKeyword(keyword);
  ajv.addSchema(oneSchema() as AnySchema, "tsrun");
  const names = Object.keys(validated).map((name) => [name, `tsrun#/definitions/${name}`]);
  const code = standaloneCode(ajv, Object.fromEntries(names));
  const outside = /\brequire\(|\bimport\b/.exec(code);
  if (outside !== null) throw new Error(`the validators must not load anything, found ${outside[0]}`);
  return `// Generated by scripts/generate-schemas.ts\n${withoutUnused(code)}\n`;
}

/** ajv puts the schemas themselves into the code, one a line, whether the code looks at them or not. */
function withoutUnused(code: string): string {
  return code
    .split("\n")
    .filter((line) => {
      const name = /^const (schema\d+) = /.exec(line)?.[1];
      return name === undefined || code.split(new RegExp(`\\b${name}\\b`)).length > 2;
    })
    .join("\n");
}

/** All documents that tsrun reads as definitions of one schema, so that they share what they have in common. */
function oneSchema(): AjvSchema {
  const definitions: Record<string, AjvSchema> = {};
  for (const [name, model] of Object.entries(validated)) {
    const schema = jsonSchema(model);
    const { definitions: shared, ...own } = forAjv(schema, schema) as AjvSchema & { $schema?: string };
    Object.assign(definitions, shared, { [name]: own });
  }
  return { definitions };
}

const declarations = `// Generated by scripts/generate-schemas.ts
import type { Validate } from "../validator.ts";

${Object.keys(validated)
  .map((name) => `export declare const ${name}: Validate;`)
  .join("\n")}
`;

// --- files ------------------------------------------------------------------------------------------------------------

function generatedFiles(): Map<string, string> {
  const files = new Map<string, string>();
  for (const name of Object.keys(documents) as (keyof typeof documents)[]) {
    files.set(`schemas/${name}.schema.json`, schemaText(name));
  }
  files.set("src/spec/generated/first-fault.js", validatorsText(false));
  files.set("src/spec/generated/first-fault.d.ts", declarations);
  files.set("src/spec/generated/all-faults.js", validatorsText(true));
  files.set("src/spec/generated/all-faults.d.ts", declarations);
  return files;
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

const top = join(import.meta.dir, "..");
const stale = [...generatedFiles()].filter(([path, text]) => contentOf(join(top, path)) !== text);
if (process.argv.includes("--check")) {
  for (const [path] of stale) console.error(`${path} is stale: run bun scripts/generate-schemas.ts`);
  process.exitCode = stale.length === 0 ? 0 : 1;
} else {
  for (const [path, text] of stale) {
    mkdirSync(dirname(join(top, path)), { recursive: true });
    writeFileSync(join(top, path), text);
    console.log(`wrote ${path}`);
  }
}
