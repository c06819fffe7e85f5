import type { SeccompArch } from "../spec/types.ts";
import * as calls from "./generated/syscalls.ts";

/** One table of system calls, as the filter sees it. */
export interface Architecture {
  readonly name: SeccompArch;
  /** AUDIT_ARCH_… of linux/audit.h: what seccomp_data.arch holds. */
  readonly token: number;
  /** Added to every number of the table: x32's bit. */
  readonly base: number;
  /** Where the table begins: at its base, but MIPS's thousands above it. */
  readonly first: number;
  /** Registers of 32 bits: as with libseccomp, only the lower half of an argument is looked at. */
  readonly is32: boolean;
  readonly isBigEndian: boolean;
  readonly numbers: ReadonlyMap<string, number>;
}

const LITTLE_ENDIAN = 0x40000000;
const IS_64_BIT = 0x80000000;
const N32 = 0x20000000;

/** linux/elf-em.h. */
const EM = {
  X86: 3,
  M68K: 4,
  MIPS: 8,
  PARISC: 15,
  PPC: 20,
  PPC64: 21,
  S390: 22,
  ARM: 40,
  SH: 42,
  X86_64: 62,
  AARCH64: 183,
  RISCV: 243,
  LOONGARCH: 258,
} as const;

const X32_BASE = 0x40000000;

/** Reads the table of the architecture: some 30 microseconds. */
export function architecture(name: SeccompArch): Architecture {
  const [, bits, table, base = 0] = description(name);
  const token = tokenOf(name);
  const is32 = bits < IS_64_BIT || base === X32_BASE || (bits & N32) !== 0;
  const isBigEndian = (bits & LITTLE_ENDIAN) === 0;
  const MIPS_FIRST = 4000;
  const start = Number.parseInt(table, 10);
  const first = start >= MIPS_FIRST ? start : base;
  return { name, token, base, first, is32, isBigEndian, numbers: parseCalls(table, base) };
}

/** The token alone, without the table. */
export function tokenOf(name: SeccompArch): number {
  const [machine, bits] = description(name);
  return machine + bits;
}

function description(name: SeccompArch): [machine: number, bits: number, table: string, base?: number] {
  switch (name) {
    case "SCMP_ARCH_X86":
      return [EM.X86, LITTLE_ENDIAN, calls.x86()];
    case "SCMP_ARCH_X86_64":
      return [EM.X86_64, IS_64_BIT + LITTLE_ENDIAN, calls.x86_64()];
    case "SCMP_ARCH_X32":
      return [EM.X86_64, IS_64_BIT + LITTLE_ENDIAN, calls.x32(), X32_BASE];
    case "SCMP_ARCH_ARM":
      return [EM.ARM, LITTLE_ENDIAN, calls.arm()];
    case "SCMP_ARCH_AARCH64":
      return [EM.AARCH64, IS_64_BIT + LITTLE_ENDIAN, calls.aarch64()];
    case "SCMP_ARCH_LOONGARCH64":
      return [EM.LOONGARCH, IS_64_BIT + LITTLE_ENDIAN, calls.loongarch64()];
    case "SCMP_ARCH_M68K":
      return [EM.M68K, 0, calls.m68k()];
    case "SCMP_ARCH_MIPS":
      return [EM.MIPS, 0, calls.mips()];
    case "SCMP_ARCH_MIPS64":
      return [EM.MIPS, IS_64_BIT, calls.mips64()];
    case "SCMP_ARCH_MIPS64N32":
      return [EM.MIPS, IS_64_BIT + N32, calls.mips64n32()];
    case "SCMP_ARCH_MIPSEL":
      return [EM.MIPS, LITTLE_ENDIAN, calls.mips()];
    case "SCMP_ARCH_MIPSEL64":
      return [EM.MIPS, IS_64_BIT + LITTLE_ENDIAN, calls.mips64()];
    case "SCMP_ARCH_MIPSEL64N32":
      return [EM.MIPS, IS_64_BIT + LITTLE_ENDIAN + N32, calls.mips64n32()];
    case "SCMP_ARCH_PPC":
      return [EM.PPC, 0, calls.ppc()];
    case "SCMP_ARCH_PPC64":
      return [EM.PPC64, IS_64_BIT, calls.ppc64()];
    case "SCMP_ARCH_PPC64LE":
      return [EM.PPC64, IS_64_BIT + LITTLE_ENDIAN, calls.ppc64()];
    case "SCMP_ARCH_S390":
      return [EM.S390, 0, calls.s390()];
    case "SCMP_ARCH_S390X":
      return [EM.S390, IS_64_BIT, calls.s390x()];
    case "SCMP_ARCH_SH":
      return [EM.SH, LITTLE_ENDIAN, calls.sh()];
    case "SCMP_ARCH_SHEB":
      return [EM.SH, 0, calls.sh()];
    case "SCMP_ARCH_PARISC":
      return [EM.PARISC, 0, calls.parisc()];
    case "SCMP_ARCH_PARISC64":
      return [EM.PARISC, IS_64_BIT, calls.parisc64()];
    case "SCMP_ARCH_RISCV64":
      return [EM.RISCV, IS_64_BIT + LITTLE_ENDIAN, calls.riscv64()];
  }
}

/** `read write 5:fstat`: a number stands before a call whose number is not one more than that of the one before. */
function parseCalls(packed: string, base: number): Map<string, number> {
  const numbers = new Map<string, number>();
  const words = packed.split(" ");
  const NINE = 57;
  let next = base;
  for (let i = 0; i < words.length; i++) {
    let word = words[i]!;
    if (word.charCodeAt(0) <= NINE) {
      const colon = word.indexOf(":");
      next = base + Number(word.slice(0, colon));
      word = word.slice(colon + 1);
    }
    numbers.set(word, next++);
  }
  return numbers;
}
