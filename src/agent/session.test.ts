import { expect, test } from "bun:test";
import { AT_FDCWD } from "../abi/fcntl.ts";
import { sys } from "../kernel/kernel.ts";
import { reap } from "../kernel/processes.ts";
import { add, program, slotTable } from "../plan/step.ts";
import { runInAgent, spawnAgent } from "./session.ts";

test.each([
  ["SIGSEGV", 11],
  ["SIGKILL", 9],
])("an agent that %s ends says so", (name, number) => {
  const agent = spawnAgent(AT_FDCWD);
  const deadly = program("deadly");
  add(deadly, { call: "kill", args: [agent.pid, number], what: "kill itself" });
  try {
    expect(() => runInAgent(agent, [deadly], slotTable())).toThrow(
      `the container's first process ended before it could run the program, killed by ${name}`,
    );
  } finally {
    sys("close", agent.socket);
    reap(agent.pid);
  }
});
