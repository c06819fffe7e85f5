import type { Command } from "../cli/options.ts";
import { print } from "../cli/output.ts";
import { loadContainer } from "../container/load.ts";
import { processTable } from "../container/process-table.ts";
import { containerProcesses } from "../container/processes.ts";
import { TsrunError } from "../errors.ts";
import { environment, variable } from "../kernel/warm-start.ts";
import { stateRoot } from "../state/root.ts";
import { textOf } from "../text.ts";

export const psCommand: Command<"ps"> = ({ args, options, globals }) => {
  const [id = "", ...psOptions] = args;
  const pids = containerProcesses(loadContainer(stateRoot(globals.root), id).state);
  // As Go prints an empty list.
  if (options.format === "json") print(`${pids.length === 0 ? "null" : JSON.stringify(pids)}\n`);
  else print(processTable(runPs(psOptions.length === 0 ? ["-ef"] : psOptions), pids));
  return 0;
};

/** What ps(1) prints. */
function runPs(options: readonly string[]): string {
  const program = Bun.which("ps", { PATH: variable("PATH") ?? "" });
  if (program === null) {
    throw new TsrunError(`cannot list processes: exec: "ps": executable file not found in $PATH`, {
      code: "ENOENT",
      hint: "install ps(1), in Debian the package procps, or use --format json",
    });
  }
  const { exitCode, stdout, stderr } = Bun.spawnSync([program, ...options], {
    env: ownEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (exitCode === 0) return textOf(stdout);
  // What comes behind its first line is its usage, which is not tsrun's.
  const [said] = `${textOf(stdout)}${textOf(stderr)}`.trim().split("\n");
  throw new TsrunError(`cannot list processes: ps ended with exit status ${exitCode}: ${said}`, { code: "EINVAL" });
}

/** Without what the program file adds for the engine in it. */
function ownEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(environment()).filter(([name]) => !name.startsWith("BUN_")));
}
