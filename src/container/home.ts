import { type Agent, encodeRead, performRead, readInAgent } from "../agent/session.ts";
import { hasHome, processEnvironment } from "../plan/command.ts";
import { homeOf, type Passwd } from "../plan/passwd.ts";
import { READ_LIMIT } from "../plan/read.ts";
import type { SlotTable } from "../plan/step.ts";
import type { Process } from "../spec/types.ts";
import { textOf } from "../text.ts";

/**
 * The environment of a process whose HOME may have to be looked up in its own /etc/passwd: a function to call when the
 * process has become the user. What asks for the file is encoded now, while the process does that. `extra`: variables
 * besides the config's.
 */
export function prepareEnvironment(
  process: Process,
  extra: readonly string[],
  { passwd, slots }: { readonly passwd?: Passwd | undefined; readonly slots: SlotTable },
  agent: Agent,
): () => string[] {
  const knowsHome = passwd === undefined || hasHome([...(process.env ?? []), ...extra]);
  const first = knowsHome ? undefined : encodeRead(agent, slots, passwd.descriptor, 0);
  const home = () => {
    if (first === undefined || passwd?.isFile() !== true) return "/";
    return homeOf(process.user?.uid ?? 0, readOn(performRead(first), agent, slots, passwd));
  };
  return () => processEnvironment(process, extra, home);
}

/** As much as anybody has; `first` is what was read so far. */
function readOn(first: Uint8Array, agent: Agent, slots: SlotTable, { descriptor }: Passwd): string {
  const MAX_SIZE = 1 << 20;
  const parts = [first];
  for (let size = first.length; parts.at(-1)!.length === READ_LIMIT && size < MAX_SIZE; size += parts.at(-1)!.length) {
    parts.push(readInAgent(agent, slots, descriptor, size));
  }
  return parts.map(textOf).join("");
}
