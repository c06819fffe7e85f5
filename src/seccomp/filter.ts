import {
  SECCOMP_FILTER_FLAG_LOG,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
  SECCOMP_RET_ACTION_FULL,
  SECCOMP_RET_ALLOW,
  SECCOMP_RET_LOG,
  SECCOMP_RET_USER_NOTIF,
} from "../abi/seccomp.ts";
import { TsrunError } from "../errors.ts";
import type { Seccomp, SeccompArch, SeccompFlag } from "../spec/types.ts";
import { tokenOf } from "./architectures.ts";
import { compileDecisions, decisionsFor } from "./compile.ts";
import { type Decisions, decisionOn } from "./decisions.ts";
import { interpret } from "./interpret.ts";

/** linux.seccomp as the kernel takes it. */
export interface Filter {
  /** struct sock_filter[]. */
  readonly program: Uint8Array;
  /** SECCOMP_FILTER_FLAG_…, but for NEW_LISTENER. */
  readonly flags: number;
  /** Some call is decided by who listens at listenerPath. */
  readonly notifies: boolean;
  /** The filter may keep the process from telling why its program could not be executed. */
  readonly isMute: boolean;
}

/** Compiles a profile, and looks whether a container can start under it. */
export function filterOf(profile: Seccomp, native: SeccompArch): Filter {
  const all = decisionsFor(profile, native);
  const notifies = (profile.syscalls ?? []).some(({ action }) => action === "SCMP_ACT_NOTIFY");
  const own = all[0]!;
  mustAllow(own, "execve", "the container's own start");
  for (const name of notifies ? ["write", "recvfrom"] : []) mustAllow(own, name, "handing over the listener");
  const isMute = !answers(own, "write").every((answer) => answer === "allow");
  return { program: compileDecisions(all), flags: flagsOf(profile.flags), notifies, isMute };
}

/**
 * Throws when a process that has to give up CAP_SYS_ADMIN after the filter may not: without no_new_privs capset, of this
 * number, is what follows. Its arguments are pointers, about which no profile has conditions.
 */
export function mustAllowCapset({ program }: Filter, native: SeccompArch, number: number): void {
  const { returns } = interpret(program, { number, token: tokenOf(native), args: [] });
  if (answerOf(returns) !== "deny") return;
  throw new TsrunError("the seccomp profile denies capset, which the container's own start needs (linux.seccomp)", {
    code: "EINVAL",
    pointer: "/linux/seccomp",
    hint: "allow capset in linux.seccomp.syscalls, or set process.noNewPrivileges: without it, privileges are given up last",
  });
}

function mustAllow(decisions: Decisions, name: string, what: string): void {
  if (!answers(decisions, name).every((answer) => answer === "deny")) return;
  throw new TsrunError(`the seccomp profile denies ${name}, which ${what} needs (linux.seccomp)`, {
    code: "EINVAL",
    pointer: "/linux/seccomp",
    hint: `allow ${name} in linux.seccomp.syscalls`,
  });
}

/** What may come of a call, as far as no argument is known. */
function answers(decisions: Decisions, name: string): ("allow" | "ask" | "deny")[] {
  const number = decisions.architecture.numbers.get(name) ?? -1;
  return decisionOn(decisions, number).map(({ returns }) => answerOf(returns));
}

function answerOf(returns: number): "allow" | "ask" | "deny" {
  const action = (returns & SECCOMP_RET_ACTION_FULL) >>> 0;
  if (action === SECCOMP_RET_USER_NOTIF) return "ask";
  return action === SECCOMP_RET_ALLOW || action === SECCOMP_RET_LOG ? "allow" : "deny";
}

/** TSYNC asks for nothing more: a process that begins has one thread. Without a list it is SPEC_ALLOW, as with runc. */
function flagsOf(names: readonly SeccompFlag[] | undefined): number {
  if (names === undefined) return SECCOMP_FILTER_FLAG_SPEC_ALLOW;
  const bits: Readonly<Record<SeccompFlag, number>> = {
    SECCOMP_FILTER_FLAG_TSYNC: 0,
    SECCOMP_FILTER_FLAG_LOG,
    SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
  };
  return names.reduce((sum, name) => sum | bits[name], 0);
}
