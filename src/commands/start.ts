import type { Command } from "../cli/options.ts";
import { startContainer } from "../container/start.ts";
import { stateRoot } from "../state/root.ts";

export const startCommand: Command<"start"> = ({ args, globals, warn }) => {
  startContainer(stateRoot(globals.root), args[0]!, warn);
  return 0;
};
