import { errnoNumber } from "../abi/errno.ts";
import { type Agent, limitPatience } from "../agent/session.ts";
import { errorMessage, TsrunError } from "../errors.ts";
import { runHooksInContainer } from "../hooks/in-container.ts";
import { runHooks } from "../hooks/run.ts";
import { sys } from "../kernel/kernel.ts";
import { stage } from "../kernel/trace.ts";
import { variable } from "../kernel/warm-start.ts";
import { type SlotTable, slotTable } from "../plan/step.ts";
import { unixAddress } from "../plan/terminal.ts";
import type { Config } from "../spec/types.ts";
import { lockContainer } from "../state/lock.ts";
import { START_SOCKET } from "../state/names.ts";
import type { ContainerState } from "../state/state.ts";
import { type Status, statusOf } from "../state/status.ts";
import { openContainerDirectory, readState } from "../state/store.ts";
import { destroy } from "./delete.ts";
import { execute } from "./execute.ts";
import { killInit } from "./init-process.ts";
import { listenForReady, waitForReady } from "./notify.ts";
import { countKills, type KillReason, withReason } from "./out-of-memory.ts";
import { withSavedConfig } from "./saved-config.ts";
import { savedCapabilities, savedFilter } from "./seccomp.ts";
import { sendListener } from "./seccomp-listener.ts";
import { stateDocument } from "./state-document.ts";

/** Runs the program of a created container: the work of the `start` command. */
export function startContainer(root: string, id: string, warn: (message: string) => void): void {
  stage("read the state");
  const directory = openContainerDirectory(root, id);
  lockContainer(directory, id);
  const state = readState(directory, root, id);
  withSavedConfig(directory, id, (config) => startWith({ directory, state, config, warn }));
}

type Start = Pick<Starting, "directory" | "state" | "config" | "warn">;

function startWith({ directory, state, config, warn }: Start): void {
  // Nothing but its first process has been there to be killed.
  const reason = countKills(config, state.cgroup_paths, { before: 0 });
  checkStartable(statusOf(state, directory, true), reason);
  const agent = connect(directory, state);
  const notify = listenForReady(directory, variable("NOTIFY_SOCKET"), warn);
  try {
    checkProcess(config);
    startProcess({ agent, slots: slotTable(), state, config, directory, warn });
    if (notify !== undefined) waitForReady(notify, state.init_process_pid);
  } catch (error) {
    const told = withReason(error, `start container "${state.id}"`, reason);
    stop(state, warn);
    throw told;
  }
}

/** What cannot be started has stopped when start returns (runtime.md, lifecycle steps 8 and 9). */
function stop(state: ContainerState, warn: (message: string) => void): void {
  const PATIENCE_MS = 2000;
  try {
    killInit(state, PATIENCE_MS, () => {});
  } catch (error) {
    warn(errorMessage(error));
  }
}

/** config.json may go without a process, but then there is nothing to start. */
export function checkProcess(config: Config): void {
  if (config.process !== undefined) return;
  throw new TsrunError("cannot start a container without a process (process)", { code: "EINVAL", pointer: "/process" });
}

function checkStartable(status: Status, reason: KillReason | undefined): void {
  if (status === "created") return;
  const message =
    status === "stopped"
      ? "cannot start a container that has stopped"
      : status === "running"
        ? "cannot start an already running container"
        : `cannot start a container in the ${status} state`;
  throw new TsrunError(message, { code: "EINVAL", hint: status === "stopped" ? reason?.() : undefined });
}

/** The agent waits on its socket in the state directory; by descriptor, for paths are longer than sun_path. */
function connect(directory: number, state: ContainerState): Agent {
  const AF_UNIX = 1;
  const SOCK_SEQPACKET_CLOEXEC = 5 | 0o2000000;
  const address = unixAddress(`/proc/self/fd/${directory}/${START_SOCKET}`);
  const socket = sys("socket", AF_UNIX, SOCK_SEQPACKET_CLOEXEC, 0);
  const connected = sys("connect", socket, address, address.length);
  if (connected < 0) {
    const stopped = connected === -errnoNumber("ECONNREFUSED");
    throw new TsrunError(
      stopped ? "cannot start a container that has stopped" : `cannot reach the container's first process`,
      { code: "ESRCH", step: "connect" },
    );
  }
  limitPatience(socket);
  return { pid: state.init_process_pid, socket, theirs: state.start.agent_socket };
}

export interface Starting {
  readonly agent: Agent;
  readonly slots: SlotTable;
  readonly state: ContainerState;
  readonly config: Config;
  readonly directory: number;
  readonly warn: (message: string) => void;
}

/** startContainer hooks, the program, poststart hooks (runtime.md, lifecycle steps 6 to 9). */
export function startProcess(starting: Starting): void {
  stage("start the program");
  const { agent, slots, state, config, directory } = starting;
  const hooks = config.hooks;
  if ((hooks?.startContainer ?? []).length > 0) {
    const document = JSON.stringify(stateDocument(state, "created"));
    runHooksInContainer(agent, slots, "startContainer", hooks?.startContainer, document);
  }
  const filter = savedFilter(directory, state.start);
  // The socket is what tells created from running: gone before the program runs, so that nobody can start it twice.
  sys("unlinkat", directory, START_SOCKET, 0);
  execute(agent, slots, {
    process: config.process!,
    env: state.start.env,
    preserveFds: state.start.preserve_fds,
    pointer: "/process",
    filter,
    lastCapabilities: savedCapabilities(state.start),
    sendListener: (descriptor, ask) => {
      const listening = { profile: config.linux!.seccomp!, state, pid: state.init_process_pid, isExec: false, ask };
      sendListener(listening, descriptor);
    },
  });
  sys("close", agent.socket);
  stage("poststart hooks");
  runPoststart(starting);
}

/** A poststart hook that fails is the end of the container (runtime.md, lifecycle step 9). */
function runPoststart({ state, config, warn }: Starting): void {
  if ((config.hooks?.poststart ?? []).length === 0) return;
  try {
    runHooks("poststart", config.hooks?.poststart, JSON.stringify(stateDocument(state, "running")));
  } catch (error) {
    try {
      destroy(state, warn);
    } catch (failure) {
      warn(errorMessage(failure));
    }
    throw error;
  }
}
