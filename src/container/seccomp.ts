import { nativeArch, syscallNumber } from "../abi/syscalls.ts";
import { TsrunError } from "../errors.ts";
import { stage } from "../kernel/trace.ts";
import type { LastCapabilities } from "../plan/capabilities.ts";
import { type Filter, filterOf, mustAllowCapset } from "../seccomp/filter.ts";
import { unknownNames } from "../seccomp/unknown-names.ts";
import type { Config, Seccomp, SeccompArch } from "../spec/types.ts";
import type { StartState } from "../state/state.ts";
import { readFilter, saveFilter } from "../state/store.ts";
import { cachedFilter, cacheFilter, cacheKey } from "./seccomp-cache.ts";

/** The name that linux.seccomp has for this machine's own architecture. */
export const NATIVE: SeccompArch = nativeArch === "x86-64" ? "SCMP_ARCH_X86_64" : "SCMP_ARCH_AARCH64";

/** The filter of a new container, which start and exec find in its state directory. */
export function prepareFilter(
  { linux, annotations }: Config,
  root: string,
  directory: number,
  explain?: (message: string) => void,
): Filter | undefined {
  if (linux?.seccomp === undefined) return undefined;
  stage("look for the seccomp filter");
  if (annotations?.[FAIL_UNKNOWN] === "1") mustBeKnown(linux.seccomp);
  if (explain !== undefined) explainUnknown(linux.seccomp, explain);
  const key = cacheKey(linux.seccomp, NATIVE);
  let filter = cachedFilter(root, key);
  if (filter === undefined) {
    stage("compile the seccomp filter");
    filter = filterOf(linux.seccomp, NATIVE);
    stage("keep the seccomp filter");
    cacheFilter(root, key, filter);
  }
  saveFilter(directory, filter.program);
  return filter;
}

/** crun's: names that the kernel does not have are an error, not passed over. */
const FAIL_UNKNOWN = "run.oci.seccomp_fail_unknown_syscall";

function mustBeKnown(profile: Seccomp): void {
  const [unknown] = unknownNames(profile);
  if (unknown === undefined) return;
  const at = (profile.syscalls ?? []).findIndex(({ names }) => names.includes(unknown));
  throw new TsrunError(`unknown seccomp syscall ${JSON.stringify(unknown)} (linux.seccomp.syscalls[${at}].names)`, {
    code: "EINVAL",
    pointer: `/linux/seccomp/syscalls/${at}/names`,
    hint: `without the annotation ${FAIL_UNKNOWN}=1 it is passed over`,
  });
}

/** config-linux.md: names that the kernel does not have are ignored. Who mistypes one wants to know all the same. */
function explainUnknown(profile: Seccomp, explain: (message: string) => void): void {
  const unknown = unknownNames(profile);
  if (unknown.length === 0) return;
  explain(
    `ignoring names that are no system calls: ${unknown.map((name) => JSON.stringify(name)).join(", ")} (linux.seccomp.syscalls)`,
  );
}

/** What start and exec need to know of it. */
export function filterState(
  filter: Filter | undefined,
  last: LastCapabilities | undefined,
): Pick<StartState, "filter" | "last_capabilities"> {
  if (filter === undefined) return {};
  const { flags, notifies, isMute } = filter;
  const state = { filter: { flags, notifies, is_mute: isMute } };
  if (last === undefined) return state;
  checkLastCapabilities(filter, last);
  const { effective, permitted, inheritable } = last;
  return {
    ...state,
    last_capabilities: {
      effective: String(effective),
      permitted: String(permitted),
      inheritable: String(inheritable),
    },
  };
}

/** Throws when the filter keeps the process from giving up what it has for loading it. */
export function checkLastCapabilities(filter: Filter | undefined, last: LastCapabilities | undefined): void {
  if (filter === undefined || last === undefined) return;
  mustAllowCapset(filter, NATIVE, syscallNumber("capset", nativeArch));
}

/** The filter that the container was created with. */
export function savedFilter(directory: number, { filter }: StartState): Filter | undefined {
  if (filter === undefined) return undefined;
  const { flags, notifies, is_mute: isMute } = filter;
  return { program: readFilter(directory), flags, notifies, isMute };
}

export function savedCapabilities({ last_capabilities: last }: StartState): LastCapabilities | undefined {
  if (last === undefined) return undefined;
  const { effective, permitted, inheritable } = last;
  return { effective: BigInt(effective), permitted: BigInt(permitted), inheritable: BigInt(inheritable) };
}
