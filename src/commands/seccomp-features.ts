import { errnoNumber } from "../abi/errno.ts";
import {
  SECCOMP_FILTER_FLAG_LOG,
  SECCOMP_FILTER_FLAG_NEW_LISTENER,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW,
  SECCOMP_FILTER_FLAG_TSYNC,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
  SECCOMP_GET_ACTION_AVAIL,
  SECCOMP_SET_MODE_FILTER,
} from "../abi/seccomp.ts";
import { sys } from "../kernel/kernel.ts";
import { returnValue } from "../seccomp/decisions.ts";
import type { Features, SeccompAction, SeccompArch, SeccompFlag, SeccompOperator } from "../spec/types.ts";

type SeccompFeatures = NonNullable<NonNullable<Features["linux"]>["seccomp"]>;

/** What tsrun compiles, as far as this kernel has it; nothing without CONFIG_SECCOMP_FILTER. */
export function seccompFeatures(): SeccompFeatures {
  const available = actions().filter((action) => hasAction(returnValue(action, 0)));
  if (available.length === 0) return { enabled: false };
  const known = flags();
  return {
    enabled: true,
    actions: available,
    operators: operators(),
    archs: archs(),
    knownFlags: known.map(([name]) => name),
    supportedFlags: known.filter(([, bits]) => hasFlag(bits)).map(([name]) => name),
  };
}

function hasAction(action: number): boolean {
  return sys("seccomp", SECCOMP_GET_ACTION_AVAIL, 0, Int32Array.of(action)) === 0;
}

/** A filter without a program: EFAULT, but EINVAL before that where the flag is not known. */
function hasFlag(bits: number): boolean {
  return sys("seccomp", SECCOMP_SET_MODE_FILTER, bits, 0) === -errnoNumber("EFAULT");
}

function flags(): [SeccompFlag, bits: number][] {
  return [
    ["SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC],
    ["SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG],
    ["SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW],
    // Has a meaning together with a listener only.
    [
      "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
      SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | SECCOMP_FILTER_FLAG_NEW_LISTENER,
    ],
  ];
}

function actions(): SeccompAction[] {
  return [
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
  ];
}

function operators(): SeccompOperator[] {
  return [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
  ];
}

function archs(): SeccompArch[] {
  return [
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
  ];
}
