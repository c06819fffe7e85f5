import { type Invocation, type InvocationOf, parseFast } from "./cli/fast-path.ts";
import { openLog, writeLog } from "./cli/log.ts";
import type { Command, CommandName, Globals } from "./cli/options.ts";
import { print, printError } from "./cli/output.ts";
import { logEntry, reportError, warningTarget } from "./cli/report.ts";
import type { Answer } from "./cli/yargs.ts";
import { createCommand } from "./commands/create.ts";
import { deleteCommand } from "./commands/delete.ts";
import { execCommand } from "./commands/exec.ts";
import { killCommand } from "./commands/kill.ts";
import { listCommand } from "./commands/list.ts";
import { pauseCommand } from "./commands/pause.ts";
import { psCommand } from "./commands/ps.ts";
import { resumeCommand } from "./commands/resume.ts";
import { runCommand } from "./commands/run.ts";
import { startCommand } from "./commands/start.ts";
import { stateCommand } from "./commands/state.ts";
import { updateCommand } from "./commands/update.ts";
import { printVersion } from "./commands/version.ts";
import { installBuiltIns } from "./kernel/built-ins.ts";
import { sys } from "./kernel/kernel.ts";
import { beginTrace, stage } from "./kernel/trace.ts";
import { releaseSignals } from "./terminal/hold-signals.ts";

/** A command at hand, or one that is loaded when it is asked for, because its modules are slow to load. */
type Entry<N extends CommandName> = Command<N> | { readonly load: () => Promise<Command<N>> };

const commands: { readonly [N in CommandName]?: Entry<N> } = {
  create: createCommand,
  start: startCommand,
  run: runCommand,
  exec: execCommand,
  state: stateCommand,
  kill: killCommand,
  delete: deleteCommand,
  list: listCommand,
  pause: pauseCommand,
  resume: resumeCommand,
  update: updateCommand,
  ps: psCommand,
  events: { load: async () => (await import("./commands/events.ts")).eventsCommand },
  spec: { load: async () => (await import("./commands/spec.ts")).specCommand },
  plan: { load: async () => (await import("./commands/plan.ts")).planCommand },
  features: { load: async () => (await import("./commands/features.ts")).featuresCommand },
  seccomp: { load: async () => (await import("./commands/seccomp.ts")).seccompCommand },
  try: { load: async () => (await import("./commands/try.ts")).tryCommand },
  completion: { load: async () => (await import("./commands/completion.ts")).completionCommand },
  help: { load: async () => (await import("./commands/help.ts")).helpCommand },
};

/**
 * Commands that a signal must not simply end: those that wait for a container's process and forward signals to it, and
 * those that would leave a change half done.
 */
const HOLDING: readonly string[] = ["run", "exec", "try", "pause", "update"];

type CommandInvocation = Exclude<Invocation, { readonly command: "version" }>;

main(process.argv.slice(2));

/** The hot path is synchronous from here to the exit; promises are only for what is loaded late. */
function main(argv: readonly string[]): void {
  const restore = installBuiltIns();
  const invocation = parseFast(argv);
  if (invocation !== undefined) exitWith(run(invocation));
  else {
    restore();
    exitWith(import("./cli/yargs.ts").then(({ parseForPeople }) => answer(parseForPeople(argv))));
  }
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
    const { prepareTraceFile, writeTrace } = await import("./cli/trace-file.ts");
    prepareTraceFile(path);
    stage(command);
    const status = await perform(invocation);
    writeTrace(path, command);
    return status;
  } catch (error) {
    return fail(error, command, globals, tryToLog(globals));
  }
}

function perform(invocation: CommandInvocation): number | Promise<number> {
  const { command, globals } = invocation;
  if (!HOLDING.includes(command)) releaseSignals();
  let log = -1;
  const warnings: string[] = [];
  const succeed = (status: number) => {
    for (const message of warnings) writeLog(log, globals.logFormat, logEntry("warning", message, new Date()));
    return status;
  };
  try {
    if (hasLog(globals)) log = openLog(globals.log);
    const status = dispatch(invocation, warnings, log);
    if (typeof status === "number") return succeed(status);
    return status.then(succeed).catch((error) => fail(error, command, globals, log, warnings));
  } catch (error) {
    return fail(error, command, globals, log, warnings);
  }
}

function dispatch<N extends CommandName>(
  invocation: InvocationOf<N>,
  warnings: string[],
  log: number,
): number | Promise<number> {
  const { command, options, args, globals } = invocation;
  const entry: Entry<N> = commands[command]!;
  const input = {
    options,
    args,
    globals,
    warn: (message: string) => warn(message, command, globals, warnings),
    tell: (message: string) => tell(message, command, globals, warnings),
    explain:
      globals.debug || globals.logLevel === "debug" ? (message: string) => explain(message, globals, log) : undefined,
  };
  if (typeof entry === "function") return entry(input);
  return entry.load().then((loaded) => loaded(input));
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
  if (typeof status === "number") sys("exit_group", status);
  else status.then(exitWith, crash);
}

/** The command line itself could not be dealt with: a fault of tsrun. */
function crash(error: unknown): void {
  printError(reportError(error, undefined, false, new Date()).text);
  sys("exit_group", 1);
}
