/**
 * What to write to a file of a cgroup for it to say again what it said `before` it was told `written`. Most files take
 * what they say; those of devices and interfaces have a line for each, and take one line at a time.
 */
export function restoringText(file: string, before: string, written: string): string {
  if (file === "memory.oom_control") return /^oom_kill_disable (\d)$/m.exec(before)?.[1] ?? "0";
  if (isKeyed(file)) return restoringLine(file, before, written);
  // An empty write is none at all; cpuset files become empty by a line end.
  return before.trim() === "" ? "\n" : before.trim();
}

/** Files with a line for each device or interface. */
export function isKeyed(file: string): boolean {
  return ["io.", "blkio.", "net_prio.", "rdma."].some((prefix) => file.startsWith(prefix));
}

/** A weight for all devices is the line of `default`, or all that there is. */
function restoringLine(file: string, before: string, written: string): string {
  const [first = "", ...values] = written.trim().split(" ");
  const key = values.length === 0 ? "default" : first;
  const line = before.split("\n").find((each) => each.startsWith(`${key} `));
  return line ?? (values.length === 0 ? before.trim() : `${key} ${unset(file)}`);
}

/** For a device that the file did not name. */
function unset(file: string): string {
  if (file === "io.max") return "rbps=max wbps=max riops=max wiops=max";
  if (file === "io.latency") return "target=0";
  return file.endsWith("weight") ? "default" : "0";
}
