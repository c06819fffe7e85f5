import type { Command } from "../cli/options.ts";
import { deleteContainer, type Warn } from "../container/delete.ts";
import { matchingContainers } from "../container/load.ts";
import { errorMessage, TsrunError } from "../errors.ts";
import { stateRoot } from "../state/root.ts";

export const deleteCommand: Command<"delete"> = ({ args, options, globals, warn }) => {
  const root = stateRoot(globals.root);
  const id = args[0]!;
  if (options.regex) return deleteMatches(root, id, options.force, warn);
  deleteContainer(root, id, options.force, warn);
  return 0;
};

/** One failure does not spare the others. @throws TsrunError at the end, when there was one. */
function deleteMatches(root: string, pattern: string, force: boolean, warn: Warn): number {
  const ids = matchingContainers(root, pattern);
  let left = 0;
  for (const id of ids) {
    try {
      deleteContainer(root, id, force, warn);
    } catch (error) {
      warn(`container "${id}": ${errorMessage(error)}`);
      left++;
    }
  }
  if (left === 0) return 0;
  throw new TsrunError(`cannot delete ${left} of ${ids.length} containers (--regex)`, { code: "EBUSY" });
}
