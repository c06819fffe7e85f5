import { readText } from "../kernel/files.ts";
import { type ProcessStat, parseStat } from "./parse-stat.ts";

/** What /proc/<pid>/stat says; undefined when there is no such process. */
export function readProcess(pid: number): ProcessStat | undefined {
  const text = pid > 0 ? readText(`/proc/${pid}/stat`) : "";
  return typeof text === "string" ? parseStat(text) : undefined;
}

/** When the process started, in clock ticks after boot; 0 when there is no such process. */
export function processStartTime(pid: number): number {
  return readProcess(pid)?.startTime ?? 0;
}

/**
 * True when `pid` is still the process that started then, and neither dead nor a zombie. A process whose first thread has
 * ended (pthread_exit(3) in main) looks like a zombie, and is none before the others have.
 */
export function isAlive(pid: number, startTime: number): boolean {
  const found = readProcess(pid);
  if (found === undefined || found.startTime !== startTime) return false;
  return (found.state !== "Z" && found.state !== "X") || found.threads > 1;
}
