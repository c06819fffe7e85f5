import { readFileSync, writeFileSync } from "node:fs";
import { addEntryStub } from "../scripts/elf-entry.ts";
import { nativeArch } from "../src/abi/syscalls.ts";
import { run } from "./runtimes.ts";

/** A program that does nothing, compiled and started as tsrun is: what no command of tsrun can be faster than. */
export function makeEmptyProgram(folder: string): string {
  writeFileSync(`${folder}/empty.ts`, "export {};\n");
  const flags = ["--compile", "--bytecode", "--format=esm", `--outfile=${folder}/empty.plain`];
  run([process.execPath, "build", ...flags, `${folder}/empty.ts`]);
  const path = `${folder}/empty`;
  writeFileSync(path, addEntryStub(readFileSync(`${path}.plain`), nativeArch), { mode: 0o755 });
  run([`${import.meta.dir}/../scripts/drop-from-page-cache.sh`, path]);
  return path;
}
