/**
 * Writes the man pages: `bun scripts/generate-man.ts OUTDIR`; with `--check` only tells whether those in OUTDIR are what
 * would be written, by exit status 0 or 1.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { version } from "../package.json";
import { manPages } from "../src/cli/man.ts";

const words = process.argv.slice(2);
const check = words.includes("--check");
const [directory] = words.filter((word) => word !== "--check");
if (directory === undefined) {
  console.error("usage: generate-man.ts [--check] OUTDIR");
  process.exit(1);
}

const pages = manPages(version);
const stale = check ? staleFiles(directory) : [];
if (!check) writePages(directory);
for (const file of stale) console.error(`${directory}/${file} is stale: run make man`);
process.exit(stale.length === 0 ? 0 : 1);

function writePages(into: string): void {
  mkdirSync(into, { recursive: true });
  for (const file of surplus(into)) rmSync(`${into}/${file}`);
  for (const [file, text] of pages) writeFileSync(`${into}/${file}`, text);
}

function staleFiles(from: string): string[] {
  const differing = [...pages].filter(([file, text]) => readOrNothing(`${from}/${file}`) !== text);
  return [...differing.map(([file]) => file), ...surplus(from)];
}

/** Pages of commands that are no more. */
function surplus(at: string): string[] {
  return readdirSync(at).filter((file) => /^tsrun.*\.1$/.test(file) && !pages.has(file));
}

function readOrNothing(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
