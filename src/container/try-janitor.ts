import type { ErrnoName } from "../abi/errno.ts";
import { AT_FDCWD, AT_REMOVEDIR } from "../abi/fcntl.ts";
import { type Agent, send, spawnAgent } from "../agent/session.ts";
import { close, openDirectory } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { killAndReap } from "../kernel/processes.ts";
import { add, label, type Program, place, program, slotTable, space, struct } from "../plan/step.ts";
import { CONFIG, DRAFT, START_SOCKET, STATE } from "../state/names.ts";

/** What a container leaves on the host when its tsrun is killed: its process and its mounts are gone with that. */
export interface Remains {
  /** Absolute paths. */
  readonly cgroups: readonly string[];
  readonly root: string;
  readonly id: string;
}

export interface Janitor {
  /** To be called when tsrun has cleaned up itself. */
  readonly dismiss: () => void;
}

/**
 * An agent that waits for tsrun to be gone and then removes what is left: nobody else would, after a SIGKILL. It is
 * 16 kB of memory, and clean-up is all that it can do. Without it, tsrun delete does the same; so none is no error.
 */
export function startJanitor(remains: Remains): Janitor {
  const directory = openDirectory(remains.root);
  try {
    const CLOSE_RANGE_CLOEXEC = 4;
    sys("close_range", 3, 0xffffffff, CLOSE_RANGE_CLOEXEC);
    const agent = spawnAgent(directory);
    send(agent, [planCleanUp(remains, agent)], slotTable());
    return { dismiss: () => end(agent) };
  } catch {
    return { dismiss: () => {} };
  } finally {
    if (directory >= 0) close(directory);
  }
}

function end(agent: Agent): void {
  killAndReap(agent.pid);
  close(agent.socket);
}

const NEVER_MIND: readonly ErrnoName[] = [
  "ENOENT",
  "ENOTDIR",
  "EBUSY",
  "EPERM",
  "EACCES",
  "EROFS",
  "ENOTEMPTY",
  "EBADF",
  "EINTR",
];

function planCleanUp({ cgroups, root, id }: Remains, agent: Agent): Program {
  const janitor = program("janitor", { silent: true });
  const what = "clean up";
  // The caller's terminal, signals from it, and pipes that others wait on the end of are not for the janitor.
  add(janitor, { call: "setsid", args: [], what, tolerate: NEVER_MIND });
  for (const fd of [0, 1, 2]) {
    if (fd !== agent.theirs) add(janitor, { call: "close", args: [fd], what, tolerate: NEVER_MIND });
  }
  add(janitor, { call: "read", args: [agent.theirs, space(8), 8], what: "wait for the end of tsrun", retry: true });
  for (const path of cgroups) planRemoval(janitor, path);
  for (const name of [STATE, DRAFT, CONFIG, START_SOCKET]) {
    add(janitor, { call: "unlinkat", args: [AT_FDCWD, `${root}/${id}/${name}`, 0], what, tolerate: NEVER_MIND });
  }
  const args = [AT_FDCWD, `${root}/${id}`, AT_REMOVEDIR];
  add(janitor, { call: "unlinkat", args, what, tolerate: NEVER_MIND });
  return janitor;
}

/** The container's processes take a moment to die: their cgroup is busy until then. */
const PAUSES_MS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

function planRemoval(janitor: Program, path: string): void {
  const done = label();
  const what = `remove cgroup "${path}"`;
  for (const pause of PAUSES_MS) {
    const args = [AT_FDCWD, path, AT_REMOVEDIR];
    add(janitor, { call: "unlinkat", args, what, tolerate: NEVER_MIND, onZero: done });
    const exists = { call: "faccessat2", args: [AT_FDCWD, path, 0, 0], what, tolerate: NEVER_MIND } as const;
    add(janitor, { ...exists, onTolerated: done });
    const time = struct("timespec", Math.floor(pause / 1000), (pause % 1000) * 1_000_000);
    add(janitor, { call: "ppoll", args: [0, 0, time, 0, 8], what: "wait", tolerate: NEVER_MIND });
  }
  place(janitor, done);
}
