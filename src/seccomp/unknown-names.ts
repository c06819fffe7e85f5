import type { Seccomp, SeccompArch } from "../spec/types.ts";
import { architecture } from "./architectures.ts";

/** Those whose tables differ; the others have one of these. */
const TABLES: readonly SeccompArch[] = [
  "SCMP_ARCH_X86_64",
  "SCMP_ARCH_X86",
  "SCMP_ARCH_X32",
  "SCMP_ARCH_AARCH64",
  "SCMP_ARCH_ARM",
  "SCMP_ARCH_S390",
  "SCMP_ARCH_S390X",
  "SCMP_ARCH_PPC",
  "SCMP_ARCH_PPC64",
  "SCMP_ARCH_MIPS",
  "SCMP_ARCH_MIPS64",
  "SCMP_ARCH_MIPS64N32",
  "SCMP_ARCH_RISCV64",
  "SCMP_ARCH_LOONGARCH64",
  "SCMP_ARCH_PARISC",
  "SCMP_ARCH_PARISC64",
  "SCMP_ARCH_M68K",
  "SCMP_ARCH_SH",
];

/** The names in a profile that are no system call of any architecture, each once: mistyped, or newer than tsrun. */
export function unknownNames({ syscalls = [] }: Seccomp): string[] {
  let unknown = [...new Set(syscalls.flatMap(({ names }) => names))];
  for (const name of TABLES) {
    if (unknown.length === 0) break;
    const { numbers } = architecture(name);
    unknown = unknown.filter((call) => !numbers.has(call));
  }
  return unknown;
}
