import { _LINUX_CAPABILITY_VERSION_3, capabilityNames } from "../abi/capability.ts";
import { PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_CAP_AMBIENT_RAISE, PR_CAPBSET_DROP } from "../abi/prctl.ts";
import type { Capabilities } from "../spec/types.ts";
import { add, complete, type Program, type Step, struct } from "./step.ts";

/** The five sets of capabilities(7), one bit a capability. */
export interface CapabilitySets {
  readonly bounding: bigint;
  readonly effective: bigint;
  readonly permitted: bigint;
  readonly inheritable: bigint;
  readonly ambient: bigint;
}

/** What a process is left with after its seccomp filter was loaded. */
export type LastCapabilities = Omit<CapabilitySets, "bounding" | "ambient">;

/**
 * The sets that the config names, without what the kernel does not know or cannot grant: config.md, "Linux Process":
 * such a value MUST be logged as a warning. `grantable` is what this process could hand out at all.
 */
export function capabilitySets(
  capabilities: Capabilities | undefined,
  lastCapability: number,
  grantable: bigint,
  warnings: string[],
): CapabilitySets {
  const ignored = new Set<string>();
  const set = (names: readonly string[] | undefined): bigint => {
    let bits = 0n;
    for (const name of names ?? []) {
      const number = capabilityNames.indexOf(name as (typeof capabilityNames)[number]);
      const bit = number < 0 ? 0n : 1n << BigInt(number);
      if (number < 0 || number > lastCapability || (bit & grantable) === 0n) ignored.add(name);
      else bits |= bit;
    }
    return bits;
  };
  const bounding = set(capabilities?.bounding);
  const permitted = set(capabilities?.permitted);
  const wantedEffective = set(capabilities?.effective);
  const effective = wantedEffective & permitted;
  const wantedInheritable = set(capabilities?.inheritable);
  // capset(2) refuses to make inheritable what has left the bounding set, and that has gone by then.
  const inheritable = wantedInheritable & bounding;
  const wanted = set(capabilities?.ambient);
  const ambient = wanted & permitted & inheritable;
  if (ignored.size > 0) warnings.push(`ignoring unknown or unavailable capabilities: [${[...ignored].join(" ")}]`);
  warnOfLost("effective capabilities that are not permitted", wantedEffective & ~effective, warnings);
  warnOfLost("inheritable capabilities that are not in the bounding set", wantedInheritable & ~inheritable, warnings);
  warnOfLost("ambient capabilities that are not both permitted and inheritable", wanted & ~ambient, warnings);
  return { bounding, effective, permitted, inheritable, ambient };
}

function warnOfLost(what: string, lost: bigint, warnings: string[]): void {
  if (lost === 0n) return;
  const names = capabilityNames.filter((_, i) => (lost >> BigInt(i)) & 1n);
  warnings.push(`ignoring ${what}: [${names.join(" ")}]`);
}

/** Gives up for ever what is not in the bounding set; `held` is the bounding set before. Needs CAP_SETPCAP. */
export function planBoundingSet(
  program: Program,
  sets: CapabilitySets,
  held: bigint,
  last: number,
  pointer: string,
): void {
  const unwanted = held & ~sets.bounding;
  const halves = [Number(unwanted & 0xffffffffn), Number(unwanted >> 32n)];
  const steps = dropSteps(pointer);
  for (let capability = 0; capability <= last; capability++) {
    if (((halves[capability >> 5]! >>> (capability & 31)) & 1) === 0) continue;
    const step = steps[capability] ?? dropStep(capability, pointer);
    steps[capability] = step;
    program.steps.push(step);
  }
}

/** By the pointer of the process, then by capability. A sixth of all steps are of this kind, and the same each time. */
const dropped = new Map<string, Step[]>();

function dropSteps(pointer: string): Step[] {
  const steps = dropped.get(pointer) ?? [];
  dropped.set(pointer, steps);
  return steps;
}

function dropStep(capability: number, pointer: string): Step {
  return complete({
    call: "prctl",
    args: [PR_CAPBSET_DROP, capability, 0, 0, 0],
    what: `drop ${capabilityNames[capability] ?? `capability ${capability}`} from the bounding set`,
    pointer: `${pointer}/capabilities/bounding`,
  });
}

/** The other sets, after the change of user (which clears them) and ambient last: it may only hold what the others do. */
export function planCapabilitySets(program: Program, sets: CapabilitySets, pointer: string): void {
  planCapset(program, sets, pointer);
  add(program, {
    call: "prctl",
    args: [PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0],
    what: "clear the ambient capabilities",
    pointer: `${pointer}/capabilities/ambient`,
  });
  if (sets.ambient === 0n) return;
  for (const [number, name] of capabilityNames.entries()) {
    if (((sets.ambient >> BigInt(number)) & 1n) === 0n) continue;
    add(program, {
      call: "prctl",
      args: [PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0],
      what: `raise the ambient capability ${name}`,
      pointer: `${pointer}/capabilities/ambient`,
    });
  }
}

/** The effective, permitted and inheritable ones. What is no longer permitted leaves the ambient set by itself. */
export function planCapset(
  program: Program,
  { effective, permitted, inheritable }: LastCapabilities,
  pointer: string,
  hint?: string,
): void {
  const low = (set: bigint) => set & 0xffffffffn;
  const high = (set: bigint) => set >> 32n;
  const pair = (first: bigint, second: bigint) => first | (second << 32n);
  add(program, {
    call: "capset",
    args: [
      struct("cap_header", _LINUX_CAPABILITY_VERSION_3),
      struct(
        "cap_data",
        pair(low(effective), low(permitted)),
        pair(low(inheritable), high(effective)),
        pair(high(permitted), high(inheritable)),
      ),
    ],
    what: "set the capabilities of the process",
    pointer: `${pointer}/capabilities`,
    hint,
  });
}
