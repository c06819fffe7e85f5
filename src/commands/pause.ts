import type { Command } from "../cli/options.ts";
import { pauseContainer } from "../container/pause.ts";
import { stateRoot } from "../state/root.ts";

export const pauseCommand: Command<"pause"> = ({ args, globals }) => {
  pauseContainer(stateRoot(globals.root), args[0]!);
  return 0;
};
