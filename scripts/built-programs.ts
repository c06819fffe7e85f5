/** Tests of bin/tsrun and of the programs for other machines, which run in qemu-user; `make test` runs them after the builds. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { version } from "../package.json";
import { type Arch, nativeArch } from "../src/abi/syscalls.ts";
import { withoutNotes } from "./program/interpreter.ts";

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

describe("a build", () => {
  /** What is built from is copied to another place. Returns the hash of what is built there. */
  const builtIn = (place: string, environment: Record<string, string>) => {
    const copy = `${directory}/${place}`;
    mkdirSync(`${copy}/node_modules`, { recursive: true });
    const tools = ["@oven", "@biomejs", "@typescript", "typescript", ".bin"];
    const packages = readdirSync(`${root}/node_modules`).filter((name) => !tools.includes(name));
    mustRun(["cp", "-a", ...packages.map((name) => `${root}/node_modules/${name}`), `${copy}/node_modules`]);
    const sources = ["src", "scripts", "package.json", "tsconfig.json"];
    mustRun(["cp", "-a", ...sources.map((part) => `${root}/${part}`), copy]);
    const program = `${copy}/tsrun`;
    const command = ["sh", "-c", `umask ${environment.MASK}; exec "$@"`, "sh", process.execPath];
    mustRun([...command, `${copy}/scripts/build.ts`, nativeArch, program, "--cold"], {
      ...process.env,
      ...environment,
    });
    return new Bun.CryptoHasher("sha256").update(readFileSync(program)).digest("hex");
  };

  const mustRun = (command: string[], env: Record<string, string | undefined> = process.env) => {
    const { exitCode, stderr } = Bun.spawnSync(command, { env, cwd: directory });
    if (exitCode !== 0) throw new Error(`${command.join(" ")}: ${stderr.toString()}`);
  };

  test("with a cold start gives the same bytes wherever, whenever and by whomever it is made", () => {
    const one = builtIn("one", { TZ: "UTC", LANG: "C", HOME: directory, MASK: "022" });
    const other = builtIn("deeper/and/other", {
      TZ: "Asia/Tokyo",
      LANG: "de_DE.UTF-8",
      HOME: "/nonexistent",
      MASK: "077",
    });
    expect(other).toBe(one);
  }, 120_000);

  test.skipIf(nativeArch !== "x86-64")(
    "with a warm start has the same code and data, but for the interpreter's notes (x86-64 only)",
    () => {
      mustRun([process.execPath, `${root}/scripts/build.ts`, nativeArch, `${directory}/cold`, "--cold"]);
      const cold = Buffer.from(withoutNotes(readFileSync(`${directory}/cold`)));
      const warm = readFileSync(`${root}/bin/tsrun`);
      // Between the headers, which say where it is entered, and what is entered.
      const [from, to] = [4096, lastSegmentOffset(cold)];
      expect(lastSegmentOffset(warm)).toBe(to);
      expect(warm.subarray(from, to).equals(cold.subarray(from, to))).toBe(true);
    },
    120_000,
  );
});

function lastSegmentOffset(file: Buffer): number {
  const last = Number(file.readBigUInt64LE(32)) + 56 * (file.readUInt16LE(56) - 1);
  return Number(file.readBigUInt64LE(last + 8));
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
