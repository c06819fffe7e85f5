import { AT_FDCWD, O_NOFOLLOW } from "../abi/fcntl.ts";
import { close, DT_DIR, openDirectory, readEntries, readText } from "../kernel/files.ts";
import { isDigits } from "../text.ts";

/** The process ids in a cgroup and in all below it; none when it does not exist. */
export function processesIn(path: string): number[] {
  const pids: number[] = [];
  walkCgroups(path, {
    enter: (cgroup) => {
      for (const pid of parsePids(readText("cgroup.procs", cgroup))) pids.push(pid);
    },
  });
  return pids;
}

export interface Visit {
  /** A cgroup, by its descriptor, before those inside it. */
  readonly enter?: (cgroup: number) => void;
  /** One inside another, by the descriptor of that one and its name, when all inside it have been visited. */
  readonly leave?: (above: number, name: string) => void;
}

/**
 * Visits a cgroup and all below it. A container may have nested cgroups deeper than a path can be long, and than there are
 * descriptors: the way goes down and up by one descriptor at a time.
 */
export function walkCgroups(path: string, { enter, leave }: Visit): void {
  let at = openDirectory(path, AT_FDCWD, O_NOFOLLOW);
  if (at < 0) return;
  const move = (name: string): boolean => {
    const next = openDirectory(name, at, O_NOFOLLOW);
    if (next < 0) return false;
    close(at);
    at = next;
    return true;
  };
  enter?.(at);
  const way: string[] = [];
  const waiting = [namesIn(at)];
  while (waiting.length > 0) {
    const inside = waiting[waiting.length - 1]!.pop();
    if (inside === undefined) {
      waiting.pop();
      const done = way.pop();
      if (done === undefined || !move("..")) break;
      leave?.(at, done);
    } else if (move(inside)) {
      enter?.(at);
      way.push(inside);
      waiting.push(namesIn(at));
    }
  }
  close(at);
}

function namesIn(directory: number): string[] {
  const entries = readEntries(directory);
  return typeof entries === "number" ? [] : entries.filter(({ type }) => type === DT_DIR).map(({ name }) => name);
}

/** A threaded cgroup of v2 has EOPNOTSUPP in place of a list: its processes show in the one above it. */
function parsePids(text: string | number): number[] {
  if (typeof text === "number") return [];
  const pids = text.split("\n").filter(isDigits);
  // 0 stands for a process that this process id namespace cannot name.
  return pids.map(Number).filter((pid) => pid > 0);
}
