/**
 * The numbers of the kernel's system calls on every architecture that linux.seccomp knows, from the headers of Debian's
 * package linux-libc-dev (6.12 or later: it has all architectures): `bun scripts/generate-syscalls.ts [DIR]` writes
 * src/seccomp/generated/syscalls.ts. DIR is where the package put them, /usr/lib/linux/uapi.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { gunzipSync } from "node:zlib";

/** Header below DIR, and what the header adds to every number: only x32's bit is left out of the table. */
const TABLES: Readonly<Record<string, { readonly header: string; readonly bases?: Readonly<Record<string, number>> }>> =
  {
    x86: { header: "x86/asm/unistd_32.h" },
    x86_64: { header: "x86/asm/unistd_64.h" },
    x32: { header: "x86/asm/unistd_x32.h", bases: { __X32_SYSCALL_BIT: 0 } },
    arm: { header: "arm/asm/unistd-eabi.h", bases: { __NR_SYSCALL_BASE: 0 } },
    aarch64: { header: "arm64/asm/unistd_64.h" },
    mips: { header: "mips/asm/unistd_o32.h", bases: { __NR_Linux: 4000 } },
    mips64: { header: "mips/asm/unistd_n64.h", bases: { __NR_Linux: 5000 } },
    mips64n32: { header: "mips/asm/unistd_n32.h", bases: { __NR_Linux: 6000 } },
    ppc: { header: "powerpc/asm/unistd_32.h" },
    ppc64: { header: "powerpc/asm/unistd_64.h" },
    s390: { header: "s390/asm/unistd_32.h" },
    s390x: { header: "s390/asm/unistd_64.h" },
    parisc: { header: "parisc/asm/unistd_32.h" },
    parisc64: { header: "parisc/asm/unistd_64.h" },
    riscv64: { header: "riscv/asm/unistd_64.h" },
    loongarch64: { header: "loongarch/asm/unistd_64.h" },
    m68k: { header: "m68k/asm/unistd_32.h" },
    sh: { header: "sh/asm/unistd_32.h" },
  };

/** arm/asm/unistd.h: calls that only the EABI of 32-bit ARM has, above __ARM_NR_BASE. */
const ARM_PRIVATE = ["breakpoint", "cacheflush", "usr26", "usr32", "set_tls", "get_tls"];
const ARM_NR_BASE = 0x0f0000;

/** Name and number, in the order of the numbers. */
function readTable(directory: string, name: string): [string, number][] {
  const { header, bases = {} } = TABLES[name]!;
  const text = readFileSync(`${directory}/${header}`, "utf8");
  const found: [string, number][] = [];
  for (const [, call = "", base = "", plus = "", alone = ""] of text.matchAll(
    /^#define __NR_(\w+)\s+(?:\((\w+)\s*\+\s*(\d+)\)|(\d+))\s*$/gm,
  )) {
    if (alone === "" && bases[base] === undefined) throw new Error(`${header}: ${call} is above an unknown ${base}`);
    found.push([call, alone === "" ? bases[base]! + Number(plus) : Number(alone)]);
  }
  if (name === "arm") for (const [i, call] of ARM_PRIVATE.entries()) found.push([call, ARM_NR_BASE + 1 + i]);
  if (found.length < 300) throw new Error(`${header}: only ${found.length} system calls found`);
  return found.sort((a, b) => a[1] - b[1]);
}

/** `read write 5:fstat`: a number where it is not one more than that of the call before. */
function packed(table: readonly [string, number][]): string {
  let next = 0;
  return table
    .map(([call, number]) => {
      const word = number === next ? call : `${number}:${call}`;
      next = number + 1;
      return word;
    })
    .join(" ");
}

/** `6.12.107-1 (2026-10-01)`, from the package's changelog. */
function packageVersion(directory: string): string {
  const changelog = resolve(directory, "../../../share/doc/linux-libc-dev/changelog.Debian.gz");
  if (!existsSync(changelog)) throw new Error(`cannot tell the version of linux-libc-dev: ${changelog} is missing`);
  const text = gunzipSync(readFileSync(changelog)).toString();
  const version = /^linux \(([^)]+)\)/.exec(text)?.[1];
  const date = /^ -- .*> {2}(.*)$/m.exec(text)?.[1];
  if (version === undefined || date === undefined) throw new Error(`${changelog}: no version and date in it`);
  return `${version} (${new Date(date).toISOString().slice(0, 10)})`;
}

function generate(directory: string): string {
  const functions = Object.keys(TABLES).map(
    (name) => `export function ${name}(): string {\n  return ${JSON.stringify(packed(readTable(directory, name)))};\n}`,
  );
  return `/**
 * Made by scripts/generate-syscalls.ts from Debian's linux-libc-dev ${packageVersion(directory)}.
 * System calls by number, from 0: a number stands before a call whose number is not one more than that before it.
 */
${functions.join("\n")}
`;
}

const [directory = "/usr/lib/linux/uapi"] = process.argv.slice(2);
writeFileSync(resolve(import.meta.dir, "../src/seccomp/generated/syscalls.ts"), generate(directory));
