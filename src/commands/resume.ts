import type { Command } from "../cli/options.ts";
import { resumeContainer } from "../container/pause.ts";
import { stateRoot } from "../state/root.ts";

export const resumeCommand: Command<"resume"> = ({ args, globals }) => {
  resumeContainer(stateRoot(globals.root), args[0]!);
  return 0;
};
