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
  // As `make build` does: what was just written is in the page cache in small pages.
  run(["sync", path]);
  run(["dd", `if=${path}`, "iflag=nocache", "count=0", "status=none"]);
  return path;
}
