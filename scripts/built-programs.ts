/** Tests of bin/tsrun and of the programs for other machines, which run in qemu-user; `make test` runs them after the builds. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { version } from "../package.json";
import { type Arch, nativeArch } from "../src/abi/syscalls.ts";

const root = resolve(import.meta.dir, "..");
const DEBIAN_NAMES: Record<Arch, string> = { "x86-64": "x86_64", aarch64: "aarch64" };

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(`${tmpdir()}/tsrun-program-`);
});
afterAll(() => rmSync(directory, { recursive: true }));

/** With the C library of the machine, where Debian's cross-compilers keep it; undefined where the machine cannot be run. */
function commandFor(arch: Arch): string[] | undefined {
  if (arch === nativeArch) return [`${root}/bin/tsrun`];
  const name = DEBIAN_NAMES[arch];
  const qemu = Bun.which(`qemu-${name}`);
  const library = `/usr/${name}-linux-gnu`;
  return qemu !== null && existsSync(library) ? [qemu, "-L", library, `${root}/bin/tsrun-${arch}`] : undefined;
}

for (const arch of ["x86-64", "aarch64"] satisfies Arch[]) {
  const command = commandFor(arch);
  describe.skipIf(command === undefined)(
    `the program for ${arch} (needs qemu-user and that machine's C library)`,
    () => {
      const output = (words: string) => {
        const { stdout, stderr } = Bun.spawnSync([...command!, ...words.split(" ")], { cwd: directory });
        return stdout.toString() + stderr.toString();
      };

      test("says its version", () => {
        expect(output("--version")).toStartWith(`tsrun version ${version}\n`);
      });

      test("explains itself", () => {
        expect(output("--help")).toContain("create");
      });

      test("reads no configuration of Bun's from its caller's directory", () => {
        const [trace, preload] = [`${directory}/trace`, `${directory}/preload.ts`];
        writeFileSync(preload, `require("node:fs").writeFileSync(${JSON.stringify(trace)}, "");`);
        writeFileSync(`${directory}/bunfig.toml`, 'preload = ["./preload.ts"]\n');
        writeFileSync(`${directory}/.env`, "BUN_OPTIONS=--version\n");
        writeFileSync(`${directory}/tsconfig.json`, "not JSON");
        writeFileSync(`${directory}/package.json`, "not JSON");
        expect(output("--version")).toStartWith("tsrun version");
        expect(existsSync(trace)).toBeFalse();
      });

      test("starts with the stub that notes the limit of open files", () => {
        const file = readFileSync(command!.at(-1)!);
        const last = Number(file.readBigUInt64LE(32)) + 56 * (file.readUInt16LE(56) - 1);
        const [PT_LOAD, PF_R_X] = [1, 5];
        expect([file.readUInt32LE(last), file.readUInt32LE(last + 4)]).toEqual([PT_LOAD, PF_R_X]);
        expect(file.readBigUInt64LE(24)).toBe(file.readBigUInt64LE(last + 16));
      });
    },
  );
}
