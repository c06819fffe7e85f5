import { shellStatus } from "../abi/wait.ts";
import type { Command } from "../cli/options.ts";
import { withPidFile } from "../container/caller.ts";
import { type CreatedContainer, type CreateRequest, createContainer, publishContainer } from "../container/create.ts";
import { deleteEnded } from "../container/delete.ts";
import { listenForReady, type Notify, waitForReady } from "../container/notify.ts";
import { killedFor, withReason } from "../container/out-of-memory.ts";
import { createRequest } from "../container/request.ts";
import { checkProcess, startProcess } from "../container/start.ts";
import { sys } from "../kernel/kernel.ts";
import { stage } from "../kernel/trace.ts";
import { variable } from "../kernel/warm-start.ts";
import { unlockContainer } from "../state/lock.ts";
import { openPassThrough, ownTerminal } from "../terminal/console.ts";
import { catchSignals, type Terminals, takeTerminal, waitInForeground } from "../terminal/foreground.ts";
import { releaseSignals } from "../terminal/hold-signals.ts";
import { checkTerminal } from "./check-terminal.ts";

export interface RunOptions {
  readonly detach: boolean;
  readonly keep: boolean;
  readonly pidFile?: string | undefined;
  readonly consoleSocket?: string | undefined;
  readonly noSubreaper: boolean;
}

export const runCommand: Command<"run"> = ({ args, options, globals, warn, tell, explain }) =>
  runContainer({ ...createRequest(args[0]!, options, globals, warn), explain }, options, tell);

/** create and start in one; in the foreground also wait, and delete. Returns the exit status of tsrun. */
export function runContainer(
  request: Omit<CreateRequest, "waitsForStart">,
  options: RunOptions,
  tell: (message: string) => void,
): number {
  checkProcess(request.config);
  const terminal = request.config.process?.terminal === true;
  const passThrough = terminal && !options.detach && options.consoleSocket === undefined;
  if (!passThrough) checkTerminal(terminal, options.consoleSocket);
  if (options.detach) {
    releaseSignals();
    const { state, notify } = start(request, options);
    if (notify !== undefined) waitForReady(notify, state.init_process_pid);
    return 0;
  }
  const signals = catchSignals();
  if (!options.noSubreaper) becomeSubreaper();
  const pass = passThrough ? openPassThrough(ownTerminal()) : undefined;
  let terminals: Terminals | undefined;
  const container = start({ ...request, console: pass?.theirs ?? request.console }, options, () => {
    terminals = pass && takeTerminal(pass);
  });
  // The lock is for what this command does to the container, not for how long the container runs.
  unlockContainer(container.directory);
  stage("wait for the container");
  const { state, notify } = container;
  const waited = waitInForeground({ pid: state.init_process_pid, signals, terminal: terminals, watched: notify });
  const status = shellStatus(waited);
  const killed = killedFor(container.reason, status);
  if (killed !== undefined) tell(killed);
  if (!options.keep) deleteEnded(container.directory, request.root, state, request.config.hooks, request.warn);
  return status;
}

/** Orphans of the container become children of this process, not of a service manager that knows nothing of them. */
function becomeSubreaper(): void {
  const PR_SET_CHILD_SUBREAPER = 36;
  sys("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/** `onCreated` is called when the process is complete but for its program. */
function start(
  request: Omit<CreateRequest, "waitsForStart">,
  options: RunOptions,
  onCreated?: () => void,
): CreatedContainer & { readonly notify: Notify | undefined } {
  const container = createContainer({ ...request, waitsForStart: false });
  try {
    onCreated?.();
    const { plan, agent, state, directory } = container;
    const notify = listenForReady(directory, variable("NOTIFY_SOCKET"), request.warn);
    withPidFile(options.pidFile, state.init_process_pid, () => {
      publishContainer(container);
      startProcess({ agent, slots: plan.slots, state, config: request.config, directory, warn: request.warn });
    });
    return { ...container, notify };
  } catch (error) {
    const told = withReason(error, `start container "${request.id}"`, container.reason);
    container.undo();
    throw told;
  }
}
