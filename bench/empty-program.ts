import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { addStart } from "../scripts/program/start.ts";
import { nativeArch } from "../src/abi/syscalls.ts";
import { run } from "./runtimes.ts";

/** A program that does nothing, compiled and started as tsrun is: what no command of tsrun can be faster than. */
export function makeEmptyProgram(folder: string): string {
  const kernel = resolve(import.meta.dir, "../src/kernel");
  const code = `
    import { sys } from "${kernel}/kernel.ts";
    import { freeze, isToFreeze } from "${kernel}/warm-start.ts";
    if (isToFreeze()) freeze();
    sys("exit_group", 0);`;
  writeFileSync(`${folder}/empty.ts`, code);
  const flags = ["--compile", "--bytecode", "--format=esm", `--outfile=${folder}/empty.plain`];
  run([process.execPath, "build", ...flags, `${folder}/empty.ts`]);
  const path = `${folder}/empty`;
  writeFileSync(path, addStart(readFileSync(`${path}.plain`), nativeArch, folder), { mode: 0o755 });
  return path;
}
