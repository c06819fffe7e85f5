import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { assemble, canAssemble, listingOf } from "../../scripts/assemble.ts";
import { machineCodeAarch64 } from "./aarch64.ts";
import { LOADER } from "./layout.ts";
import { machineCodeX86_64 } from "./x86-64.ts";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(`${tmpdir()}/tsrun-listing-`);
});
afterAll(() => rmSync(directory, { recursive: true }));

const codes = [
  { arch: "x86-64", file: "x86-64.ts", name: "machineCodeX86_64", code: machineCodeX86_64 },
  { arch: "aarch64", file: "aarch64.ts", name: "machineCodeAarch64", code: machineCodeAarch64 },
] as const;

for (const { arch, file, name, code } of codes) {
  test.skipIf(!canAssemble(arch))(`the machine code for ${arch} is what its listing says (needs binutils)`, () => {
    const listing = listingOf(readFileSync(`${import.meta.dir}/${file}`, "utf8"), name);
    expect(assemble(listing, arch, { LOADER }, directory)).toBe(code);
  });
}
