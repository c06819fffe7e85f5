import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";

/** README.md has a row for each attack; each row has tests, each test has rows, and each row says what makes its tests fail. */

interface Row {
  readonly id: string;
  readonly files: readonly string[];
  readonly failsWith: readonly string[];
}

const here = import.meta.dir;
const rows = readRows(readFileSync(`${here}/README.md`, "utf8"));
const tests = readTests();

function readRows(text: string): Row[] {
  const lines = text.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| row "));
  return lines.map((line) => {
    const [, id = "", , , files = "", failsWith = ""] = line.split("|").map((cell) => cell.trim());
    return { id, files: words(files), failsWith: words(failsWith) };
  });
}

function words(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word!);
}

interface Tests {
  readonly text: string;
  /** Of every attack([…], "…" in the file. */
  readonly rows: ReadonlySet<string>;
}

function readTests(): Map<string, Tests> {
  const files = readdirSync(here).filter((name) => name.endsWith(".test.ts") && name !== "known-attacks.test.ts");
  return new Map(
    files.map((name) => {
      const text = readFileSync(`${here}/${name}`, "utf8");
      const lists = [...text.matchAll(/\battack\(\s*\[([^\]]*)\]/g)].map(([, list]) => list!);
      const ids = lists.flatMap((list) => [...list.matchAll(/"([^"]+)"/g)].map(([, id]) => id!));
      return [name, { text, rows: new Set(ids) }];
    }),
  );
}

/** Names of tests that this runtime is known to fail. */
function expected(runtime: string): string[] {
  return Object.keys(JSON.parse(readFileSync(`${here}/../expected/${runtime}.json`, "utf8")));
}

test("every row has a test in each file that it names", () => {
  const missing = rows.flatMap(({ id, files }) =>
    files.length === 0
      ? [`${id}: no file`]
      : files.filter((file) => !tests.get(file)?.rows.has(id)).map((file) => `${id}: ${file}`),
  );
  expect(missing).toEqual([]);
});

test("every test has a row that names its file", () => {
  const named = new Set(rows.flatMap(({ id, files }) => files.map((file) => `${id}: ${file}`)));
  const unnamed = [...tests].flatMap(([file, { rows: ids }]) => [...ids].map((id) => `${id}: ${file}`));
  expect(unnamed.filter((name) => !named.has(name))).toEqual([]);
  expect([...tests].filter(([, { rows: ids }]) => ids.size === 0).map(([file]) => file)).toEqual([]);
});

test("every row is there once", () => {
  const ids = rows.map(({ id }) => id);
  expect(ids.filter((id, i) => ids.indexOf(id) !== i)).toEqual([]);
});

test("every row says what its tests were seen to fail with, and that is so", () => {
  const wrong = rows.flatMap((row) =>
    row.failsWith.length === 0
      ? [`${row.id}: nothing`]
      : row.failsWith.filter((what) => !isShown(row, what)).map((what) => `${row.id}: ${what}`),
  );
  expect(wrong).toEqual([]);
});

/** A runtime: a test of the row is listed for it. `weakened`: a file of the row has a weakened copy for it. */
function isShown({ id, files }: Row, what: string): boolean {
  if (what === "runc" || what === "crun") return expected(what).some((name) => name.includes(id));
  if (what !== "weakened") return false;
  return files.some((file) => new RegExp(`\\bweakened\\(\\s*\\[[^\\]]*"${id}"`).test(tests.get(file)!.text));
}
