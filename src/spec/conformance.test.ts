import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { propertyOf } from "../errors.ts";
import { defaultConfig } from "./default-config.ts";
import { pendingProperties } from "./pending.ts";
import type { Config } from "./types.ts";

interface Schema {
  $ref?: string;
  allOf?: Schema[];
  type?: string;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema;
  items?: Schema;
  definitions?: Record<string, Schema>;
}

const top = join(import.meta.dir, "../..");
const schema = JSON.parse(readFileSync(join(top, "schemas/config.schema.json"), "utf8")) as Schema;
const document = readFileSync(join(top, "docs/spec-conformance.md"), "utf8");

function* propertiesOf(given: Schema, at: string): Generator<string> {
  const reference = given.$ref ?? given.allOf?.[0]?.$ref;
  const target = reference === undefined ? given : schema.definitions![reference.replace("#/definitions/", "")]!;
  for (const [name, property] of Object.entries(target.properties ?? {})) {
    const path = at === "" ? name : `${at}.${name}`;
    yield path;
    yield* propertiesOf(property, path);
  }
  if (target.items !== undefined) yield* propertiesOf(target.items, `${at}[]`);
  if (target.additionalProperties !== undefined) yield* propertiesOf(target.additionalProperties, `${at}[*]`);
}

const listed = new Map(
  [...document.matchAll(/^\| `([^`]+)` \| ([a-z ]+) \|/gm)].map(([, property, state]) => [property!, state!]),
);
const properties = [...propertiesOf(schema, "")];

test("every property of the schema has its line in docs/spec-conformance.md, and no other has", () => {
  expect(properties.length).toBeGreaterThan(200);
  expect(properties.filter((property) => !listed.has(property))).toEqual([]);
  expect([...listed.keys()].filter((property) => !properties.includes(property))).toEqual([]);
});

test("each line has one of the states that the document explains", () => {
  const states = ["done", "warned", "ignored", "not yet"];
  expect([...listed].filter(([, state]) => !states.includes(state))).toEqual([]);
});

/** A config that has something in every property that tsrun can call pending. */
function everythingPending(): Config {
  const config = defaultConfig();
  const one = { anything: "x" };
  const resources = Object.keys(schema.definitions!.Resources!.properties!).map((name) => [name, one]);
  Object.assign(config.linux!, { resources: Object.fromEntries(resources) });
  for (const name of ["intelRdt", "netDevices", "memoryPolicy"]) Object.assign(config.linux!, { [name]: one });
  return config;
}

test("what is pending in the code is what the document calls not yet", () => {
  const pending = pendingProperties(everythingPending());
  const notYet = properties.filter((property) => listed.get(property) === "not yet");
  expect(pending.filter((property) => !notYet.includes(property))).toEqual([]);
  const uncovered = notYet.filter(
    (property) => !pending.some((name) => `${property}.`.startsWith(`${name}.`) || property.startsWith(`${name}[`)),
  );
  expect(uncovered).toEqual([]);
});

test("nothing is pending in a config without such properties", () => {
  const config = defaultConfig({ rootless: { uid: 1000, gid: 1000 } });
  expect(pendingProperties(config)).toEqual([]);
  expect(pendingProperties({ ...config, linux: { ...config.linux, resources: {}, netDevices: {} } })).toEqual([]);
});

test("propertyOf and the document write properties alike", () => {
  expect(propertyOf("/linux/namespaces/0/type").replace(/\[\d+\]/, "[]")).toBe("linux.namespaces[].type");
});
