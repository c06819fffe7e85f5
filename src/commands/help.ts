import type { Command } from "../cli/options.ts";
import { print } from "../cli/output.ts";
import { helpText, mustBeCommand } from "../cli/yargs.ts";

export const helpCommand: Command<"help"> = ({ args: [word] }) => {
  print(helpText(word === undefined ? undefined : mustBeCommand(word)));
  return 0;
};
