import { type ErrorDetails, errorMessage, TsrunError } from "../errors.ts";
import type { Entry, Level } from "./log.ts";
import type { CommandName, Globals } from "./options.ts";

/** What is said of an error: on standard error, in the log, and to the caller. */
export interface ErrorReport {
  readonly text: string;
  readonly entry: Entry;
  readonly status: number;
}

/**
 * The report of whatever a command threw. Standard error gets the message and, in a second line, the hint; an error
 * that is not a TsrunError is a fault of tsrun itself and shows its stack when `debug` is set. `warnings` that were kept
 * for the log become a field of its one entry: podman reads the log of a command that failed as a single JSON object.
 */
export function reportError(
  error: unknown,
  command: CommandName | undefined,
  debug: boolean,
  now: Date,
  warnings: readonly string[] = [],
): ErrorReport {
  const expected = error instanceof TsrunError;
  const details: ErrorDetails = expected ? error.details : { code: "EINTERNAL" };
  const msg = expected ? error.message : `internal error: ${errorMessage(error)}`;
  let text = `${msg}\n`;
  if (details.hint !== undefined) text += `hint: ${details.hint}\n`;
  if (!expected && debug && error instanceof Error) text += `${error.stack}\n`;
  return {
    text,
    entry: logEntry("error", msg, now, details, warnings),
    status: details.exitStatus ?? failureStatus(command, details),
  };
}

/** As runc: exec says 255 so that the status of its process can be told from a failure; a wrong command line is 1. */
function failureStatus(command: CommandName | undefined, details: ErrorDetails): number {
  return command === "exec" && details.code !== "EUSAGE" ? 255 : 1;
}

export function logEntry(
  level: Level,
  msg: string,
  now: Date,
  details: ErrorDetails = {},
  warnings: readonly string[] = [],
): Entry {
  const extra: Record<string, string | readonly string[]> = {};
  for (const key of ["code", "step", "pointer", "hint"] as const) {
    const value = details[key];
    if (value !== undefined) extra[key] = value;
  }
  if (warnings.length > 0) extra.warnings = warnings;
  return { level, msg, time: now.toISOString(), extra };
}

/**
 * Where a warning goes: with a log into it, otherwise to standard error; but commands whose output engines parse together
 * with standard error stay silent there.
 */
export function warningTarget(command: CommandName, globals: Globals): "stderr" | "log" | "nowhere" {
  if (globals.log !== undefined && globals.log !== "")
    return globals.debug || globals.logLevel !== "error" ? "log" : "nowhere";
  return SILENT.includes(command) ? "nowhere" : "stderr";
}

const SILENT: readonly string[] = ["state", "features", "ps"];
