import { AT_FDCWD, O_CLOEXEC, O_RDONLY } from "../abi/fcntl.ts";
import { CLONE_NEWUSER } from "../abi/sched.ts";
import { runInAgent, spawnAgent } from "../agent/session.ts";
import { sys } from "../kernel/kernel.ts";
import { reap } from "../kernel/processes.ts";
import { runProgram } from "../kernel/run-program.ts";
import type { IdmapNamespace, PlanContext } from "../plan/context.ts";
import { mapText, planWriteProc } from "../plan/id-maps.ts";
import { add, program, type Slot, slot, slotTable, text } from "../plan/step.ts";

/**
 * User namespaces for idmapped mounts with mappings of their own: the kernel takes a mapping only in the form of a
 * namespace, and a namespace only comes with a process, so an agent makes one and is gone. Sets the slots.
 */
export function performIdmaps(plan: PlanContext, directory: number): void {
  for (const wanted of plan.idmapNamespaces) wanted.slot.value = makeUserNamespace(wanted, directory);
}

function makeUserNamespace(wanted: IdmapNamespace, directory: number): number {
  const agent = spawnAgent(directory);
  try {
    const slots = slotTable();
    const unshare = program("user namespace for an idmapped mount");
    const what = "create a user namespace for an idmapped mount";
    add(unshare, { call: "unshare", args: [CLONE_NEWUSER], what });
    runInAgent(agent, [unshare], slots);
    const pid: Slot = { ...slot(slots, "agent"), value: agent.pid };
    const namespace = slot(slots, "user namespace");
    const attach = program("map ids");
    planWriteProc({ slots }, attach, pid, "uid_map", mapText(wanted.uidMappings), "/mounts");
    planWriteProc({ slots }, attach, pid, "gid_map", mapText(wanted.gidMappings), "/mounts");
    const path = text("/proc/", pid, "/ns/user");
    add(attach, { call: "openat", args: [AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0], into: namespace, what });
    runProgram(attach, sys);
    return namespace.value!;
  } finally {
    sys("close", agent.socket);
    reap(agent.pid);
  }
}
