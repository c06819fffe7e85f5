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
import { SECCOMP_ACTIONS, SECCOMP_ARCHITECTURES, SECCOMP_OPERATORS } from "../spec/seccomp-names.ts";
import type { Features, SeccompFlag } from "../spec/types.ts";

type SeccompFeatures = NonNullable<NonNullable<Features["linux"]>["seccomp"]>;

/** What tsrun compiles, as far as this kernel has it; nothing without CONFIG_SECCOMP_FILTER. */
export function seccompFeatures(): SeccompFeatures {
  const available = SECCOMP_ACTIONS.filter((action) => hasAction(returnValue(action, 0)));
  if (available.length === 0) return { enabled: false };
  const known = flags();
  return {
    enabled: true,
    actions: available,
    operators: [...SECCOMP_OPERATORS],
    archs: [...SECCOMP_ARCHITECTURES],
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
