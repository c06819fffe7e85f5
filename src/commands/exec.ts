import { shellStatus } from "../abi/wait.ts";
import type { Command, CommandInput, OptionValues } from "../cli/options.ts";
import { preserveDescriptors, stdioToOwn, withPidFile } from "../container/caller.ts";
import { type ContainerExec, execInContainer } from "../container/exec.ts";
import { chosenCgroups } from "../container/exec-cgroups.ts";
import { execProcess } from "../container/exec-process.ts";
import { listenFds } from "../container/listen-fds.ts";
import { countKills, type KillReason, killedFor, withReason } from "../container/out-of-memory.ts";
import { withSavedConfig } from "../container/saved-config.ts";
import { TsrunError } from "../errors.ts";
import { readFacts } from "../host/read-facts.ts";
import { sys } from "../kernel/kernel.ts";
import type { Config } from "../spec/types.ts";
import { stateRoot } from "../state/root.ts";
import type { ContainerState } from "../state/state.ts";
import { type Status, statusOf } from "../state/status.ts";
import { openContainerDirectory, readState } from "../state/store.ts";
import { connectConsole, openPassThrough, ownTerminal } from "../terminal/console.ts";
import { catchSignals, type Terminals, takeTerminal, waitInForeground } from "../terminal/foreground.ts";
import { holdSignals, releaseSignals } from "../terminal/hold-signals.ts";
import { checkTerminal } from "./check-terminal.ts";

export const execCommand: Command<"exec"> = (input) => {
  const { args, options, globals } = input;
  const root = stateRoot(globals.root);
  const [id = ""] = args;
  const directory = openContainerDirectory(root, id);
  const state = readState(directory, root, id);
  const status = statusOf(state, directory);
  checkStatus(status, options.ignorePaused);
  return withSavedConfig(directory, id, (config) => execWith(input, { state, status, directory, config }));
};

interface Found {
  readonly state: ContainerState;
  readonly status: Status;
  /** Of the state directory. */
  readonly directory: number;
  readonly config: Config;
}

function execWith(
  { args, options, warn, tell }: CommandInput<"exec">,
  { state, status, directory, config }: Found,
): number {
  const [id = "", ...command] = args;
  const { process, pointer, labelOptions } = execProcess(config, command, options, warn);
  const passed = listenFds(config);
  const preserveFds = options.preserveFds + passed.count;
  preserveDescriptors(preserveFds);
  const request = {
    state,
    config,
    process,
    pointer,
    labelOptions,
    facts: readFacts(),
    cgroups: options.cgroup.length === 0 ? undefined : chosenCgroups(state, options.cgroup),
    directory,
    pidfdSocket: options.pidfdSocket,
    preserveFds,
    extraEnv: passed.env,
    stdio: stdioToOwn(),
    onProcess: (pid: number, run: () => void) => withPidFile(options.pidFile, pid, run),
    warn,
  };
  const reason = countKills(config, state.cgroup_paths, { manager: state.cgroup_manager });
  const ended = sayingWhy(id, reason, () =>
    options.detach || options.consoleSocket !== undefined
      ? execDetached(request, options)
      : execInForeground(request, status === "paused"),
  );
  const killed = killedFor(reason, ended);
  if (killed !== undefined) tell(killed);
  return ended;
}

function sayingWhy(id: string, reason: KillReason | undefined, act: () => number): number {
  try {
    return act();
  } catch (error) {
    throw withReason(error, `exec in container "${id}"`, reason);
  }
}

/** Engines look for these texts. */
function checkStatus(status: Status, ignorePaused: boolean): void {
  if (status === "created" || status === "running") return;
  if (status !== "paused") throw new TsrunError(`cannot exec in a ${status} container`, { code: "EINVAL" });
  if (ignorePaused) return;
  throw new TsrunError("cannot exec in a paused container (use --ignore-paused to override)", { code: "EINVAL" });
}

type Request = Omit<ContainerExec, "console">;

function execDetached(request: Request, options: OptionValues<"exec">): number {
  checkTerminal(request.process.terminal === true, options.consoleSocket);
  const console = options.consoleSocket === undefined ? undefined : connectConsole(options.consoleSocket);
  const signals = options.detach ? undefined : catchSignals();
  if (signals === undefined) releaseSignals();
  const pid = execInContainer({ ...request, console });
  if (console !== undefined) sys("close", console);
  return signals === undefined ? 0 : shellStatus(waitInForeground({ pid, signals, terminal: undefined }));
}

function execInForeground(request: Request, isPaused: boolean): number {
  const signals = catchSignals();
  // Until the container is resumed there is nobody to forward a signal to: it ends tsrun, and that the process.
  if (isPaused) releaseSignals();
  const pass = request.process.terminal === true ? openPassThrough(ownTerminal()) : undefined;
  let terminal: Terminals | undefined;
  const onProcess = (pid: number, run: () => void) => {
    if (isPaused) holdSignals();
    terminal = pass && takeTerminal(pass);
    request.onProcess(pid, run);
  };
  const pid = execInContainer({ ...request, console: pass?.theirs, onProcess });
  return shellStatus(waitInForeground({ pid, signals, terminal }));
}
