import { TsrunError } from "../errors.ts";

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
