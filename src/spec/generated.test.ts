import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

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
