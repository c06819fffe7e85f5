import { completionScript, shells } from "../cli/completion.ts";
import type { Command } from "../cli/options.ts";
import { print } from "../cli/output.ts";
import { TsrunError } from "../errors.ts";
import { suggestion } from "../spec/suggest.ts";

export const completionCommand: Command<"completion"> = ({ args: [word = ""] }) => {
  const shell = shells.find((known) => known === word);
  if (shell === undefined) {
    const near = suggestion(word, shells);
    throw new TsrunError(`cannot complete for shell ${JSON.stringify(word)}: it is not one of ${shells.join(", ")}`, {
      code: "EUSAGE",
      hint: near === undefined ? "see 'tsrun completion --help'" : `did you mean "${near}"?`,
    });
  }
  print(completionScript(shell));
  return 0;
};
