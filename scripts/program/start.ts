import { type Arch, nativeArch } from "../../src/abi/syscalls.ts";
import { addEntryStub } from "./entry-stub.ts";
import { addWarmStart } from "./freeze.ts";

/**
 * The compiled program `original` with a start that tsrun's is: warm, where it can be run, and the machine code for it is
 * written (x86-64). `folder` is for what is needed meanwhile.
 */
export function addStart(original: Uint8Array, arch: Arch, folder: string): Uint8Array {
  if (arch !== nativeArch || arch !== "x86-64") return addEntryStub(original, arch);
  try {
    return addWarmStart(original, folder);
  } catch (error) {
    const why = error instanceof Error ? error.message : error;
    console.error(`build: the program is going to start as Bun does, which takes some milliseconds longer: ${why}`);
    return addEntryStub(original, arch);
  }
}
