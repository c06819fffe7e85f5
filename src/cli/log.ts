import { errnoText } from "../abi/errno.ts";
import { AT_FDCWD, O_APPEND, O_CLOEXEC, O_CREAT, O_WRONLY } from "../abi/fcntl.ts";
import { TsrunError } from "../errors.ts";
import { writeAll } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { utf8 } from "../text.ts";

export type Level = "error" | "warning" | "debug";

/** One line of the log. The extra fields are those of an error's details, and the warnings that came before it. */
export interface Entry {
  readonly level: Level;
  readonly msg: string;
  /** RFC 3339. */
  readonly time: string;
  readonly extra: Readonly<Record<string, string | readonly string[]>>;
}

/**
 * Opens the file of --log for appending, mode 0644. It exists from then on even when nothing is logged: containerd
 * reads it after every failure. `file:` may stand before the path, as with crun. Throws TsrunError.
 */
export function openLog(destination: string): number {
  const path = destination.startsWith("file:") ? destination.slice(5) : destination;
  if (path.startsWith("journald:") || path.startsWith("syslog:")) {
    throw new TsrunError(`cannot log to ${JSON.stringify(path)}: only files are supported`, {
      code: "EINVAL",
      hint: "give --log the path of a file",
    });
  }
  const fd = sys("openat", AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644);
  if (fd < 0) {
    throw new TsrunError(`cannot open log file ${JSON.stringify(path)}: ${errnoText(-fd)}`, { step: "openat" });
  }
  return fd;
}

/** Appends one line in one write(2), so that lines of several processes do not mix. */
export function writeLog(fd: number, format: "text" | "json", entry: Entry): void {
  writeAll(fd, utf8(`${format === "json" ? jsonLine(entry) : textLine(entry)}\n`));
}

/** The keys that engines decode come first: level, msg, time. */
export function jsonLine(entry: Entry): string {
  return JSON.stringify({ level: entry.level, msg: entry.msg, time: entry.time, ...entry.extra });
}

/** logrus's text format: `time="…" level=error msg="…" code=ENOENT`. */
export function textLine(entry: Entry): string {
  const extra = Object.entries(entry.extra).map(
    ([key, value]) => ` ${key}=${quoted(typeof value === "string" ? value : value.join("; "))}`,
  );
  return `time="${entry.time}" level=${entry.level} msg=${quoted(entry.msg)}${extra.join("")}`;
}

function quoted(text: string): string {
  return /^[\w.+@^/-]+$/.test(text) ? text : JSON.stringify(text);
}
