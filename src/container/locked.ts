import { close } from "../kernel/files.ts";
import { lockAtOnce, lockContainer } from "../state/lock.ts";
import type { ContainerState } from "../state/state.ts";
import { type Status, statusOf } from "../state/status.ts";
import { openContainerDirectory, readState } from "../state/store.ts";

export interface LockedContainer {
  readonly state: ContainerState;
  readonly status: Status;
  /** Of the state directory. */
  readonly directory: number;
}

/**
 * Calls `act` while no other command changes the container. `check` throws for a status that does not allow it: with the
 * lock, and before, where that has to be waited for, which may take as long as a create does.
 */
export function withLockedContainer(
  root: string,
  id: string,
  check: (found: LockedContainer) => void,
  act: (found: LockedContainer) => void,
): void {
  const directory = openContainerDirectory(root, id);
  try {
    if (!lockAtOnce(directory)) {
      check(look(directory, root, id, false));
      lockContainer(directory, id);
    }
    const found = look(directory, root, id, true);
    check(found);
    act(found);
  } finally {
    close(directory);
  }
}

function look(directory: number, root: string, id: string, locked: boolean): LockedContainer {
  const state = readState(directory, root, id);
  return { state, status: statusOf(state, directory, locked), directory };
}
