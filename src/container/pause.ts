import { type Freezer, freeze, freezerOf, thawAll } from "../cgroup/freeze.ts";
import { TsrunError } from "../errors.ts";
import { close } from "../kernel/files.ts";
import type { ContainerState } from "../state/state.ts";
import { catchSignals, signalWithin } from "../terminal/foreground.ts";
import { type LockedContainer, withLockedContainer } from "./locked.ts";

/** Long enough for a disk that is slow, not for a server that is away. */
const FREEZE_MS = 10_000;
/** Thawing waits for nobody; only the kernel has to do it. */
const THAW_MS = 2000;

/** Freezes the container: all of its processes, or in the end none. */
export function pauseContainer(root: string, id: string): void {
  // A signal that ended tsrun here would leave the container half frozen.
  const signals = catchSignals();
  try {
    withLockedContainer(root, id, checkPausable, ({ state }) => {
      const sleep = (milliseconds: number) => signalWithin(signals, milliseconds);
      freeze(mustHaveFreezer(state, "pause"), `pause container "${id}"`, { milliseconds: FREEZE_MS, sleep });
    });
  } finally {
    close(signals);
  }
}

export function resumeContainer(root: string, id: string): void {
  withLockedContainer(root, id, checkResumable, ({ state }) => {
    thawAll(mustHaveFreezer(state, "resume"), `resume container "${id}"`, THAW_MS);
  });
}

/** The texts are runc's: engines look for them. */
function checkPausable({ status }: LockedContainer): void {
  if (status === "created" || status === "running") return;
  throw new TsrunError("container not running", {
    code: status === "stopped" ? "ESRCH" : "EINVAL",
    hint: `it is ${status}`,
  });
}

/** One that a killed `tsrun pause` left half frozen does not show as paused, and can be resumed all the same. */
function checkResumable({ state, status }: LockedContainer): void {
  const isAsked = () => freezerOf(state.cgroup_paths)?.isAsked() ?? false;
  if (status === "paused" || ((status === "created" || status === "running") && isAsked())) return;
  throw new TsrunError("container not paused", { code: "EINVAL", hint: `it is ${status}` });
}

function mustHaveFreezer({ id, cgroup_paths }: ContainerState, action: string): Freezer {
  const freezer = freezerOf(cgroup_paths);
  if (freezer !== undefined) return freezer;
  throw new TsrunError(`cannot ${action} container "${id}": it has no cgroup that can be frozen`, {
    code: "ENOTSUP",
    hint: "a container without a cgroup of its own, as --cgroup-manager disabled makes it, cannot be paused",
  });
}
