import { capabilityBit } from "../abi/capability.ts";
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_WRONLY } from "../abi/fcntl.ts";
import {
  IOPRIO_CLASS_SHIFT,
  IOPRIO_WHO_PROCESS,
  KEY_POS_ALL,
  KEY_USR_LINK,
  KEY_USR_READ,
  KEY_USR_SEARCH,
  KEY_USR_VIEW,
  KEYCTL_JOIN_SESSION_KEYRING,
  KEYCTL_SETPERM,
  PER_LINUX,
  PER_LINUX32,
  PR_SET_DUMPABLE,
  PR_SET_KEEPCAPS,
  PR_SET_NO_NEW_PRIVS,
} from "../abi/prctl.ts";
import { RLIMIT_NOFILE, rlimitNames } from "../abi/resource.ts";
import { SCHED_ATTR_SIZE_VER0, schedulerFlags, schedulerPolicies } from "../abi/sched.ts";
import { propertyOf } from "../errors.ts";
import type { HostFacts } from "../host/facts.ts";
import type { Personality, Process } from "../spec/types.ts";
import { utf8 } from "../text.ts";
import {
  type CapabilitySets,
  capabilitySets,
  type LastCapabilities,
  planBoundingSet,
  planCapabilitySets,
} from "./capabilities.ts";
import { openDestination, openInRoot } from "./paths.ts";
import {
  add,
  addAll,
  bytes,
  CAUSE,
  label,
  type Program,
  place,
  type Slot,
  type SlotTable,
  slot,
  struct,
} from "./step.ts";

/** What the planners of one process share, be it the container's first or one that exec adds. */
export interface ProcessContext {
  readonly process: Process;
  /** Where the process is described: `/process` in config.json, empty in a process.json. */
  readonly pointer: string;
  readonly personality: Personality | undefined;
  /** The container has a user namespace, so all capabilities are there to be given. */
  readonly inUserNamespace: boolean;
  readonly facts: HostFacts;
  readonly slots: SlotTable;
  /** tsrun, while the process waits: what takes the host's privileges. */
  readonly attach: Program;
  /** The process itself: everything that is given up or set. */
  readonly identity: Program;
  /** The process as tsrun sees it. */
  readonly pid: Slot;
  /** An O_PATH descriptor of the root of the container's file system. */
  readonly rootfs: Slot;
  /** Make a working directory that does not exist: for the container's first process. */
  readonly makesWorkingDirectory: boolean;
  /** Which of 0, 1 and 2 should belong to the user of the process. */
  readonly stdio: readonly number[];
  readonly warnings: string[];
  /** A seccomp filter will be loaded, see planFilter. */
  readonly isFiltered: boolean;
}

/** What tsrun does to the waiting process from outside, with privileges that it does not have inside. */
export function planProcessAttributes(context: ProcessContext): void {
  planRlimits(context);
  planScheduler(context);
  planIoPriority(context);
}

/**
 * The agent sets its own, which its child inherits, before it hides from ptrace: of a process that is not dumpable the
 * file is root's, and nobody else can open it.
 */
export function planOomScore(
  program: Program,
  slots: SlotTable,
  { oomScoreAdj }: Pick<Process, "oomScoreAdj">,
  pointer: string,
): void {
  if (oomScoreAdj === undefined) return;
  const file = slot(slots, "oom_score_adj");
  const score = String(oomScoreAdj);
  const origin = { what: `set the OOM score adjustment ${score}`, pointer: `${pointer}/oomScoreAdj` };
  const hint = "to go below what the caller has takes CAP_SYS_RESOURCE: leave it out, or start tsrun with it";
  addAll(program, [
    { call: "openat", args: [AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC, 0], into: file, ...origin },
    { call: "write", args: [file, bytes(utf8(score)), score.length], ...origin, hint },
    { call: "close", args: [file], ...origin },
  ]);
}

/**
 * Raising a hard limit takes CAP_SYS_RESOURCE on the host, so tsrun sets all limits from outside. RLIMIT_NOFILE only
 * gets its ceiling there: a low one would leave the process without descriptors to build the container with.
 */
function planRlimits(context: ProcessContext): void {
  const { process, attach, pid, pointer, facts } = context;
  for (const [i, { type, soft, hard }] of (process.rlimits ?? []).entries()) {
    const resource = rlimitNames.indexOf(type);
    if (resource === RLIMIT_NOFILE && BigInt(hard) <= BigInt(facts.nofile.hard)) continue;
    add(attach, {
      call: "prlimit64",
      args: [pid, resource, struct("rlimit", resource === RLIMIT_NOFILE ? hard : soft, hard), 0],
      what: `set ${type} to ${soft}:${hard}`,
      pointer: `${pointer}/rlimits/${i}`,
    });
  }
}

function planScheduler({ process, attach, pid, pointer }: ProcessContext): void {
  const scheduler = process.scheduler;
  if (scheduler === undefined) return;
  const flags = (scheduler.flags ?? []).reduce((sum, name) => sum | (schedulerFlags[name] ?? 0), 0);
  const policy = schedulerPolicies.indexOf(scheduler.policy);
  const nice = BigInt(scheduler.nice ?? 0) & 0xffffffffn;
  add(attach, {
    call: "sched_setattr",
    args: [
      pid,
      struct(
        "sched_attr",
        BigInt(SCHED_ATTR_SIZE_VER0) | (BigInt(policy) << 32n),
        flags,
        nice | (BigInt(scheduler.priority ?? 0) << 32n),
        scheduler.runtime ?? 0,
        scheduler.deadline ?? 0,
        scheduler.period ?? 0,
      ),
      0,
    ],
    what: `set the scheduling policy ${scheduler.policy}`,
    pointer: `${pointer}/scheduler`,
  });
}

function planIoPriority({ process, attach, pid, pointer }: ProcessContext): void {
  const ioPriority = process.ioPriority;
  if (ioPriority === undefined) return;
  const classes = ["", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"];
  const value = (classes.indexOf(ioPriority.class) << IOPRIO_CLASS_SHIFT) | (ioPriority.priority ?? 0);
  add(attach, {
    call: "ioprio_set",
    args: [IOPRIO_WHO_PROCESS, pid, value],
    what: `set the I/O priority ${ioPriority.class} ${ioPriority.priority ?? 0}`,
    pointer: `${pointer}/ioPriority`,
  });
}

/**
 * A session keyring of its own: otherwise the container would share the caller's keys. Key quotas are small and shared
 * by all containers of a user, so failing to get one is no reason not to run.
 */
export function planSessionKeyring(program: Program, slots: SlotTable, id: string): void {
  const keyring = slot(slots, "session keyring");
  const permissions = KEY_POS_ALL | KEY_USR_VIEW | KEY_USR_READ | KEY_USR_SEARCH | KEY_USR_LINK;
  const done = label();
  addAll(program, [
    {
      call: "keyctl",
      args: [KEYCTL_JOIN_SESSION_KEYRING, `_ses.${id}`, 0, 0, 0],
      into: keyring,
      tolerate: ["EDQUOT", "EPERM", "EACCES", "ENOSYS", "ENOMEM"],
      onTolerated: done,
      what: "join a session keyring",
    },
    {
      call: "keyctl",
      args: [KEYCTL_SETPERM, keyring, permissions, 0, 0],
      tolerate: ["EPERM", "EACCES", "ENOSYS"],
      what: "let the user of the process search the session keyring",
    },
  ]);
  place(program, done);
}

/**
 * Everything that the process becomes, in the one right order: whoever gives up a privilege has used it before. Labels
 * are set by now (planExecLabels); the seccomp filter and execve come later (planFilter, planExecve).
 *
 * Returns the capabilities that are left to be set when the seccomp filter is loaded: without no_new_privs that takes
 * CAP_SYS_ADMIN, which the process keeps until then. Nobody can make use of it: the process is undumpable, and executes
 * nothing but hooks, for which the bounding set holds.
 */
export function planIdentity(context: ProcessContext): LastCapabilities | undefined {
  const { process, identity, pointer, facts } = context;
  const everything = (1n << BigInt(facts.lastCapability + 1)) - 1n;
  const held = context.inUserNamespace ? everything : facts.boundingCapabilities;
  const grantable = context.inUserNamespace ? everything : facts.boundingCapabilities & facts.effectiveCapabilities;
  const sets = capabilitySets(process.capabilities, facts.lastCapability, grantable, context.warnings);
  const uid = process.user?.uid ?? 0;

  // Takes nothing, and no step below it minds.
  planPersonality(context);
  // As root first: a directory may be closed to the user but open to root. It is made, where it is missing, by root.
  const entered = planWorkingDirectory(context);
  // While there is CAP_SETPCAP, which the change of user makes ineffective and capset may take away.
  planBoundingSet(identity, sets, held, facts.lastCapability, pointer);
  // While there is CAP_CHOWN.
  planStdioOwner(context, uid);
  // Otherwise leaving user 0 would clear the permitted set, and capset could give nothing.
  if (uid !== 0) planKeepCapabilities(identity, true);
  // Groups, then gid, then uid: the first two take CAP_SETGID, which is not effective any more after the third.
  planUser(context, uid);
  // A change of ids makes a process visible to others with these ids where fs.suid_dumpable says so; nothing below does.
  add(identity, { call: "prctl", args: [PR_SET_DUMPABLE, 0, 0, 0, 0], what: "hide the process from ptrace" });
  // As the user, where root may not: before capset, which could give the user what lets anybody in.
  planWorkingDirectoryAsUser(context, entered);
  // The one of the securebits that is set here. execve would end it too, but it is nobody's business to see it.
  if (uid !== 0) planKeepCapabilities(identity, false);
  // After the change of user, which has cleared the effective and the ambient set.
  const admin = keptForFilter(context, sets, grantable);
  const { effective, permitted } = sets;
  planCapabilitySets(identity, { ...sets, effective: effective | admin, permitted: permitted | admin }, pointer);
  // After all that may still gain something, and before the filter, which is loaded without CAP_SYS_ADMIN then.
  if (process.noNewPrivileges === true) planNoNewPrivileges(identity, pointer);
  // After what makes files for the container: the working directory.
  add(identity, {
    call: "umask",
    args: [process.user?.umask ?? 0o022],
    what: "set the umask",
    pointer: `${pointer}/user/umask`,
  });
  // The last: nothing is opened after it but the program.
  planDescriptorLimit(context);
  return admin === 0n ? undefined : { effective, permitted, inheritable: sets.inheritable };
}

function planKeepCapabilities(identity: Program, keep: boolean): void {
  const what = keep ? "keep capabilities over setuid" : "end keeping capabilities";
  add(identity, { call: "prctl", args: [PR_SET_KEEPCAPS, keep ? 1 : 0, 0, 0, 0], what });
}

function planNoNewPrivileges(identity: Program, pointer: string): void {
  add(identity, {
    call: "prctl",
    args: [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0],
    what: "set no_new_privs",
    pointer: `${pointer}/noNewPrivileges`,
  });
}

/** CAP_SYS_ADMIN, where it has to be kept for a while although the process is not to have it. */
function keptForFilter(
  { isFiltered, process }: ProcessContext,
  { effective }: CapabilitySets,
  grantable: bigint,
): bigint {
  if (!isFiltered || process.noNewPrivileges === true) return 0n;
  return capabilityBit("CAP_SYS_ADMIN") & grantable & ~effective;
}

function planPersonality({ personality, identity, warnings }: ProcessContext): void {
  if (personality === undefined) return;
  if (personality.flags !== undefined && personality.flags.length > 0) {
    warnings.push("linux.personality.flags: no flags are defined by the specification, ignoring them");
  }
  add(identity, {
    call: "personality",
    args: [personality.domain === "LINUX32" ? PER_LINUX32 : PER_LINUX],
    what: `set the personality ${personality.domain}`,
    pointer: "/linux/personality/domain",
  });
}

/**
 * The directory is resolved inside the root file system and entered by descriptor, so it cannot be a host directory that
 * some descriptor still refers to (CVE-2024-21626): magic links such as /proc/self/fd/7 are refused.
 */
function planWorkingDirectory(context: ProcessContext): Slot {
  const { process, identity, slots, rootfs } = context;
  const entered = slot(slots, "cwd entered");
  const origin = { what: `chdir to cwd (${JSON.stringify(process.cwd)})`, pointer: `${context.pointer}/cwd` };
  const says = workingDirectorySays(process.cwd);
  let fd: Slot;
  if (context.makesWorkingDirectory) {
    fd = openDestination(identity, slots, { root: rootfs, path: process.cwd, kind: "directory" }, origin, { says });
  } else {
    fd = slot(slots, "working directory");
    openInRoot(identity, fd, rootfs, process.cwd, origin, { says }, O_DIRECTORY);
  }
  add(identity, { call: "fchdir", args: [fd], into: entered, tolerate: ["EACCES", "EPERM"], ...origin });
  return entered;
}

function workingDirectorySays(cwd: string): Record<string, string> {
  const failed = `chdir to cwd (${JSON.stringify(cwd)}) set in config.json failed`;
  const refused = `${failed}: current working directory is outside of container mount namespace root -- possible container breakout detected`;
  return { ELOOP: refused, EXDEV: refused, "*": `${failed}: ${CAUSE}` };
}

/** Second try for what root may not enter: a file system of another host, say, that maps root to nobody. */
function planWorkingDirectoryAsUser(context: ProcessContext, entered: Slot): void {
  const { process, identity, slots, rootfs } = context;
  const origin = { what: `chdir to cwd (${JSON.stringify(process.cwd)})`, pointer: `${context.pointer}/cwd` };
  const says = workingDirectorySays(process.cwd);
  const done = label();
  const fd = slot(slots, "cwd");
  add(identity, {
    // ESRCH exactly when the first result was a negative errno.
    call: "getpgid",
    args: [entered],
    tolerate: ["ESRCH"],
    onPositive: done,
    onZero: done,
    what: "look whether the working directory was entered",
  });
  openInRoot(identity, fd, rootfs, process.cwd, origin, { says }, O_DIRECTORY);
  add(identity, { call: "fchdir", args: [fd], ...origin, says });
  place(identity, done);
}

/** A user who is not root must be able to open its own /dev/stdout again; pipes of the caller belong to the caller. */
function planStdioOwner({ identity, stdio }: ProcessContext, uid: number): void {
  const O_KEEP = -1;
  for (const fd of stdio) {
    add(identity, {
      call: "fchown",
      args: [fd, uid, O_KEEP],
      tolerate: ["EPERM", "EINVAL", "EROFS", "EBADF"],
      what: `give descriptor ${fd} to the user of the process`,
    });
  }
}

/** user_namespaces(7), "The /proc/pid/setgroups file". */
export const SETGROUPS_DENIED =
  "operation not permitted: a user namespace that was made without root and with no group id but the caller's has no setgroups(2)";
export const SETGROUPS_HINT =
  "map subordinate group ids in linux.gidMappings (/etc/subgid has them), or leave additionalGids out";

function deniedSays(what: string, pointer: string): Record<string, string> {
  return { EPERM: `cannot ${what}: ${SETGROUPS_DENIED} (${propertyOf(pointer)})` };
}

function planUser(context: ProcessContext, uid: number): void {
  const { process, identity, pointer, facts } = context;
  const gid = process.user?.gid ?? 0;
  const groups = process.user?.additionalGids ?? [];
  const list = new Uint8Array(Uint32Array.from(groups).buffer);
  const what = `set the additional groups [${groups.join(" ")}]`;
  const noSetgid = (facts.effectiveCapabilities & capabilityBit("CAP_SETGID")) === 0n;
  // Without a group that the process has not anyway, nothing is lost when the kernel refuses.
  const mayBeDenied = noSetgid || facts.inUserNamespace;
  const mayFail = groups.every((group) => group === gid) && mayBeDenied;
  addAll(identity, [
    {
      call: "setgroups",
      args: [groups.length, groups.length === 0 ? 0 : bytes(list)],
      // setgroups(2) is denied for ever in a user namespace that an unprivileged user made.
      tolerate: mayFail ? ["EPERM"] : undefined,
      what,
      pointer: `${pointer}/user/additionalGids`,
      says: mayBeDenied ? deniedSays(what, `${pointer}/user/additionalGids`) : undefined,
      hint: mayBeDenied ? SETGROUPS_HINT : undefined,
    },
    { call: "setresgid", args: [gid, gid, gid], what: `become group ${gid}`, pointer: `${pointer}/user/gid` },
    { call: "setresuid", args: [uid, uid, uid], what: `become user ${uid}`, pointer: `${pointer}/user/uid` },
  ]);
}

/** The limit of the config, or the one that tsrun was started with: Bun raised its own. */
function planDescriptorLimit({ process, identity, pointer, facts }: ProcessContext): void {
  const index = (process.rlimits ?? []).findIndex(({ type }) => type === "RLIMIT_NOFILE");
  const { soft, hard } = index < 0 ? facts.nofile : process.rlimits![index]!;
  add(identity, {
    call: "prlimit64",
    args: [0, RLIMIT_NOFILE, struct("rlimit", soft, hard), 0],
    what: `set RLIMIT_NOFILE to ${soft}:${hard}`,
    pointer: index < 0 ? "" : `${pointer}/rlimits/${index}`,
  });
}
