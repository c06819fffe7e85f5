import { readFileSync } from "node:fs";

const DOCUMENT = `${import.meta.dir}/../../docs/engines.md`;

/** The block of code in docs/engines.md that follows the line with `file` in it: what users copy is what the tests use. */
export function snippet(file: string): string {
  const lines = readFileSync(DOCUMENT, "utf8").split("\n");
  const at = lines.findIndex((line) => line.includes(`\`${file}\``));
  const start = lines.findIndex((line, index) => index > at && line.startsWith("```"));
  const end = lines.indexOf("```", start + 1);
  if (at < 0 || start < 0 || end < 0) throw new Error(`docs/engines.md has no block of code for ${file}`);
  return lines.slice(start + 1, end).join("\n");
}
