import { type Invocation, type InvocationOf, parseFast } from "./cli/fast-path.ts";
import { openLog, writeLog } from "./cli/log.ts";
import type { Command, CommandName, Globals } from "./cli/options.ts";
import { print, printError } from "./cli/output.ts";
import { logEntry, reportError, warningTarget } from "./cli/report.ts";
import type { Answer } from "./cli/yargs.ts";
import { printVersion } from "./commands/version.ts";
import { installBuiltIns } from "./kernel/built-ins.ts";
import { sys } from "./kernel/kernel.ts";
import { beginTrace, markStart, stage } from "./kernel/trace.ts";
import { environment, freeze, isToFreeze, programArguments, rehearse, type WarmUpPart } from "./kernel/warm-start.ts";
import { releaseSignals } from "./terminal/hold-signals.ts";

/**
 * Each is a module that is loaded when it is asked for: the engine makes something of every function of a module when it
 * loads it, called or not, and `state` has a tenth of those of `run`.
 */
const commands: { [N in CommandName]?: () => Promise<Command<N>> | Command<N> } = {
  create: async () => (await import("./commands/create.ts")).createCommand,
  start: async () => (await import("./commands/start.ts")).startCommand,
  run: async () => (await import("./commands/run.ts")).runCommand,
  exec: async () => (await import("./commands/exec.ts")).execCommand,
  state: async () => (await import("./commands/state.ts")).stateCommand,
  kill: async () => (await import("./commands/kill.ts")).killCommand,
  delete: async () => (await import("./commands/delete.ts")).deleteCommand,
  list: async () => (await import("./commands/list.ts")).listCommand,
  pause: async () => (await import("./commands/pause.ts")).pauseCommand,
  resume: async () => (await import("./commands/resume.ts")).resumeCommand,
  update: async () => (await import("./commands/update.ts")).updateCommand,
  ps: async () => (await import("./commands/ps.ts")).psCommand,
  events: async () => (await import("./commands/events.ts")).eventsCommand,
  spec: async () => (await import("./commands/spec.ts")).specCommand,
  plan: async () => (await import("./commands/plan.ts")).planCommand,
  features: async () => (await import("./commands/features.ts")).featuresCommand,
  seccomp: async () => (await import("./commands/seccomp.ts")).seccompCommand,
  try: async () => (await import("./commands/try.ts")).tryCommand,
  completion: async () => (await import("./commands/completion.ts")).completionCommand,
  help: async () => (await import("./commands/help.ts")).helpCommand,
};

/**
 * Commands that a signal must not simply end: those that wait for a container's process and forward signals to it, and
 * those that would leave a change half done.
 */
const HOLDING: readonly string[] = ["run", "exec", "try", "pause", "update"];

type CommandInvocation = Exclude<Invocation, { readonly command: "version" }>;

/** What else is loaded when it is asked for. */
const extras = {
  people: async () => await import("./cli/yargs.ts"),
  traceFile: async () => await import("./cli/trace-file.ts"),
};

let restoreBuiltIns: (() => void) | undefined;

/** In place of the end of the process. */
let endRehearsal: ((status: number) => void) | undefined;

if (isToFreeze()) loadAll().then(warmUp).then(freeze).then(main).catch(crash);
else main();

/** For a start that finds everything loaded, see kernel/warm-start.ts. */
async function loadAll(): Promise<void> {
  await load(commands);
  await load(extras);
}

async function load<T extends { [name: string]: (() => unknown) | undefined }>(table: T): Promise<void> {
  for (const name in table) {
    const module = await table[name]?.();
    Object.assign(table, { [name]: () => module });
  }
}

/** Runs the command lines that the build names, see scripts/program/warm-up.ts. */
async function warmUp(): Promise<void> {
  const parts: WarmUpPart[] = JSON.parse(environment().TSRUN_WARM_UP ?? "[]");
  for (const { calls, lines } of parts) {
    if (calls.some((call) => sys(...call) < 0)) continue;
    for (const line of lines) await warmUpWith(line);
  }
  endRehearsal = undefined;
}

async function warmUpWith(line: readonly string[]): Promise<void> {
  const free = sys("dup", 0);
  const status = await new Promise<number>((resolve) => {
    endRehearsal = resolve;
    rehearse(line, main);
  });
  // What ends with a command otherwise: locks, sockets, the log.
  sys("close_range", free, 0x7fffffff, 0);
  if (status !== 0) printError(`${line.join(" ")}: exit status ${status}\n`);
}

function useOwnBuiltIns(): void {
  restoreBuiltIns ??= installBuiltIns();
}

function main(): void {
  markStart();
  const argv = programArguments();
  useOwnBuiltIns();
  const invocation = parseFast(argv);
  if (invocation !== undefined) exitWith(run(invocation));
  else {
    restoreBuiltIns?.();
    exitWith(answerPeople(argv));
  }
}

async function answerPeople(argv: readonly string[]): Promise<number> {
  const { parseForPeople } = await extras.people();
  return answer(parseForPeople(argv));
}

function answer(given: Answer): number | Promise<number> {
  if (given.kind === "run") return run(given.invocation);
  if (given.kind === "wrong") return fail(given.error, undefined, given.globals, tryToLog(given.globals));
  if (given.status === 0) print(given.text);
  else printError(given.text);
  return given.status;
}

function run(invocation: Invocation): number | Promise<number> {
  if (invocation.command === "version") return printVersion();
  const path = invocation.globals.trace;
  return path === undefined || path === "" ? perform(invocation) : performTraced(invocation, path);
}

/** The trace is written when the command has ended, also when it has failed. */
async function performTraced(invocation: CommandInvocation, path: string): Promise<number> {
  beginTrace();
  stage("load the trace writer");
  const { command, globals } = invocation;
  try {
    const { prepareTraceFile, writeTrace } = await extras.traceFile();
    prepareTraceFile(path);
    stage("load the command");
    const status = await perform(invocation);
    writeTrace(path, command);
    return status;
  } catch (error) {
    return fail(error, command, globals, tryToLog(globals));
  }
}

async function perform(invocation: CommandInvocation): Promise<number> {
  const { command, globals } = invocation;
  if (!HOLDING.includes(command)) releaseSignals();
  let log = -1;
  const warnings: string[] = [];
  try {
    if (hasLog(globals)) log = openLog(globals.log);
    const status = await dispatch(invocation, warnings, log);
    for (const message of warnings) writeLog(log, globals.logFormat, logEntry("warning", message, new Date()));
    return status;
  } catch (error) {
    return fail(error, command, globals, log, warnings);
  }
}

async function dispatch<N extends CommandName>(
  invocation: InvocationOf<N>,
  warnings: string[],
  log: number,
): Promise<number> {
  const { command, options, args, globals } = invocation;
  const execute = await commands[command]!();
  stage(command);
  return execute({
    options,
    args,
    globals,
    warn: (message: string) => warn(message, command, globals, warnings),
    tell: (message: string) => tell(message, command, globals, warnings),
    explain:
      globals.debug || globals.logLevel === "debug" ? (message: string) => explain(message, globals, log) : undefined,
  });
}

/** What goes to the log is kept in `warnings` until it is known how the command ends, see reportError. */
function warn(message: string, command: CommandName, globals: Globals, warnings: string[]): void {
  const target = warningTarget(command, globals);
  if (target === "stderr") printError(`warning: ${message}\n`);
  if (target === "log") warnings.push(message);
}

/** Like the output of the program that it is about, this is not kept from standard error by a log. */
function tell(message: string, command: CommandName, globals: Globals, warnings: string[]): void {
  printError(`${message}\n`);
  if (warningTarget(command, globals) === "log") warnings.push(message);
}

/** At once, unlike a warning: how the command ends makes no difference. */
function explain(message: string, { logFormat }: Globals, log: number): void {
  if (log < 0) printError(`debug: ${message}\n`);
  else writeLog(log, logFormat, logEntry("debug", message, new Date()));
}

/** Turns an error into text, log line and exit status: the only place that does. `log` is negative without --log. */
function fail(
  error: unknown,
  command: CommandName | undefined,
  globals: Globals,
  log: number,
  warnings: readonly string[] = [],
): number {
  const report = reportError(error, command, globals.debug, new Date(), warnings);
  if (log >= 0) writeLog(log, globals.logFormat, report.entry);
  printError(report.text);
  return report.status;
}

function hasLog(globals: Globals): globals is Globals & { readonly log: string } {
  return globals.log !== undefined && globals.log !== "";
}

/** For an error that is reported anyway: a log that cannot be opened is not worth a second one. */
function tryToLog(globals: Globals): number {
  try {
    return hasLog(globals) ? openLog(globals.log) : -1;
  } catch {
    return -1;
  }
}

/** Leaves at once: whatever Bun would still do at its own exit is not needed. */
function exitWith(status: number | Promise<number>): void {
  if (typeof status !== "number") status.then(exitWith, crash);
  else if (endRehearsal === undefined) sys("exit_group", status);
  else endRehearsal(status);
}

/** The command line itself could not be dealt with: a fault of tsrun. */
function crash(error: unknown): void {
  printError(reportError(error, undefined, false, new Date()).text);
  sys("exit_group", 1);
}
