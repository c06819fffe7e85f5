import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH } from "../abi/fcntl.ts";
import { PR_SET_DUMPABLE, PR_SET_NAME } from "../abi/prctl.ts";
import { CLONE_ARGS_SIZE_VER2, CLONE_INTO_CGROUP, CLONE_PARENT } from "../abi/sched.ts";
import type { HostFacts } from "../host/facts.ts";
import type { Config, ExecCpuAffinity, Namespace, Process } from "../spec/types.ts";
import type { LastCapabilities } from "./capabilities.ts";
import { planLookup } from "./command.ts";
import { cpuSet } from "./cpu-list.ts";
import { type LabelOptions, type Labels, labelsOf, planExecLabels, planKeyringWithLabel } from "./labels.ts";
import { joinsWhenBorn, namespaceFlag, planBecomeRoot } from "./namespaces.ts";
import { type Passwd, planOpenPasswd } from "./passwd.ts";
import { planPrivateProc } from "./private-proc.ts";
import {
  type ProcessContext,
  planIdentity,
  planOomScore,
  planProcessAttributes,
  planSessionKeyring,
} from "./process.ts";
import {
  add,
  addAll,
  bytes,
  label,
  type Program,
  place,
  program,
  reply,
  type Slot,
  type SlotTable,
  slot,
  slotTable,
  struct,
} from "./step.ts";
import { planTerminal } from "./terminal.ts";

/** The programs that add a process to a container; see PlanContext for those of the container itself. */
export interface ExecPlan {
  readonly slots: SlotTable;
  /** Agent: joins cgroups and namespaces; its child is the new process. */
  readonly join: Program;
  /** tsrun, when the process exists. */
  readonly attach: Program;
  /** The process. */
  readonly identity: Program;
  readonly pid: Slot;
  readonly warnings: string[];
  /** What planIdentity leaves to be set when the seccomp filter is loaded. */
  lastCapabilities?: LastCapabilities | undefined;
  passwd?: Passwd | undefined;
  /** For a process with labels, from `join` on: of the host, for in the container there may be anything at /proc. */
  procfs?: Slot | undefined;
}

export interface ExecRequest {
  readonly id: string;
  readonly config: Config;
  readonly process: Process;
  /** `/process` of config.json, or empty for a process.json. */
  readonly pointer: string;
  readonly facts: HostFacts;
  /** Inherited by the agent: a pidfd of the container's first process, and its root directory. */
  readonly pidfd: number;
  readonly root: number;
  readonly console: number | undefined;
  readonly newKeyring: boolean;
  /** The container has a seccomp filter. */
  readonly isFiltered: boolean;
  /** Of the process, and in whose place options stand. */
  readonly labelOptions?: LabelOptions | undefined;
  readonly stdio: readonly number[];
}

export function newExecPlan(): ExecPlan {
  const slots = slotTable();
  return {
    slots,
    join: program("join", { silent: true }),
    attach: program("attach"),
    identity: program("identity"),
    pid: slot(slots, "process"),
    warnings: [],
  };
}

/** Processors for the way into the container: isolated ones must not be disturbed by it (config.md execCPUAffinity). */
export function planInitialAffinity(plan: ExecPlan, request: ExecRequest): void {
  const list = affinityOf(request)?.initial ?? "";
  if (list !== "") planAffinity(plan.join, list, "initial");
}

/**
 * Those of the process: without a list all that the container's cpuset has. Nothing else undoes `initial`: a cgroup
 * keeps to what was asked for by hand since Linux 6.2. Not before clone3, because until then being born into a cgroup
 * sets the processors anew.
 */
function planFinalAffinity(plan: ExecPlan, request: ExecRequest): void {
  const affinity = affinityOf(request);
  if (affinity === undefined) return;
  const list = affinity.final ?? "";
  if (list !== "") {
    planAffinity(plan.identity, list, "final");
    return;
  }
  // More than any machine has: the kernel takes what there is.
  const everything = new Uint8Array(1024).fill(0xff);
  add(plan.identity, {
    call: "sched_setaffinity",
    args: [0, everything.length, bytes(everything)],
    what: "run on all processors of the container",
    pointer: "/process/execCPUAffinity",
  });
}

/** What a process.json says replaces all that the container's config says, as in runc. */
function affinityOf({ process, config }: ExecRequest): ExecCpuAffinity | undefined {
  return process.execCPUAffinity ?? config.process?.execCPUAffinity;
}

function planAffinity(program: Program, list: string, when: "initial" | "final"): void {
  const pointer = `/process/execCPUAffinity/${when}`;
  const set = cpuSet(list, pointer);
  add(program, {
    call: "sched_setaffinity",
    args: [0, set.length, bytes(set)],
    what: `run on the processors ${JSON.stringify(list)}`,
    pointer,
    hint: "the container's cpuset has to have one of them",
  });
}

const NO_ROOM = "cannot create a process in the container's cgroup";

/**
 * All namespaces at once, as the container's first process has them (setns(2) with a pidfd); see joinsWhenBorn for one.
 * Nobody inside may look into this process while it still has something of the host (CVE-2016-9962): it is not dumpable
 * from the start.
 */
export function planJoin(plan: ExecPlan, request: ExecRequest, cgroup: Slot | undefined): void {
  const { join } = plan;
  const namespaces = request.config.linux?.namespaces ?? [];
  const later = namespaces.filter((namespace) => joinsWhenBorn(namespace, namespaces, cgroup));
  const flags = flagsOf(namespaces.filter((namespace) => !later.includes(namespace)));
  const child = label();
  planOomScore(join, plan.slots, request.process, request.pointer);
  add(join, { call: "prctl", args: [PR_SET_DUMPABLE, 0, 0, 0, 0], what: "hide the process from ptrace" });
  if (labelsOf(request.process, request.pointer) !== undefined) plan.procfs = planPrivateProc(join, plan.slots);
  if (flags !== 0) add(join, { call: "setns", args: [request.pidfd, flags], what: "join the container's namespaces" });
  const args = struct(
    "clone_args",
    CLONE_PARENT + (cgroup === undefined ? 0 : CLONE_INTO_CGROUP),
    ...[0, 0, 0, 0, 0, 0, 0, 0, 0],
    cgroup ?? 0,
  );
  add(join, {
    call: "clone3",
    args: [args, CLONE_ARGS_SIZE_VER2],
    into: plan.pid,
    onZero: child,
    what: "create a process in the container",
    says: {
      EBUSY: `${NO_ROOM}: it hands controllers down to those inside it`,
      EOPNOTSUPP: `${NO_ROOM}: its type is "domain invalid", for a cgroup above it is threaded`,
    },
    hint: "a cgroup at its limit of processes (pids.max) takes no other; --cgroup PATH chooses a cgroup inside the container's",
  });
  addAll(join, [reply(plan.slots), { call: "exit_group", args: [0], what: "end the first agent" }]);
  place(join, child);
  if (cgroup !== undefined) add(join, { call: "close", args: [cgroup], what: "close the cgroup" });
  // In a program of its own that the process replies to: an error of one that has been replied to is nobody's.
  if (later.length > 0) {
    const args = [request.pidfd, flagsOf(later)];
    add(plan.identity, { call: "setns", args, what: "join the container's cgroup namespace" });
  }
  add(plan.identity, { call: "close", args: [request.pidfd], what: "close the pidfd" });
}

function flagsOf(namespaces: readonly Namespace[]): number {
  return namespaces.reduce((sum, { type }) => sum + namespaceFlag(type), 0);
}

/** What the process becomes: the same as the container's first one, in the same order. */
export function planExecProcess(plan: ExecPlan, request: ExecRequest): void {
  const { identity, slots } = plan;
  const namespaces = request.config.linux?.namespaces ?? [];
  const has = (wanted: string) => namespaces.some(({ type }) => type === wanted);
  const rootfs = slot(slots, "rootfs");
  planFinalAffinity(plan, request);
  add(identity, { call: "prctl", args: [PR_SET_NAME, "tsrun:[2:INIT]"], what: "name the process" });
  if (has("user")) planBecomeRoot(identity);
  add(identity, { call: "setsid", args: [], tolerate: ["EPERM"], what: "start a session" });
  const labels = labelsOf(request.process, request.pointer, request.labelOptions);
  if (request.newKeyring) {
    const join = () => planSessionKeyring(identity, slots, request.id);
    planKeyringWithLabel(identity, slots, plan.procfs, labels, join);
  }
  planLabels(plan, labels);
  planRoot(plan, request, has("mount"), rootfs);
  const context: ProcessContext = {
    process: request.process,
    pointer: request.pointer,
    personality: request.config.linux?.personality,
    inUserNamespace: has("user"),
    facts: request.facts,
    slots,
    attach: plan.attach,
    identity,
    pid: plan.pid,
    rootfs,
    makesWorkingDirectory: false,
    stdio: request.process.terminal === true ? [] : request.stdio,
    warnings: plan.warnings,
    isFiltered: request.isFiltered,
  };
  planProcessAttributes(context);
  if (request.console !== undefined) {
    const console: Slot = { ...slot(slots, "console socket"), value: request.console };
    planTerminal(identity, { ...context, console, isConsole: false });
  }
  plan.passwd = planOpenPasswd(identity, slots, rootfs, request.facts.arch);
  plan.lastCapabilities = planIdentity(context);
  planLookup(identity, request.process, request.pointer);
}

function planLabels({ identity, slots, procfs }: ExecPlan, labels: Labels | undefined): void {
  if (labels === undefined || procfs === undefined) return;
  planExecLabels(identity, slots, procfs, labels);
  add(identity, { call: "close", args: [procfs], what: "close the private procfs" });
}

/** The mount namespace has brought its root along; without one the container's root was entered by chroot. */
function planRoot({ identity }: ExecPlan, request: ExecRequest, hasMountNamespace: boolean, rootfs: Slot): void {
  const what = "enter the container's root";
  if (!hasMountNamespace) {
    addAll(identity, [
      { call: "fchdir", args: [request.root], what },
      { call: "chroot", args: ["."], what },
      { call: "chdir", args: ["/"], what },
    ]);
  }
  addAll(identity, [
    { call: "close", args: [request.root], what: "close the root directory" },
    { call: "openat", args: [AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0], into: rootfs, what },
  ]);
}
