import { nativeArch } from "../abi/syscalls.ts";
import { type Agent, finish, readInAgent, send } from "../agent/session.ts";
import { homeOf, passwdSlot, planLookAtPasswd } from "../plan/passwd.ts";
import type { Program, SlotTable } from "../plan/step.ts";
import { textOf } from "../text.ts";

/** As much of /etc/passwd as anybody has; read where the container sees it. */
export function readHome(
  plan: { readonly identity: Program; readonly slots: SlotTable },
  agent: Agent,
  uid: number,
): string {
  const passwd = passwdSlot(plan.identity);
  if (passwd?.value === undefined || passwd.value < 0) return "/";
  const { looking, isFile } = planLookAtPasswd(plan.slots, passwd, nativeArch);
  finish(send(agent, [looking], plan.slots));
  if (!isFile()) return "/";
  const MAX_SIZE = 1 << 20;
  const parts: Uint8Array[] = [];
  for (let size = 0; size < MAX_SIZE; ) {
    const part = readInAgent(agent, plan.slots, passwd, size);
    parts.push(part);
    size += part.length;
    if (part.length < 4096) break;
  }
  return homeOf(uid, parts.map(textOf).join(""));
}
