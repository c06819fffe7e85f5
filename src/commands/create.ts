import type { Command } from "../cli/options.ts";
import { createContainer, holdContainer } from "../container/create.ts";
import { createRequest, withPidFile } from "../container/request.ts";
import { TsrunError } from "../errors.ts";

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

/** Nobody would be left to hold the other end of the terminal. */
export function checkTerminal(terminal: boolean, consoleSocket: string | undefined): void {
  if (terminal && consoleSocket === undefined) {
    throw new TsrunError("cannot allocate tty if tsrun will detach without setting console socket", {
      code: "EINVAL",
      pointer: "/process/terminal",
      hint: "give --console-socket, or set process.terminal to false",
    });
  }
  if (!terminal && consoleSocket !== undefined) {
    throw new TsrunError("cannot use console socket if tsrun will not detach or allocate tty", { code: "EINVAL" });
  }
}
