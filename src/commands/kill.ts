import type { Command } from "../cli/options.ts";
import { killContainer, notRunning } from "../container/kill.ts";
import { matchingContainers } from "../container/load.ts";
import { parseSignal } from "../container/signals.ts";
import { errorMessage } from "../errors.ts";
import { stateRoot } from "../state/root.ts";

export const killCommand: Command<"kill"> = ({ args, options, globals, warn }) => {
  const [id = "", name = "SIGTERM"] = args;
  const signal = parseSignal(name);
  const root = stateRoot(globals.root);
  if (!options.regex) killContainer(root, id, signal, options.all);
  else for (const match of matchingContainers(root, id)) killMatch(root, match, signal, options.all, warn);
  return 0;
};

/** Of many, those that have stopped are none of the caller's worries, and one failure does not spare the others. */
function killMatch(root: string, id: string, signal: number, all: boolean, warn: (message: string) => void): void {
  try {
    killContainer(root, id, signal, all);
  } catch (error) {
    if (errorMessage(error) !== notRunning().message) warn(`container "${id}": ${errorMessage(error)}`);
  }
}
