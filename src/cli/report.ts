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
 * that is not a TsrunError is a fault of tsrun itself and shows its stack when `debug` is set.
 */
export function reportError(error: unknown, command: CommandName | undefined, debug: boolean, now: Date): ErrorReport {
  const expected = error instanceof TsrunError;
  const details: ErrorDetails = expected ? error.details : { code: "EINTERNAL" };
  const msg = expected ? error.message : `internal error: ${errorMessage(error)}`;
  let text = `${msg}\n`;
  if (details.hint !== undefined) text += `hint: ${details.hint}\n`;
  if (!expected && debug && error instanceof Error) text += `${error.stack}\n`;
  return {
    text,
    entry: logEntry("error", msg, now, details),
    status: details.exitStatus ?? failureStatus(command, details),
  };
}

/** As runc: exec says 255 so that the status of its process can be told from a failure; a wrong command line is 1. */
function failureStatus(command: CommandName | undefined, details: ErrorDetails): number {
  return command === "exec" && details.code !== "EUSAGE" ? 255 : 1;
}

export function logEntry(level: Level, msg: string, now: Date, details: ErrorDetails = {}): Entry {
  const extra: Record<string, string> = {};
  for (const key of ["code", "step", "pointer", "hint"] as const) {
    const value = details[key];
    if (value !== undefined) extra[key] = value;
  }
  return { level, msg, time: now.toISOString(), extra };
}

/**
 * Where a warning goes. A log holds errors only unless asked otherwise: podman reads it as a single JSON object. Commands
 * whose output engines parse together with standard error stay silent there.
 */
export function warningTarget(command: CommandName, globals: Globals): "stderr" | "log" | "nowhere" {
  if (globals.log !== undefined && globals.log !== "")
    return globals.debug || globals.logLevel !== "error" ? "log" : "nowhere";
  return command === "state" || command === "features" ? "nowhere" : "stderr";
}
