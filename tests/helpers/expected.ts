import { existsSync, readFileSync } from "node:fs";

/**
 * `tests/expected/<runtime>.json`: full test name → reason why this runtime differs. A difference that is not listed
 * fails, and so does a listed one that no longer differs: the lists only ever shrink. A reason that begins with
 * `sometimes: ` is for what depends on time; such a test may pass.
 */
export function expectedDifferences(runtime: string): Map<string, string> {
  const file = `${import.meta.dir}/../expected/${runtime}.json`;
  if (!existsSync(file)) return new Map();
  return new Map(Object.entries(JSON.parse(readFileSync(file, "utf8")) as Record<string, string>));
}
