import { TsrunError } from "../errors.ts";
import { close } from "../kernel/files.ts";
import type { ContainerState } from "../state/state.ts";
import { type Status, statusOf } from "../state/status.ts";
import { listContainers, openContainerDirectory, readState } from "../state/store.ts";

export interface Loaded {
  readonly state: ContainerState;
  readonly status: Status;
}

/** State and status of a container, without its lock: what is seen may be old as soon as it is seen. */
export function loadContainer(root: string, id: string): Loaded {
  const directory = openContainerDirectory(root, id);
  try {
    const state = readState(directory, root, id);
    return { state, status: statusOf(state, directory) };
  } finally {
    close(directory);
  }
}

/** The ids that a regular expression matches anywhere, as crun's --regex does. */
export function matchingContainers(root: string, pattern: string): string[] {
  let expression: RegExp;
  try {
    expression = new RegExp(pattern, "u");
  } catch {
    throw new TsrunError(`cannot read ${JSON.stringify(pattern)} as a regular expression`, { code: "EINVAL" });
  }
  return listContainers(root).filter((id) => expression.test(id));
}
