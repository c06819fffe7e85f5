import type { Command } from "../cli/options.ts";
import { deleteContainer, type Warn } from "../container/delete.ts";
import { matchingContainers } from "../container/load.ts";
import { errorMessage } from "../errors.ts";
import { stateRoot } from "../state/root.ts";

export const deleteCommand: Command<"delete"> = ({ args, options, globals, warn }) => {
  const root = stateRoot(globals.root);
  const id = args[0]!;
  if (options.regex) return deleteMatches(root, id, options.force, warn);
  deleteContainer(root, id, options.force, warn);
  return 0;
};

/** One failure does not spare the others, but shows in the exit status. */
function deleteMatches(root: string, pattern: string, force: boolean, warn: Warn): number {
  let status = 0;
  for (const id of matchingContainers(root, pattern)) {
    try {
      deleteContainer(root, id, force, warn);
    } catch (error) {
      warn(`container "${id}": ${errorMessage(error)}`);
      status = 1;
    }
  }
  return status;
}
