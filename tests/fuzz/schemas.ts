import { readFileSync } from "node:fs";
import type { Schema } from "./from-schema.ts";

/** One of schemas/. */
export function schemaOf(name: "config" | "process" | "resources"): Schema {
  return JSON.parse(readFileSync(`${import.meta.dir}/../../schemas/${name}.schema.json`, "utf8")) as Schema;
}
