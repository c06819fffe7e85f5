import { AT_FDCWD, O_RDONLY, O_WRONLY } from "../abi/fcntl.ts";
import { PR_SET_DUMPABLE, PR_SET_NAME } from "../abi/prctl.ts";
import {
  CLONE_ARGS_SIZE_VER2,
  CLONE_INTO_CGROUP,
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  CLONE_PARENT,
} from "../abi/sched.ts";
import type { Namespace, NamespaceType } from "../spec/types.ts";
import { utf8 } from "../text.ts";
import type { PlanContext } from "./context.ts";
import { add, addAll, bytes, label, type Program, place, reply, type Slot, slot, struct } from "./step.ts";

/** The flag of clone(2), setns(2) and unshare(2) for a type of namespace. */
export function namespaceFlag(type: NamespaceType): number {
  switch (type) {
    case "mount":
      return CLONE_NEWNS;
    case "pid":
      return CLONE_NEWPID;
    case "network":
      return CLONE_NEWNET;
    case "uts":
      return CLONE_NEWUTS;
    case "ipc":
      return CLONE_NEWIPC;
    case "user":
      return CLONE_NEWUSER;
    case "cgroup":
      return CLONE_NEWCGROUP;
    case "time":
      return CLONE_NEWTIME;
  }
}

/**
 * Namespaces that exist are joined by the agent itself, new ones are made with its child, the container's init, in one
 * clone3(2). Two are left to the init: the cgroup namespace, whose root is the cgroup of who makes it, and a time
 * namespace with offsets, which must be written before anyone is in it.
 */
export function planNamespaces(context: PlanContext, cgroup: Slot | undefined): void {
  const namespaces = context.config.linux?.namespaces ?? [];
  planHiding(context, namespaces);
  planJoining(context, namespaces, (namespace) => !joinsWhenBorn(namespace, namespaces, cgroup));
  const made = namespaces.filter((namespace) => isNew(namespace) && !isLeftToInit(context, namespace));
  const flags = made.reduce((sum, { type }) => sum + namespaceFlag(type), CLONE_PARENT);
  planClone(context, flags, cgroup);
  planJoining(context, namespaces, (namespace) => joinsWhenBorn(namespace, namespaces, cgroup));
  planInNewNamespaces(context, namespaces);
}

/**
 * Root of a user namespace that is joined may ptrace whoever is in it: it must not find the init dumpable, not even as
 * long as that waits for its first batch, with the host's file systems for its root (as CVE-2016-9962 has it for exec).
 * In a new user namespace nobody can be, and there this has to wait: the files in /proc that tsrun writes the maps to are
 * root's when the process is not dumpable, and tsrun may be somebody else.
 */
function planHiding({ unshare }: PlanContext, namespaces: readonly Namespace[]): void {
  if (!namespaces.some((namespace) => namespace.type === "user" && !isNew(namespace))) return;
  add(unshare, { call: "prctl", args: [PR_SET_DUMPABLE, 0, 0, 0, 0], what: "hide the process from ptrace" });
}

/**
 * Where cgroup v2 is mounted with nsdelegate, as systemd does, nobody is born into a cgroup that its parent's cgroup
 * namespace does not show (ENOENT): the child has to join that one. But for a namespace that may be the host's, of a
 * container with a user namespace: only the agent has privileges over it.
 */
export function joinsWhenBorn(
  namespace: Namespace,
  namespaces: readonly Namespace[],
  cgroup: Slot | undefined,
): boolean {
  if (namespace.type !== "cgroup" || cgroup === undefined) return false;
  return isNew(namespace) || !namespaces.some(({ type }) => type === "user");
}

function isNew(namespace: Namespace): boolean {
  return namespace.path === undefined || namespace.path === "";
}

function isLeftToInit(context: PlanContext, { type }: Namespace): boolean {
  return type === "cgroup" || (type === "time" && context.config.linux?.timeOffsets !== undefined);
}

/** A user namespace last: joining the others takes privileges over them that the host's root has, and its root may not. */
function planJoining(
  context: PlanContext,
  namespaces: readonly Namespace[],
  isWanted: (namespace: Namespace) => boolean,
): void {
  const joins: { namespace: Namespace; pointer: string }[] = [];
  for (const [i, namespace] of namespaces.entries()) {
    if (!isNew(namespace) && isWanted(namespace)) joins.push({ namespace, pointer: `/linux/namespaces/${i}/path` });
  }
  const userLast = context.facts.canMount;
  const rank = ({ type }: Namespace) => (type === "user" ? (userLast ? 2 : 0) : 1);
  joins.sort((a, b) => rank(a.namespace) - rank(b.namespace));
  for (const { namespace, pointer } of joins) planJoin(context, namespace.type, namespace.path!, pointer);
}

function planJoin(context: PlanContext, type: NamespaceType, path: string, pointer: string): void {
  const fd = slot(context.slots, `${type} namespace`);
  const what = `join the ${type} namespace ${JSON.stringify(path)}`;
  add(context.prepare, { call: "openat", args: [AT_FDCWD, path, O_RDONLY, 0], into: fd, what, pointer });
  add(context.unshare, {
    call: "setns",
    args: [fd, namespaceFlag(type)],
    what,
    pointer,
    says: { EINVAL: `cannot ${what}: it is not a ${type} namespace, or one that this process is in already` },
  });
  add(context.unshare, { call: "close", args: [fd], what: `close the ${type} namespace` });
}

const ENTER = "cannot create the container's first process in its cgroup";
/** What CLONE_INTO_CGROUP is refused with (clone(2), cgroups(7)), and no namespace is. */
const CGROUP_REFUSALS = {
  EACCES: `${ENTER}: permission denied to move a process there (linux.cgroupsPath)`,
  EBUSY: `${ENTER}: it hands controllers down to cgroups inside it, and can have no processes (linux.cgroupsPath)`,
  EOPNOTSUPP: `${ENTER}: its type is "domain invalid", for a cgroup above it is threaded (linux.cgroupsPath)`,
};

/**
 * The agent replies with the process id of the init and is gone; the init waits for the next batch. Until then the agent
 * holds the container's lock as tsrun does: should tsrun be killed, nobody clears up while cgroups are still being made.
 * The init does not hold it, for what it does may take as long as a dead file server likes.
 */
function planClone(context: PlanContext, flags: number, cgroup: Slot | undefined): void {
  const child = label();
  const SIGNAL_OF_PARENT = 0;
  const intoCgroup = cgroup === undefined ? 0 : CLONE_INTO_CGROUP;
  const args = struct("clone_args", flags + intoCgroup, 0, 0, 0, SIGNAL_OF_PARENT, 0, 0, 0, 0, 0, cgroup ?? 0);
  add(context.unshare, {
    call: "clone3",
    args: [args, CLONE_ARGS_SIZE_VER2],
    into: context.initPid,
    onZero: child,
    what: "create the container's namespaces and its first process",
    pointer: "/linux/namespaces",
    says: cgroup === undefined ? undefined : CGROUP_REFUSALS,
  });
  addAll(context.unshare, [reply(context.slots), { call: "exit_group", args: [0], what: "end the first agent" }]);
  place(context.unshare, child);
  add(context.unshare, { call: "close", args: [context.lock], what: "leave the lock to tsrun" });
  // Nothing of the host may be reachable from here once the container's file system is (CVE-2024-21626).
  if (cgroup !== undefined) add(context.unshare, { call: "close", args: [cgroup], what: "close the cgroup" });
}

function planInNewNamespaces(context: PlanContext, namespaces: readonly Namespace[]): void {
  const { build } = context;
  add(build, { call: "prctl", args: [PR_SET_NAME, "tsrun:[2:INIT]"], what: "name the init" });
  if (namespaces.some(({ type }) => type === "user")) planBecomeRoot(build);
  if (context.config.linux?.timeOffsets !== undefined) planTimeOffsets(context);
  // Whoever shares a namespace with us must not look into this process or take its descriptors (CVE-2016-9962).
  add(build, { call: "prctl", args: [PR_SET_DUMPABLE, 0], what: "hide the init from ptrace" });
  add(build, { call: "setsid", args: [], tolerate: ["EPERM"], what: "start a session" });
  if (namespaces.some((namespace) => namespace.type === "cgroup" && isNew(namespace))) {
    add(build, {
      call: "unshare",
      args: [CLONE_NEWCGROUP],
      what: "create the cgroup namespace",
      pointer: "/linux/namespaces",
    });
  }
  add(build, { call: "umask", args: [0], what: "make files with the modes that the config asks for" });
}

/** In a new user namespace the init has all capabilities, but still the ids of who made it. */
export function planBecomeRoot(program: Program): void {
  addAll(program, [
    { call: "setgroups", args: [0, 0], tolerate: ["EPERM"], what: "drop the caller's groups" },
    { call: "setresgid", args: [0, 0, 0], what: "become group 0 of the user namespace", pointer: "/linux/gidMappings" },
    { call: "setresuid", args: [0, 0, 0], what: "become user 0 of the user namespace", pointer: "/linux/uidMappings" },
  ]);
}

/** time_namespaces(7): offsets can be written as long as the namespace has no process; then the init moves in. */
function planTimeOffsets(context: PlanContext): void {
  const offsets = context.config.linux?.timeOffsets ?? {};
  let content = "";
  for (const clock of ["monotonic", "boottime"] as const) {
    const offset = offsets[clock];
    if (offset !== undefined) content += `${clock} ${offset.secs ?? 0} ${offset.nanosecs ?? 0}\n`;
  }
  const file = slot(context.slots, "timens_offsets");
  const namespace = slot(context.slots, "time_for_children");
  const pointer = "/linux/timeOffsets";
  const written = utf8(content);
  const what = "write the offsets of the time namespace";
  addAll(context.build, [
    { call: "unshare", args: [CLONE_NEWTIME], what: "create the time namespace", pointer: "/linux/namespaces" },
    { call: "openat", args: [AT_FDCWD, "/proc/self/timens_offsets", O_WRONLY, 0], into: file, what, pointer },
  ]);
  if (written.length > 0)
    add(context.build, { call: "write", args: [file, bytes(written), written.length], what, pointer });
  addAll(context.build, [
    { call: "close", args: [file], what },
    { call: "openat", args: [AT_FDCWD, "/proc/self/ns/time_for_children", O_RDONLY, 0], into: namespace, what },
    { call: "setns", args: [namespace, CLONE_NEWTIME], what: "enter the time namespace", pointer },
    { call: "close", args: [namespace], what },
  ]);
}
