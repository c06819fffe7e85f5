import { errnoName, errnoNumber, errnoText } from "../abi/errno.ts";
import { TsrunError } from "../errors.ts";
import { nanoseconds } from "../kernel/clock.ts";
import { readText, sleep, writeText } from "../kernel/files.ts";
import { processesIn } from "./processes.ts";

/**
 * Freezing a cgroup with all below it. v1: freezer.state (kernel: admin-guide/cgroup-v1/freezer-subsystem.rst); v2:
 * cgroup.freeze (admin-guide/cgroup-v2.rst). Both only ask: a process freezes when it comes by, and one that waits
 * uninterruptibly does not.
 */
export interface Freezer {
  /** Absolute directory of the cgroup. */
  readonly path: string;
  /** Asks the kernel to freeze, or to thaw. Returns 0 or the negative errno. */
  readonly ask: (frozen: boolean) => number;
  /** `freezing`: asked for, but some process still runs. A frozen cgroup above makes it `frozen` too. */
  readonly state: () => "frozen" | "freezing" | "thawed";
  /** Whether this cgroup itself is asked to freeze, whatever those above it are. */
  readonly isAsked: () => boolean;
  /**
   * v1 tells its processes once. One that was in the middle of vfork(2) or of a ptrace(2) stop misses it; letting all go
   * for a moment and asking again reaches it (runc does the same).
   */
  readonly asksAgain: boolean;
}

/** The freezer of a container with these cgroup_paths (see state.ts); undefined when it has none. */
export function freezerOf(cgroupPaths: Readonly<Record<string, string>>): Freezer | undefined {
  const paths = new Map(Object.entries(cgroupPaths));
  const v1 = paths.get("freezer");
  if (v1 !== undefined) return freezerV1(v1);
  const v2 = paths.get("");
  return v2 === undefined ? undefined : freezerV2(v2);
}

function freezerV1(path: string): Freezer {
  return {
    path,
    ask: (frozen) => writeText(`${path}/freezer.state`, frozen ? "FROZEN" : "THAWED"),
    // Reading is what makes the kernel look whether all have frozen.
    state: () => {
      const state = contentOf(`${path}/freezer.state`);
      return state === "FROZEN" ? "frozen" : state === "FREEZING" ? "freezing" : "thawed";
    },
    isAsked: () => contentOf(`${path}/freezer.self_freezing`) === "1",
    asksAgain: true,
  };
}

function freezerV2(path: string): Freezer {
  const isAsked = () => contentOf(`${path}/cgroup.freeze`) === "1";
  return {
    path,
    ask: (frozen) => writeText(`${path}/cgroup.freeze`, frozen ? "1" : "0"),
    state: () => {
      if (/^frozen 1$/m.test(contentOf(`${path}/cgroup.events`))) return "frozen";
      return isAsked() ? "freezing" : "thawed";
    },
    isAsked,
    asksAgain: false,
  };
}

function contentOf(path: string): string {
  const text = readText(path);
  return typeof text === "string" ? text.trim() : "";
}

/** How long to try. `sleep` returns true when the caller is to give up at once. */
export interface Patience {
  readonly milliseconds: number;
  readonly sleep: (milliseconds: number) => boolean;
}

/**
 * Freezes all processes, or none: when one does not freeze in time, or the kernel refuses, all go on again and the error
 * says why. `action` begins its message: `pause container "x"`.
 */
export function freeze(freezer: Freezer, action: string, patience: Patience): void {
  mustAsk(freezer, true, action);
  try {
    waitUntilFrozen(freezer, action, patience);
  } catch (error) {
    throw afterThaw(freezer, error);
  }
}

function waitUntilFrozen(freezer: Freezer, action: string, { milliseconds, sleep }: Patience): void {
  const ASK_AGAIN_AFTER = 50;
  const end = nanoseconds() + milliseconds * 1e6;
  for (let round = 1, pause = 0.1; freezer.state() !== "frozen"; round++, pause = Math.min(pause * 2, 10)) {
    if (nanoseconds() > end) throw notFrozen(freezer, action, milliseconds);
    if (freezer.asksAgain && round % ASK_AGAIN_AFTER === 0) freezer.ask(false);
    if (freezer.asksAgain) mustAsk(freezer, true, action);
    if (sleep(pause)) throw new TsrunError(`cannot ${action}: a signal came first; it runs again`, { code: "EINTR" });
  }
}

function mustAsk(freezer: Freezer, frozen: boolean, action: string): void {
  const result = freezer.ask(frozen);
  if (result >= 0) return;
  const message = `cannot ${action}: cannot ${frozen ? "freeze" : "thaw"} cgroup "${freezer.path}": ${errnoText(-result)}`;
  throw new TsrunError(message, { code: errnoName(-result) });
}

/** The error as it was, or with what is wrong besides. A cgroup that is gone has nobody to thaw. */
function afterThaw(freezer: Freezer, error: unknown): unknown {
  const result = freezer.ask(false);
  if (result >= 0 || result === -errnoNumber("ENOENT") || !(error instanceof TsrunError)) return error;
  const message = `${error.message}; nor can cgroup "${freezer.path}" be thawed: ${errnoText(-result)}`;
  return new TsrunError(message, error.details);
}

function notFrozen({ path }: Freezer, action: string, milliseconds: number): TsrunError {
  const running = awake(path);
  const who = running.length === 0 ? "" : ` (${running.join(", ")})`;
  const message = `cannot ${action}: not all of its processes freeze within ${milliseconds / 1000} s${who}; it runs again`;
  const hint = "a process that waits for a device or a network file system cannot freeze; try again when it goes on";
  return new TsrunError(message, { code: "ETIMEDOUT", hint });
}

/** `process 17 (dd) waits in folio_wait_bit`, of up to three: the kernel's function tells them from frozen ones, where it may be seen. */
function awake(path: string): string[] {
  const found: string[] = [];
  for (const pid of processesIn(path)) {
    const where = contentOf(`/proc/${pid}/wchan`);
    if (["", "0", "__refrigerator", "do_freezer_trap"].includes(where)) continue;
    found.push(`process ${pid} (${contentOf(`/proc/${pid}/comm`)}) waits in ${where}`);
    if (found.length === 3) break;
  }
  return found;
}

/** Thaws, and waits until the kernel says so. Throws when a cgroup above stays frozen. */
export function thawAll(freezer: Freezer, action: string, patience: number): void {
  const end = nanoseconds() + patience * 1e6;
  mustAsk(freezer, false, action);
  for (let pause = 0.1; freezer.state() !== "thawed"; pause = Math.min(pause * 2, 10)) {
    if (nanoseconds() > end) throw staysFrozen(freezer, action);
    sleep(pause);
  }
}

function staysFrozen({ path }: Freezer, action: string): TsrunError {
  const above = frozenAbove(path);
  const why = above === undefined ? `cgroup "${path}" stays frozen` : `cgroup "${above}" above it is frozen`;
  return new TsrunError(`cannot ${action}: ${why}`, {
    code: "EBUSY",
    hint: above === undefined ? undefined : "who froze that one has to thaw it",
  });
}

/** The nearest cgroup above that is asked to freeze. */
function frozenAbove(path: string): string | undefined {
  for (let above = parentOf(path); above !== ""; above = parentOf(above)) {
    if (contentOf(`${above}/cgroup.freeze`) === "1" || contentOf(`${above}/freezer.self_freezing`) === "1")
      return above;
  }
  return undefined;
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
