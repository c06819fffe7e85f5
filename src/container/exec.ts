import { errnoNumber } from "../abi/errno.ts";
import { AT_FDCWD, O_DIRECTORY, O_PATH } from "../abi/fcntl.ts";
import { type Agent, finish, send, spawnAgent } from "../agent/session.ts";
import { planCgroupJoin } from "../cgroup/cgroupfs.ts";
import { type ContainerCgroup, containerCgroups } from "../cgroup/paths.ts";
import { TsrunError } from "../errors.ts";
import type { HostFacts } from "../host/facts.ts";
import { sys } from "../kernel/kernel.ts";
import { killAndReap, reap } from "../kernel/processes.ts";
import { runProgram } from "../kernel/run-program.ts";
import { stage, stepObserver } from "../kernel/trace.ts";
import {
  type ExecPlan,
  type ExecRequest,
  newExecPlan,
  planExecProcess,
  planInitialAffinity,
  planJoin,
} from "../plan/exec.ts";
import { type LabelOptions, labelsOf } from "../plan/labels.ts";
import { planSendPidfd } from "../plan/sockets.ts";
import type { Config, Process } from "../spec/types.ts";
import type { ContainerState } from "../state/state.ts";
import { checkLabels } from "./check-host.ts";
import { cgroupsOfInit } from "./exec-cgroups.ts";
import { type Execution, execute } from "./execute.ts";
import { prepareEnvironment } from "./home.ts";
import { openInit } from "./init-process.ts";
import { enterScope } from "./scope.ts";
import { checkLastCapabilities, savedFilter } from "./seccomp.ts";
import { sendListener } from "./seccomp-listener.ts";

export interface ContainerExec {
  readonly state: ContainerState;
  readonly config: Config;
  readonly process: Process;
  readonly pointer: string;
  readonly labelOptions?: LabelOptions | undefined;
  readonly facts: HostFacts;
  /** Those of --cgroup, in place of the container's. */
  readonly cgroups?: readonly ContainerCgroup[] | undefined;
  /** Of the state directory. */
  readonly directory: number;
  readonly console: number | undefined;
  readonly pidfdSocket: string | undefined;
  readonly preserveFds: number;
  readonly extraEnv: readonly string[];
  readonly stdio: readonly number[];
  /** Called when the process is complete but for its program, which `run` makes it execute. */
  readonly onProcess: (pid: number, run: () => void) => void;
  readonly warn: (message: string) => void;
}

/** Adds a process to a container. Returns its process id; the program runs when this returns. */
export function execInContainer(request: ContainerExec): number {
  const { state, cgroups, facts } = request;
  checkLabels(labelsOf(request.process, request.pointer, request.labelOptions));
  try {
    return execInCgroups(request, cgroups ?? containerCgroups(state.cgroup_paths));
  } catch (error) {
    const others = cgroups === undefined && hasNoRoom(error) ? cgroupsOfInit(state, facts.cgroup) : undefined;
    if (others === undefined) throw error;
    return execInCgroups(request, others);
  }
}

/** CLONE_INTO_CGROUP: the cgroup hands controllers down, or is the root of a threaded subtree. */
function hasNoRoom(error: unknown): boolean {
  if (!(error instanceof TsrunError) || error.details.step !== "clone3") return false;
  return error.details.code === "EBUSY" || error.details.code === "EOPNOTSUPP";
}

function execInCgroups(request: ContainerExec, cgroups: readonly ContainerCgroup[]): number {
  stage("plan the way in");
  const { state, config, facts } = request;
  const { pidfd, root } = openContainer(state);
  const newKeyring = !state.start.no_new_keyring;
  const isFiltered = state.start.filter !== undefined;
  const planned: ExecRequest = { ...request, id: state.id, config, facts, pidfd, root, newKeyring, isFiltered };
  const plan = newExecPlan();
  planInitialAffinity(plan, planned);
  const cgroup = planCgroupJoin(plan.join, plan.slots, cgroups);
  planJoin(plan, planned, cgroup);
  stage("start the agent");
  const agent = spawnAgent(request.directory);
  try {
    enterScope(state, facts.cgroup, cgroups, agent.pid);
    const pid = beginProcess(plan, planned, agent);
    return completeProcess(request, plan, agent, pid);
  } finally {
    // Only now does an agent end whose first program failed: it waits for another one until the socket is closed.
    sys("close", agent.socket);
    reap(agent.pid);
    sys("close", pidfd);
    sys("close", root);
  }
}

/** Both for the agent to inherit. The root is that of the pidfd's process only when that is there afterwards. */
function openContainer(state: ContainerState): { pidfd: number; root: number } {
  const F_SETFD = 2;
  const pidfd = openInit(state);
  const root = sys("openat", AT_FDCWD, `/proc/${state.init_process_pid}/root`, O_PATH | O_DIRECTORY, 0);
  if (pidfd !== undefined && root === -errnoNumber("EACCES")) throw notYet(state.id);
  if (pidfd === undefined || root < 0 || sys("pidfd_send_signal", pidfd, 0, 0, 0) < 0) {
    throw new TsrunError("cannot exec in a stopped container", { code: "ESRCH" });
  }
  sys("fcntl", pidfd, F_SETFD, 0);
  return { pidfd, root };
}

/** As long as the container waits, its first process is hidden from all but root (planNamespaces). */
function notYet(id: string): TsrunError {
  const message = `cannot exec in container "${id}": permission denied: without root it has to be started before`;
  return new TsrunError(message, { code: "EACCES", hint: `tsrun start ${id}` });
}

/** The process joins the container while the rest is planned. */
function beginProcess(plan: ExecPlan, request: ExecRequest, agent: Agent): number {
  const sent = send(agent, [plan.join], plan.slots);
  stage("plan the process");
  planExecProcess(plan, request);
  finish(sent);
  return plan.pid.value!;
}

function completeProcess(request: ContainerExec, plan: ExecPlan, agent: Agent, pid: number): number {
  try {
    if (request.pidfdSocket !== undefined) planSendPidfd(plan, plan.pid, request.pidfdSocket);
    stage("attach");
    runProgram(plan.attach, sys, stepObserver());
    stage("become the user");
    const becoming = send(agent, [plan.identity], plan.slots);
    const environment = prepareEnvironment(request.process, request.extraEnv, plan, agent);
    finish(becoming);
    // Of the container's own process they were said at create.
    if (request.pointer === "") for (const warning of plan.warnings) request.warn(warning);
    stage("start the program");
    const execution = executionOf(request, plan, environment(), pid);
    request.onProcess(pid, () => execute(agent, plan.slots, execution));
    return pid;
  } catch (error) {
    killAndReap(pid);
    throw error;
  }
}

function executionOf(request: ContainerExec, plan: ExecPlan, env: string[], pid: number): Execution {
  const { state, config, process, pointer, preserveFds, directory } = request;
  const filter = savedFilter(directory, state.start);
  checkLastCapabilities(filter, plan.lastCapabilities);
  return {
    process,
    env,
    preserveFds,
    pointer,
    filter,
    lastCapabilities: plan.lastCapabilities,
    sendListener: (descriptor, ask) =>
      sendListener({ profile: config.linux!.seccomp!, state, pid, isExec: true, ask }, descriptor),
  };
}
