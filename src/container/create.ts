import { SPARE } from "../agent/layout.ts";
import { type Agent, encode, finish, type Sent, send, spawnAgent, transmit } from "../agent/session.ts";
import { containerCgroups } from "../cgroup/paths.ts";
import { removeCgroups } from "../cgroup/remove.ts";
import { beginScope, finishScope } from "../cgroup/systemd.ts";
import { errorMessage } from "../errors.ts";
import { runHooksInContainer } from "../hooks/in-container.ts";
import { runPoststopHooks } from "../hooks/poststop.ts";
import { runHooks } from "../hooks/run.ts";
import { openDirectory } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { killAndReap, reap } from "../kernel/processes.ts";
import { runProgram } from "../kernel/run-program.ts";
import { stage, stepObserver } from "../kernel/trace.ts";
import { mustPrepareFirst, planHold } from "../plan/container.ts";
import type { PlanContext } from "../plan/context.ts";
import { checkDevices } from "../plan/devices.ts";
import { checkOutsideProc } from "../plan/inside-proc.ts";
import type { Filter } from "../seccomp/filter.ts";
import { pendingProperties } from "../spec/pending.ts";
import { START_SOCKET } from "../state/names.ts";
import { processStartTime } from "../state/process.ts";
import type { ContainerState, StartState } from "../state/state.ts";
import {
  createContainerDirectory,
  openContainerDirectory,
  publishState,
  readState,
  removeContainerDirectory,
  saveConfig,
  writeDraft,
} from "../state/store.ts";
import { performIdmaps } from "./building.ts";
import { performCopies } from "./copy-up.ts";
import { explainPrivileges } from "./explain-rootless.ts";
import { prepareEnvironment } from "./home.ts";
import { makeNotifyDirectory } from "./notify.ts";
import { countKills, type KillReason, limitReason, withReason } from "./out-of-memory.ts";
import { beginPlan, completePlan, continuePlan, type PlanRequest } from "./planning.ts";
import { endScope, scopeState } from "./scope.ts";
import { filterState, prepareFilter } from "./seccomp.ts";
import { stateDocument } from "./state-document.ts";

export interface CreateRequest extends PlanRequest {
  readonly root: string;
  /** The text that `config` was read from. */
  readonly configText: string;
  readonly preserveFds: number;
  /** Variables that the environment gets besides the config's. */
  readonly extraEnv: readonly string[];
  /** For what only --debug asks for; undefined without it. */
  readonly explain?: ((message: string) => void) | undefined;
  /** Wait for start on a socket; false when this very tsrun goes on to start it. */
  readonly waitsForStart: boolean;
  /** The container reports to a socket in the state directory when it is ready. */
  readonly notifies?: boolean | undefined;
}

/** A container whose process is complete but for the last batch. */
export interface CreatedContainer {
  readonly plan: PlanContext;
  readonly agent: Agent;
  readonly state: ContainerState;
  /** Of the state directory; carries the lock. */
  readonly directory: number;
  /** Since before the limits were set. */
  readonly reason: KillReason | undefined;
  /** Removes everything that create has made. */
  readonly undo: () => void;
}

/**
 * From a bundle to a container that waits for its program. What has been made is undone when a later stage fails; what
 * a killed tsrun leaves is described by the draft of the state, which is always written before the thing is made.
 */
export function createContainer(request: CreateRequest): CreatedContainer {
  const undo = newUndo(request.warn);
  const kills: Kills = { reason: undefined };
  try {
    return create(request, undo, kills);
  } catch (error) {
    const told = toldWhy(error, request, kills);
    undo.run();
    throw told;
  }
}

/** Counted since before the first limit was set. */
interface Kills {
  reason: KillReason | undefined;
}

/**
 * What root could have done, and whether the memory limit was too low to build the container; its cgroups are still there,
 * unless they are systemd's.
 */
function toldWhy(caught: unknown, { root, id, config, facts }: CreateRequest, kills: Kills): unknown {
  const error = explainPrivileges(caught, config, facts);
  if (config.linux?.resources === undefined) return error;
  const reason = () => {
    const counted = kills.reason?.();
    if (counted !== undefined) return counted;
    const directory = openContainerDirectory(root, id);
    try {
      return limitReason(config, readState(directory, root, id).cgroup_paths);
    } finally {
      sys("close", directory);
    }
  };
  return withReason(error, `create container "${id}"`, reason);
}

function create(request: CreateRequest, undo: Undo, kills: Kills): CreatedContainer {
  stage("make the state directory");
  const directory = createContainerDirectory(request.root, request.id);
  if (request.notifies === true) makeNotifyDirectory(directory);
  warnOfPending(request);
  let state: ContainerState | undefined;
  // The last to be undone: what hooks have made outside, they take away when the container is gone.
  undo.add(() => {
    if (state !== undefined) runPoststop(request, state);
  });
  undo.add(() => removeContainerDirectory(request.root, request.id));
  const { plan, state: planned, build } = beginContainer(request, directory, undo, kills);
  const { agent } = build;
  state = attachContainer(plan, planned, directory, undo);
  const { filter, env } = buildContainer(request, plan, build, state, directory);
  const start = { ...startState(request, env, agent), ...filterState(filter, plan.lastCapabilities) };
  const complete = { ...state, start };
  return { plan, agent, state: complete, directory, reason: kills.reason, undo: undo.run };
}

/** A hook that fails leads to step 12 of the lifecycle (runtime.md), and that to the poststop hooks. */
function runPoststop({ config, warn }: CreateRequest, state: ContainerState): void {
  runPoststopHooks(config.hooks, JSON.stringify(stateDocument(state, "stopped")), warn);
}

function warnOfPending({ config, warn }: CreateRequest): void {
  const names = pendingProperties(config);
  if (names.length > 0) warn(`not applied by this version of tsrun: ${names.join(", ")}`);
}

interface Begun {
  readonly plan: PlanContext;
  readonly state: ContainerState;
  /** Of the file systems: what `build` is to do, not sent yet. */
  readonly build: Sent;
}

/** Up to a process in the container's namespaces. Planning goes on while the kernel makes them. */
function beginContainer(request: CreateRequest, directory: number, undo: Undo, kills: Kills): Begun {
  const socketPath = request.waitsForStart ? `/proc/self/fd/${directory}/${START_SOCKET}` : undefined;
  stage("plan the namespaces");
  const { plan, cgroups, scope } = beginPlan(request, socketPath);
  plan.lock.value = directory;
  stage("write the draft of the state");
  const state = { ...newState(request, plan, cgroups), ...scopeState(scope) };
  saveConfig(directory, request.configText);
  writeDraft(directory, state);
  // Only a scope that systemd has made is this container's: until then another one's may have its name.
  let isOwn = scope === undefined;
  undo.add(() => {
    if (isOwn) void removeCgroups(containerCgroups(state.cgroup_paths));
  });

  const first = mustPrepareFirst(plan);
  if (first) planFileSystems(request, plan);
  stage("prepare");
  runProgram(plan.prepare, sys, stepObserver());
  const prepared = plan.prepare.steps.length;
  kills.reason = countKills(request.config, state.cgroup_paths, { manager: state.cgroup_manager });
  stage("start the agent");
  inherit(directory);
  const agent = spawnAgent(directory, plan.listening?.value);
  undo.add(() => endAgent(agent));
  closeOnExec();
  if (scope !== undefined) {
    stage("ask systemd for the scope");
    finishScope(beginScope(scope, agent.pid), () => {
      isOwn = true;
      undo.add(() => endScope(state, request.warn));
    });
  }
  stage("encode unshare");
  const sent = send(agent, [plan.unshare], plan.slots);
  if (!first) planFileSystems(request, plan);
  stage("prepare the rest");
  runProgram({ ...plan.prepare, steps: plan.prepare.steps.slice(prepared) }, sys, stepObserver());
  stage("encode build");
  const build = encode(agent, [plan.build], plan.slots);
  stage("wait for unshare");
  finishUnshare(sent, plan, agent, undo);
  return { plan, state, build };
}

function planFileSystems(request: CreateRequest, plan: PlanContext): void {
  stage("plan the file systems");
  continuePlan(request, plan);
}

/** Until closeOnExec, for the agent. */
function inherit(descriptor: number): void {
  const F_SETFD = 2;
  sys("fcntl", descriptor, F_SETFD, 0);
}

/** Everything that tsrun has open is its own again: hooks must not inherit what was meant for the agent. */
function closeOnExec(): void {
  const CLOSE_RANGE_CLOEXEC = 4;
  sys("close_range", 3, 0xffffffff, CLOSE_RANGE_CLOEXEC);
}

/** On failure the first agent still waits for another batch; undo ends it. */
function finishUnshare(sent: Sent, plan: PlanContext, agent: Agent, undo: Undo): void {
  finish(sent);
  reap(agent.pid);
  const pid = plan.initPid.value!;
  undo.add(() => killAndReap(pid));
}

function newState(request: CreateRequest, plan: PlanContext, cgroups: Record<string, string>): ContainerState {
  return {
    ociVersion: request.config.ociVersion,
    id: request.id,
    phase: "creating",
    init_process_pid: 0,
    init_process_start: 0,
    created: new Date().toISOString(),
    bundle: request.bundle,
    rootfs: plan.rootfsPath,
    owner: request.facts.euid,
    annotations: request.config.annotations ?? {},
    cgroup_paths: cgroups,
    cgroup_manager: request.cgroupManager.name,
    rootless: request.facts.euid !== 0,
    mounted: [],
    creator: sys("getpid"),
    start: { env: [], preserve_fds: 0, agent_socket: 0, no_new_keyring: request.noNewKeyring },
  };
}

/** What tsrun does to the new process from outside: id maps, limits, idmapped mounts, pidfd. */
function attachContainer(plan: PlanContext, planned: ContainerState, directory: number, undo: Undo): ContainerState {
  stage("attach");
  const { config, initPid } = plan;
  const pid = initPid.value!;
  const state = {
    ...planned,
    init_process_pid: pid,
    init_process_start: processStartTime(pid),
    mounted: [...plan.hostMounts],
  };
  // Hooks may ask for the process; otherwise there is nothing yet that would outlive this tsrun: the init ends with it.
  if (plan.hostMounts.length > 0 || config.hooks !== undefined) writeDraft(directory, state);
  undo.add(() => unmount(plan.hostMounts));
  performIdmaps(plan, directory);
  runProgram(plan.attach, sys, stepObserver());
  return state;
}

function unmount(paths: readonly string[]): void {
  const MNT_DETACH = 2;
  for (const path of paths.toReversed()) sys("umount2", path, MNT_DETACH);
}

/**
 * The file systems, the hooks that want to see them, and all that turns the init into the process. The rest is planned,
 * and what tsrun does from outside is done, while the kernel builds.
 */
function buildContainer(
  request: CreateRequest,
  plan: PlanContext,
  build: Sent,
  state: ContainerState,
  directory: number,
): Built {
  const { agent } = build;
  transmit(build);
  const attached = plan.attach.steps.length;
  stage("plan the process");
  completePlan(request, plan);
  stage("attach the process");
  runProgram({ ...plan.attach, steps: plan.attach.steps.slice(attached) }, sys, stepObserver());
  const filter = prepareFilter(request.config, request.root, directory, request.explain);
  stage("encode enter and identity");
  const entering = encode(agent, [plan.enter, plan.identity], plan.slots);
  stage("wait for build");
  finish(build);
  checkOutsideProc(plan.landings.list);
  performCopies(plan);
  const hasHooks = hasCreateHooks(request);
  if (hasHooks) restrict(plan);
  runCreateHooks(request, plan, agent, state);
  stage("enter, become the user");
  transmit(entering);
  if (!hasHooks) restrict(plan);
  const { process } = request.config;
  const environment = process === undefined ? () => [] : prepareEnvironment(process, request.extraEnv, plan, agent);
  checkDevices(plan.checks);
  closePrepared(plan);
  for (const warning of plan.warnings) request.warn(warning);
  finish(entering);
  stage("read HOME");
  return { filter, env: environment() };
}

interface Built {
  readonly filter: Filter | undefined;
  /** Of the process; HOME may come from the finished container's own /etc/passwd. */
  readonly env: string[];
}

/**
 * The device rules hold before anything of the container's runs, and not before its file system is complete: to make
 * nodes and to mount block devices takes what they may deny. v1's list is empty for a moment on the way, so that this
 * must not go on beside `build`; `enter` uses no devices.
 */
function restrict(plan: PlanContext): void {
  runProgram(plan.restrict, sys, stepObserver());
}

function hasCreateHooks({ config: { hooks } }: CreateRequest): boolean {
  return hooks?.prestart !== undefined || hooks?.createRuntime !== undefined || hooks?.createContainer !== undefined;
}

function runCreateHooks(request: CreateRequest, plan: PlanContext, agent: Agent, state: ContainerState): void {
  if (!hasCreateHooks(request)) return;
  const { prestart, createRuntime, createContainer } = request.config.hooks ?? {};
  stage("hooks");
  const document = JSON.stringify(stateDocument(state, "creating"));
  inDirectory(state.bundle, () => {
    // Until version 1.1 of the specification start called them, and what was written for that expects this status.
    runHooks("prestart", prestart, JSON.stringify(stateDocument(state, "created")));
    runHooks("createRuntime", createRuntime, document);
  });
  runHooksInContainer(agent, plan.slots, "createContainer", createContainer, document);
}

/** Hooks of create run in the bundle, as they do with runc; what the caller has named by a relative path stays valid. */
function inDirectory(path: string, action: () => void): void {
  const before = openDirectory(".");
  sys("chdir", path);
  try {
    action();
  } finally {
    sys("fchdir", before);
    sys("close", before);
  }
}

/** tsrun's own copies of what the agent inherited; a foreground tsrun would keep mounts busy with them. */
function closePrepared(plan: PlanContext): void {
  const steps = plan.prepare.steps;
  const closed = new Set(steps.filter(({ call }) => call === "close").map(({ args }) => args[0]));
  for (const { call, into } of steps) {
    const opens = call === "openat" || call === "openat2" || call === "open_tree" || call === "socket";
    if (opens && into?.value !== undefined && into.value > 2 && !closed.has(into)) sys("close", into.value);
  }
}

function startState({ preserveFds, noNewKeyring }: CreateRequest, env: string[], agent: Agent): StartState {
  return { env, preserve_fds: preserveFds, agent_socket: agent.theirs, no_new_keyring: noNewKeyring };
}

/** Lets the container wait for start, and makes it known. From here on it lives without this tsrun. */
export function holdContainer(container: CreatedContainer): void {
  const { plan, agent } = container;
  publishContainer(container);
  send(agent, [planHold(plan, plan.listening!, SPARE)], plan.slots);
  sys("close", agent.socket);
}

/** From now on the status follows from the process. */
export function publishContainer({ directory, state }: CreatedContainer): void {
  stage("publish the state");
  writeDraft(directory, { ...state, phase: "created", creator: 0 });
  publishState(directory);
}

function endAgent(agent: Agent): void {
  sys("close", agent.socket);
  reap(agent.pid);
}

interface Undo {
  readonly add: (action: () => void) => void;
  readonly run: () => void;
}

/** Actions in reverse order; one that fails does not keep the others from being done. */
function newUndo(warn: (message: string) => void): Undo {
  const actions: (() => void)[] = [];
  return {
    add: (action) => void actions.push(action),
    run: () => {
      for (const action of actions.splice(0).reverse()) {
        try {
          action();
        } catch (error) {
          warn(errorMessage(error));
        }
      }
    },
  };
}
