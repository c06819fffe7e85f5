import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH } from "../abi/fcntl.ts";
import { UINT_MAX } from "../abi/prctl.ts";
import type { HostFacts, MapTools } from "../host/facts.ts";
import type { Config } from "../spec/types.ts";
import { utf8 } from "../text.ts";
import { planLookup } from "./command.ts";
import { hasMountNamespace, hasUserNamespace, type PlanContext } from "./context.ts";
import { planDevices } from "./devices.ts";
import { planIdMaps } from "./id-maps.ts";
import { labelsOf, planExecLabels, planKeyringWithLabel } from "./labels.ts";
import { planLoopback } from "./loopback.ts";
import { planMaskedPaths, planReadonlyPaths } from "./masked-paths.ts";
import { planMounts } from "./mounts.ts";
import { planNamespaces } from "./namespaces.ts";
import { planOpenPasswd } from "./passwd.ts";
import { planPrivateProc } from "./private-proc.ts";
import {
  type ProcessContext,
  planIdentity,
  planOomScore,
  planProcessAttributes,
  planSessionKeyring,
} from "./process.ts";
import { opensOnHost, planPivot, planRootfs } from "./rootfs.ts";
import {
  type Arg,
  add,
  addAll,
  beside,
  bytes,
  type Program,
  program,
  type Slot,
  slot,
  slotTable,
  socket,
} from "./step.ts";
import { planSysctl } from "./sysctl.ts";
import { planTerminal } from "./terminal.ts";
import { planDeath, type Trial } from "./trial.ts";

export interface ContainerRequest {
  readonly config: Config;
  readonly id: string;
  /** Absolute. */
  readonly bundle: string;
  readonly facts: HostFacts;
  readonly noPivot: boolean;
  readonly noNewKeyring: boolean;
  readonly cgroupPaths: ReadonlyMap<string, string>;
  readonly stdio: readonly number[];
  readonly preserveFds: number;
  /** tsrun try only. */
  readonly trial?: Trial | undefined;
  /** See needsMapTools. */
  readonly mapTools?: MapTools | undefined;
}

/** Empty programs for one container. */
export function newPlan(request: ContainerRequest): PlanContext {
  const slots = slotTable();
  const path = request.config.root?.path ?? "";
  const closesLater = descriptorsOf(request.config) < MANY_DESCRIPTORS;
  return {
    config: request.config,
    id: request.id,
    namespaceTypes: new Set(request.config.linux?.namespaces?.map(({ type }) => type)),
    bundle: request.bundle,
    rootfsPath: path.startsWith("/") ? path : `${request.bundle}/${path}`,
    facts: request.facts,
    slots,
    prepare: program("prepare"),
    unshare: program("unshare", { silent: true }),
    attach: program("attach"),
    build: program("build", { closesLater }),
    restrict: program("restrict"),
    enter: program("enter", { closesLater }),
    identity: program("identity"),
    exec: program("exec", { silent: true }),
    warnings: [],
    initPid: slot(slots, "init"),
    lock: slot(slots, "state directory"),
    rootfs: slot(slots, "rootfs"),
    noPivot: request.noPivot,
    cgroupPaths: request.cgroupPaths,
    idmapNamespaces: [],
    checks: [],
    copies: [],
    dev: {},
    kernelMounts: new Map(),
    landings: { next: 0, list: [] },
    procfs: {},
    hostMounts: [],
    trial: request.trial,
    mapTools: request.mapTools,
  };
}

/** The smallest hard limit of descriptors in use is 1,024, and a mount takes up to four. */
const MANY_DESCRIPTORS = 150;

function descriptorsOf({ mounts, linux }: Config): number {
  const lists = [mounts, linux?.devices, linux?.maskedPaths, linux?.readonlyPaths];
  return lists.reduce((sum, list) => sum + (list?.length ?? 0), 0);
}

/** True when descriptors made in `prepare` are handed to the agent, so that all of it must run before the agent starts. */
export function mustPrepareFirst(plan: PlanContext): boolean {
  return opensOnHost(plan) || !plan.facts.canMknod || plan.config.process?.terminal === true;
}

/** The namespaces; `cgroup` is the descriptor of v2's, see planCgroup. */
export function planBeginning(plan: PlanContext, cgroup: Slot | undefined): void {
  const { config, unshare, slots } = plan;
  if (config.process !== undefined) planOomScore(unshare, slots, config.process, "/process");
  planNamespaces(plan, cgroup);
  planIdMaps(plan);
}

/** The file systems, and all that wants them complete or the host in sight. `console` takes the terminal. */
export function planBuild(plan: PlanContext, request: ContainerRequest, console: Slot | undefined): void {
  const { config, slots, rootfs } = plan;
  const labels = labelsOf(config.process, "/process");
  if (labels !== undefined) plan.procfs.mount = planPrivateProc(plan.build, slots);
  if (!request.noNewKeyring) {
    const join = () => planSessionKeyring(plan.build, slots, plan.id);
    planKeyringWithLabel(plan.build, slots, plan.procfs.mount, labels, join);
  }
  planRootfs(plan);
  planMounts(plan);
  if (hasMountNamespace(plan)) planDevices(plan);
  if (console !== undefined && config.process !== undefined) {
    const isConsole = hasMountNamespace(plan);
    const devpts = plan.kernelMounts.get("/dev/pts");
    const where = { slots, rootfs, devpts, console, isConsole };
    planTerminal(plan.build, { process: config.process, pointer: "/process", ...where });
  }
  planSysctl(plan);
  planNames(plan);
  planLoopback(plan);
  // In enter, but for the host's /dev/null, which is opened and looked at in build.
  planMaskedPaths(plan);
}

/** The rest, in the order in which it is done: while the kernel builds. */
export function planProcess(plan: PlanContext, request: ContainerRequest): void {
  const root = slot(plan.slots, "root");
  const context = processContext(plan, request, root);
  planReadonlyPaths(plan);
  planPivot(plan);
  planLabels(plan);
  planCloseAll(plan, request.preserveFds, root);
  if (context === undefined) return;
  planProcessAttributes(context);
  plan.passwd = planOpenPasswd(plan.identity, plan.slots, root, plan.facts.arch);
  plan.lastCapabilities = planIdentity(context);
  planLookup(plan.identity, context.process, context.pointer);
  if (plan.trial !== undefined) planDeath(plan);
}

/** With the private procfs that was opened before there was a root file system; it is closed with everything else. */
function planLabels({ config, enter, slots, procfs }: PlanContext): void {
  const labels = labelsOf(config.process, "/process");
  if (labels !== undefined && procfs.mount !== undefined) planExecLabels(enter, slots, procfs.mount, labels);
}

function processContext(plan: PlanContext, request: ContainerRequest, rootfs: Slot): ProcessContext | undefined {
  const { config, facts, slots, attach, identity, warnings } = plan;
  if (config.process === undefined) return undefined;
  return {
    process: config.process,
    pointer: "/process",
    personality: config.linux?.personality,
    inUserNamespace: hasUserNamespace(plan),
    facts,
    slots,
    attach,
    identity,
    pid: plan.initPid,
    rootfs,
    makesWorkingDirectory: true,
    stdio: config.process.terminal === true ? [] : request.stdio,
    warnings,
    isFiltered: config.linux?.seccomp !== undefined,
  };
}

/**
 * Everything that building has opened, the host's root first of all, and what is left of the host's descriptors; but for
 * what the process keeps, the socket of start and the agent's own, which has the highest number of what was inherited.
 * The root is opened anew.
 */
function planCloseAll({ enter, listening }: PlanContext, preserveFds: number, root: Slot): void {
  const what = "close what building the container has opened";
  const gap = (first: Arg, last: Arg): void =>
    add(enter, { call: "close_range", args: [first, last, 0], tolerate: ["EINVAL"], what });
  if (listening !== undefined) gap(3 + preserveFds, beside(listening, -1));
  gap(listening === undefined ? 3 + preserveFds : beside(listening, 1), beside("socket", -1));
  gap(beside("socket", 1), UINT_MAX);
  const flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  add(enter, { call: "openat", args: [AT_FDCWD, "/", flags, 0], into: root, what: 'open "/"' });
}

function planNames({ config, build }: PlanContext): void {
  const names = [
    ["sethostname", "hostname", config.hostname],
    ["setdomainname", "domainname", config.domainname],
  ] as const;
  for (const [call, property, name] of names) {
    if (name === undefined || name === "") continue;
    const data = utf8(name);
    const what = `set the ${property} ${JSON.stringify(name)}`;
    add(build, { call, args: [bytes(data), data.length], what, pointer: `/${property}` });
  }
}

const MADV_DONTNEED = 4;

/**
 * A created container: it waits on its listening socket for start, without anyone who holds the other end. The
 * connection takes the place of the socket that it has talked on so far. `spare` is memory of the agent that only longer
 * programs than this one need.
 */
export function planHold(
  plan: PlanContext,
  listening: Slot,
  spare: { readonly address: number; readonly size: number },
): Program {
  const hold = program("hold", { silent: true });
  const connection = slot(plan.slots, "connection of start");
  const what = "wait for start";
  addAll(hold, [
    {
      call: "madvise",
      args: [spare.address, spare.size, MADV_DONTNEED],
      // A kernel with larger pages keeps them.
      tolerate: ["EINVAL"],
      what: "give back the memory of what has run",
    },
    { call: "accept4", args: [listening, 0, 0, 0], into: connection, retry: true, what },
    { call: "dup3", args: [connection, socket, 0], what },
    { call: "close", args: [connection], what },
  ]);
  return hold;
}
