import { errnoName, errnoText } from "../abi/errno.ts";
import { AT_FDCWD, O_CLOEXEC, O_CREAT, O_TRUNC, O_WRONLY } from "../abi/fcntl.ts";
import { TsrunError } from "../errors.ts";
import { close, writeAll } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { endTrace, type Span, type Trace } from "../kernel/trace.ts";

/** Makes the file empty, so that one that cannot be written is told before anything is done. */
export function prepareTraceFile(path: string): void {
  close(openTraceFile(path));
}

/** Writes what was traced: the trace event format of Chrome, which Perfetto reads too. */
export function writeTrace(path: string, command: string): void {
  const trace = endTrace();
  if (trace === undefined) return;
  const fd = openTraceFile(path);
  const failed = writeAll(fd, Buffer.from(JSON.stringify({ traceEvents: traceEvents(trace, command) }), "utf8"));
  close(fd);
  if (failed < 0) throw cannotWrite(path, failed);
}

function openTraceFile(path: string): number {
  const fd = sys("openat", AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644);
  if (fd < 0) throw cannotWrite(path, fd);
  return fd;
}

function cannotWrite(path: string, result: number): TsrunError {
  const message = `cannot write the trace to "${path}": ${errnoText(-result)} (--trace)`;
  return new TsrunError(message, { code: errnoName(-result), step: "openat" });
}

/** One row per process; the spans of tsrun lie in one that is the command. */
function traceEvents({ spans, processes, pid }: Trace, command: string): object[] {
  const from = Math.min(...spans.map(({ start }) => start));
  const to = Math.max(...spans.filter((span) => span.pid === pid).map(({ end }) => end));
  const whole: Span = { name: `tsrun ${command}`, kind: "stage", pid, start: from, end: to };
  const names = [...processes].map(([id, name]) => ({
    name: "process_name",
    ph: "M",
    pid: id,
    tid: id,
    args: { name },
  }));
  return [...names, ...[whole, ...spans].map((span) => traceEvent(span, from))];
}

/** Times are microseconds; `tdur` is processor time. Steps that end before they begin do so by less than the clocks differ. */
function traceEvent({ name, kind, pid, start, end, cpu, ...args }: Span, from: number): object {
  const ts = (start - from) / 1000;
  const tdur = cpu === undefined ? {} : { tdur: cpu / 1000 };
  return { name, cat: kind, ph: "X", ts, dur: Math.max(0, end - start) / 1000, ...tdur, pid, tid: pid, args };
}
