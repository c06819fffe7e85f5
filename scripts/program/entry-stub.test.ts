import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { nativeArch } from "../../src/abi/syscalls.ts";
import { assemble, canAssemble, listingOf } from "../assemble.ts";
import { addEntryStub, stubCode } from "./entry-stub.ts";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(`${tmpdir()}/tsrun-entry-`);
});
afterAll(() => rmSync(directory, { recursive: true }));

const listings = [
  { arch: "x86-64", name: "stubX86_64" },
  { arch: "aarch64", name: "stubAarch64" },
] as const;

for (const { arch, name } of listings) {
  test.skipIf(!canAssemble(arch))(`the entry stub for ${arch} is what its listing says (needs binutils)`, () => {
    const listing = listingOf(readFileSync(`${import.meta.dir}/entry-stub.ts`, "utf8"), name);
    expect(assemble(listing, arch, {}, directory)).toBe(stubCode(arch));
  });
}

describe("a compiled program", () => {
  const program = () => `${directory}/program`;
  beforeAll(() => {
    const kernel = `${import.meta.dir}/../../src/kernel/kernel.ts`;
    writeFileSync(
      `${directory}/main.ts`,
      `import { auxiliaryValue } from ${JSON.stringify(kernel)};
       console.log(Number(auxiliaryValue(8)), process.argv.length, process.env.NAME);
       if (process.argv[2] === "list") console.log(JSON.stringify(process.env));
       if (process.argv[2] === "maps") console.log(require("node:fs").readFileSync("/proc/self/smaps", "utf8"));
       if (process.argv[2] === "masks") {
         Bun.gc(true); // Makes threads.
         for (const thread of require("node:fs").readdirSync("/proc/self/task")) {
           console.log(require("node:fs").readFileSync("/proc/self/task/" + thread + "/status", "utf8"));
         }
       }`,
    );
    const command = [process.execPath, "build", "--compile", `--outfile=${program()}.plain`, `${directory}/main.ts`];
    const built = Bun.spawnSync(command, { cwd: directory });
    expect(built.stderr.toString()).toBe("");
    writeFileSync(program(), addEntryStub(readFileSync(`${program()}.plain`), nativeArch), { mode: 0o755 });
  });

  function output(command: string, environment: Record<string, string> = {}): string {
    return Bun.spawnSync(["sh", "-c", command], { env: environment }).stdout.toString().trim();
  }

  test("finds the soft limit of open files that its caller had", () => {
    expect(output(`ulimit -Sn 1234; exec ${program()}`)).toBe("1234 2 undefined");
    expect(output(`ulimit -Sn 999; exec ${program()} a b`, { NAME: "value" })).toBe("999 4 value");
  });

  test("keeps every variable but Bun's own, and has the options", () => {
    const given = { A: "1", BUN_OPTIONS: "--preload=/no/such/file", B: "2", BUN_BE_BUN: "1", NAME: "value" };
    expect(output(`exec ${program()} ${"x ".repeat(20)}`, given)).toEndWith("22 value");
    const listed = output(`exec ${program()} list`, given).split("\n").at(-1);
    const seen = JSON.parse(listed!) as Record<string, string>;
    expect(seen).toMatchObject({
      A: "1",
      B: "2",
      NAME: "value",
      BUN_JSC_useBaselineJIT: "0",
      BUN_JSC_useWarmUpMarkedBlocks: "0",
    });
    expect(Object.keys(seen).filter((name) => name.startsWith("BUN_"))).toEqual([
      "BUN_JSC_useBaselineJIT",
      "BUN_JSC_useWarmUpMarkedBlocks",
    ]);
  });

  test("makes the signals wait that are to be passed on, in every thread", () => {
    const masks = [...output(`exec ${program()} masks`).matchAll(/^SigBlk:\t(.*)$/gm)].map(([, mask]) =>
      BigInt(`0x${mask}`),
    );
    expect(masks.length).toBeGreaterThan(1);
    // SIGKILL and SIGSTOP cannot be blocked.
    const waiting = 0xfffffffe1affeb07n & ~((1n << 8n) | (1n << 18n));
    for (const mask of masks) expect(mask & waiting).toBe(waiting);
  });

  test("starts with an empty environment", () => {
    expect(output(`exec env -i ${program()}`)).toEndWith(" 2 undefined");
  });

  test("finds 0 when it has no stub", () => {
    expect(output(`ulimit -Sn 1234; exec ${program()}.plain`)).toBe("0 2 undefined");
  });

  test("has its code where a huge page of memory is one of the file, in less than 4 MiB more", () => {
    const [before, after] = [readFileSync(`${program()}.plain`), readFileSync(program())];
    const shared = programHeaders(after).filter(({ type, flags }) => type === 1 && (flags & 2) === 0);
    const entry = shared.at(-1)!;
    const places = shared
      .filter((segment) => segment !== entry)
      .map(({ offset, address }) => (address - offset) % 2 ** 21);
    expect(places).toEqual([0, 0]);
    expect(shared[1]!.address % 2 ** 21).toBe(0);
    expect(entry).toEqual({
      type: 1,
      flags: 5,
      offset: entry.offset,
      address: new DataView(after.buffer).getUint32(24, true),
    });
    expect(after.length - before.length).toBeLessThan(2 ** 22);
  });

  const hasHugePages = existsSync("/sys/kernel/mm/transparent_hugepage");
  test.skipIf(!hasHugePages)("has asked for huge pages for its code (needs CONFIG_TRANSPARENT_HUGEPAGE)", () => {
    const maps = output(`exec ${program()} maps`);
    const code = maps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m).filter((map) => / r-xp .*program\n/.test(map));
    expect(code.length).toBe(2);
    expect(code[0]).toMatch(/^VmFlags:.* hg/m);
  });

  test.skipIf(Bun.which("readelf") === null)("still has its sections where they were (needs binutils)", () => {
    const names = (file: string) => output(`readelf -SW ${file} | grep -oE ' \\.[a-z_.]+ +[A-Z_]+ +[0-9a-f]+'`);
    expect(names(program()).split("\n").length).toBeGreaterThan(20);
    expect(names(program())).toBe(names(`${program()}.plain`));
    const note = output(`readelf -p .comment ${program()}`);
    expect(note).toContain("clang");
    expect(note).toBe(output(`readelf -p .comment ${program()}.plain`));
  });

  test("gets its stub only once", () => {
    expect(() => addEntryStub(readFileSync(program()), nativeArch)).toThrow("the last program header is not a PT_NOTE");
  });
});

/** elf(5), e_phoff and e_phnum. */
function programHeaders(file: Buffer): { type: number; flags: number; offset: number; address: number }[] {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  return Array.from({ length: view.getUint16(56, true) }, (_, i) => {
    const at = Number(view.getBigUint64(32, true)) + 56 * i;
    const [type, flags] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    return { type, flags, offset: view.getUint32(at + 8, true), address: view.getUint32(at + 16, true) };
  });
}

describe("addEntryStub refuses", () => {
  test("what is not an ELF file", () => {
    expect(() => addEntryStub(new Uint8Array(100), "x86-64")).toThrow("not a 64-bit ELF file for x86-64");
    expect(() => addEntryStub(new Uint8Array(10), "x86-64")).toThrow("not a 64-bit ELF file for x86-64");
  });

  test("a file for another machine", () => {
    const other = nativeArch === "x86-64" ? "aarch64" : "x86-64";
    expect(() => addEntryStub(readFileSync(process.execPath), other)).toThrow(`not a 64-bit ELF file for ${other}`);
  });
});
