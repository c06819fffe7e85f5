import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { command } from "../../helpers/command.ts";
import { mustSucceed, RUNTIME_NAME } from "../../helpers/suite.ts";

/** One line of tsrun as it is, and as it would be without the protection. */
export interface Weakness {
  /** Below src. */
  readonly file: string;
  /** Must be in the file exactly once. */
  readonly from: string;
  readonly to: string;
}

const project = resolve(import.meta.dir, "../../..");

/**
 * A tsrun with less protection, bundled from a copy of the sources in a new directory below `home`: what to put before the
 * runtime's own command line so that it runs instead (RunOptions.through).
 */
export function weakTsrun(home: string, weaknesses: readonly Weakness[]): string[] {
  if (RUNTIME_NAME !== "tsrun") throw new Error("only tsrun can be weakened");
  const dir = mkdtempSync(`${home}/weak-`);
  chmodSync(dir, 0o755); // Users without root run it, too.
  cpSync(`${project}/src`, `${dir}/src`, { recursive: true, filter: (path) => !path.endsWith(".test.ts") });
  symlinkSync(`${project}/node_modules`, `${dir}/node_modules`);
  writeFileSync(`${dir}/package.json`, readFileSync(`${project}/package.json`));
  for (const weakness of weaknesses) weaken(dir, weakness);
  mkdirSync(`${dir}/bundle`);
  const define = '--define=TSRUN_COMMIT="weakened"';
  const bundle = `${dir}/bundle/main.js`;
  const built = command(
    [process.execPath, "build", "--target=bun", define, `--outfile=${bundle}`, `${dir}/src/main.ts`],
    {
      cwd: dir,
      limit: 60_000,
    },
  );
  mustSucceed(built);
  const program = `${dir}/weak-tsrun`;
  writeFileSync(program, `#!/bin/sh\nshift\nexec ${process.execPath} ${bundle} "$@"\n`);
  chmodSync(program, 0o755);
  return [program];
}

function weaken(dir: string, { file, from, to }: Weakness): void {
  const path = `${dir}/src/${file}`;
  const text = readFileSync(path, "utf8");
  const parts = text.split(from);
  if (parts.length !== 2)
    throw new Error(`${file} has ${parts.length - 1} times ${JSON.stringify(from)}, should be once`);
  writeFileSync(path, parts.join(to));
}
