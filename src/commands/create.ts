import type { Command } from "../cli/options.ts";
import { withPidFile } from "../container/caller.ts";
import { createContainer, holdContainer } from "../container/create.ts";
import { createRequest } from "../container/request.ts";
import { checkTerminal } from "./check-terminal.ts";

export const createCommand: Command<"create"> = ({ args, options, globals, warn, explain }) => {
  const request = createRequest(args[0]!, options, globals, warn);
  checkTerminal(request.config.process?.terminal === true, options.consoleSocket);
  const container = createContainer({ ...request, explain, waitsForStart: true });
  try {
    withPidFile(options.pidFile, container.state.init_process_pid, () => holdContainer(container));
  } catch (error) {
    container.undo();
    throw error;
  }
  return 0;
};
