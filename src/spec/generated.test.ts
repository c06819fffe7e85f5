import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";

const top = join(import.meta.dir, "../..");

test("schemas and validators are what the model says", () => {
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, "scripts/generate-schemas.ts", "--check"], {
    cwd: top,
  });
  expect(stderr.toString()).toBe("");
  expect(exitCode).toBe(0);
});

test("the validators load nothing", () => {
  for (const name of ["fast.js", "faults.js"]) {
    const code = readFileSync(join(import.meta.dir, "generated", name), "utf8");
    expect(code).not.toMatch(/\brequire\(|\bimport\b/);
  }
});

test("64-bit bounds in the schemas are exact for readers without doubles", () => {
  const schema = readFileSync(join(top, "schemas/config.schema.json"), "utf8");
  expect(schema).toContain('"exclusiveMaximum": 18446744073709551616');
  expect(schema).toContain('"minimum": -9223372036854775808');
});

test("the schemas are JSON Schema that others can use, and accept what engines write", () => {
  const read = (path: string) => JSON.parse(readFileSync(path, "utf8"));
  const ajv = new Ajv({ strict: true });
  const schemas = readdirSync(join(top, "schemas")).map((name) => join(top, "schemas", name));
  const validators = new Map(schemas.map((path) => [path, ajv.compile(read(path))]));
  const config = validators.get(join(top, "schemas/config.schema.json"))!;
  for (const name of readdirSync(join(import.meta.dir, "testdata"))) {
    expect(config(read(join(import.meta.dir, "testdata", name)))).toBe(true);
  }
  expect(config({ ociVersion: "1.0.0", root: { path: 3 } })).toBe(false);
});
