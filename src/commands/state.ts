import type { Command } from "../cli/options.ts";
import { print } from "../cli/output.ts";
import { loadContainer } from "../container/load.ts";
import { containerView, userName } from "../container/state-document.ts";
import { readText } from "../kernel/files.ts";
import { stateRoot } from "../state/root.ts";

/** Engines parse standard output and standard error together: only the JSON is printed. */
export const stateCommand: Command<"state"> = ({ args, globals }) => {
  const { state, status } = loadContainer(stateRoot(globals.root), args[0]!);
  const view = containerView(state, status, ownerOf(state.owner));
  print(`${JSON.stringify(view, undefined, 2)}\n`);
  return 0;
};

export function ownerOf(uid: number): string {
  if (uid === 0) return "root";
  const passwd = readText("/etc/passwd");
  return userName(typeof passwd === "string" ? passwd : "", uid);
}
