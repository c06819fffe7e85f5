/** A profile as compiled here and by libseccomp: whether the two say the same, and what they take. */
import type { Seccomp, SeccompArch } from "../spec/types.ts";
import { compileDecisions, decisionsFor } from "./compile.ts";
import type { Decisions } from "./decisions.ts";
import { lengthOf } from "./emit.ts";
import { interpret } from "./interpret.ts";
import { compileWithLibseccomp, numberOf, tokenOf } from "./libseccomp-under-test.ts";

export interface ProgramFigures {
  readonly instructions: number;
  /** How many of them run for a call, on average over all calls of all architectures of the profile. */
  readonly path: number;
}

export interface Comparison {
  readonly ours: ProgramFigures;
  readonly theirs: ProgramFigures;
  /** Calls that the two disagree about. */
  readonly different: readonly string[];
}

/** The same in every argument: what the profiles of engines compare with, and the edges of it. */
const VALUES = [0n, 8n, 40n, 41n, 0x20008n, 0x7e020000n, 0xffffffffn, 2n ** 64n - 1n];

/** Needs libseccomp. */
export function compareWithLibseccomp(profile: Seccomp, native: SeccompArch): Comparison {
  const all = decisionsFor(profile, native);
  const ours = compileDecisions(all);
  const theirs = compileWithLibseccomp(
    profile,
    all.map(({ architecture }) => architecture),
  );
  const steps = { ours: 0, theirs: 0, calls: 0 };
  const different: string[] = [];
  for (const decisions of all) {
    const { name: on, token } = decisions.architecture;
    for (const [name, number] of knownCalls(decisions)) {
      for (const value of VALUES) {
        const call = { number, token, args: Array(6).fill(value) as bigint[] };
        const [a, b] = [interpret(ours, call), interpret(theirs, call)];
        steps.ours += a.path.length;
        steps.theirs += b.path.length;
        steps.calls++;
        if (a.returns !== b.returns) different.push(`${on} ${name}(${value}, …)`);
      }
    }
  }
  return {
    ours: { instructions: lengthOf(ours), path: steps.ours / steps.calls },
    theirs: { instructions: lengthOf(theirs), path: steps.theirs / steps.calls },
    different,
  };
}

/** Those that libseccomp knows too, and that are not newer than the profile: these do not exist for tsrun, as for runc. */
function knownCalls({ architecture: { name: on, token, numbers }, newest }: Decisions): [string, number][] {
  return [...numbers].filter(([name, number]) => {
    // -101 and the like are operations of socketcall and ipc; below that are calls that it does not know there.
    const theirs = numberOf(tokenOf(on, token), name);
    return theirs > -1000 && theirs !== -1 && number <= (newest ?? Number.POSITIVE_INFINITY);
  });
}
