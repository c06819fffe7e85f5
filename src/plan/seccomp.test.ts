import { expect, test } from "bun:test";
import type { Filter } from "../seccomp/filter.ts";
import type { Process } from "../spec/types.ts";
import { planExecve } from "./command.ts";
import { planIdentity } from "./process.ts";
import { planFilter, planLastCapabilities, planSendListener } from "./seccomp.ts";
import { program, slot, slotTable } from "./step.ts";
import { printProgram, testFacts } from "./test-printer.ts";

const filter: Filter = { program: new Uint8Array(16), flags: 4, notifies: false, isMute: false };

test("a filter without a listener is one step", () => {
  const planned = program("p");
  expect(planFilter(planned, slotTable(), filter)).toBeUndefined();
  expect(planned.steps.map(({ call, args }) => [call, args[0], args[1]])).toEqual([["seccomp", 1, 4]]);
  expect(planned.steps[0]?.pointer).toBe("/linux/seccomp");
});

const NEW_LISTENER = 8;
const WAIT_KILLABLE_RECV = 0x20;

test("killable waits are left out where nobody is waited for: the kernel would refuse them", () => {
  const planned = program("p");
  planFilter(planned, slotTable(), { ...filter, flags: WAIT_KILLABLE_RECV | 2 });
  expect(planned.steps.map(({ args }) => args[1])).toEqual([2]);
});

test("a process sends its listener in one step, without copies", () => {
  const planned = program("p");
  planSendListener(planned, 9);
  const said = 'sendmsg(socket, {0, 0, {"seccomp", 7}, 1, {0x14, 0x100000001, 9}, 0x18, 0}, 0x4000)';
  expect(printProgram(planned)).toEqual([said]);
});

test("a listener: killable waits where the kernel has them, or else without", () => {
  const planned = program("p");
  const listener = planFilter(planned, slotTable(), { ...filter, notifies: true });
  const [first, second] = planned.steps;
  expect(first?.args[1]).toBe(4 | NEW_LISTENER | WAIT_KILLABLE_RECV);
  expect(first?.tolerate).toEqual(["EINVAL"]);
  expect(first?.onPositive?.at).toBe(2);
  expect(second?.args[1]).toBe(4 | NEW_LISTENER);
  expect([first?.into, second?.into]).toEqual([listener, listener]);
});

test("killable waits that the config asks for are not done without", () => {
  const planned = program("p");
  planFilter(planned, slotTable(), { ...filter, flags: WAIT_KILLABLE_RECV, notifies: true });
  expect(planned.steps.map(({ args, tolerate }) => [args[1], tolerate])).toEqual([
    [NEW_LISTENER | WAIT_KILLABLE_RECV, undefined],
  ]);
});

const SYS_ADMIN = 1n << 21n;
const KILL = 1n << 5n;

function identity(process: Partial<Process>, isFiltered: boolean) {
  const slots = slotTable();
  const identity = program("identity");
  const last = planIdentity({
    process: { args: ["/bin/true"], cwd: "/", ...process },
    pointer: "/process",
    personality: undefined,
    inUserNamespace: false,
    facts: testFacts(),
    slots,
    attach: program("attach"),
    identity,
    pid: slot(slots, "pid"),
    rootfs: slot(slots, "rootfs"),
    makesWorkingDirectory: false,
    stdio: [],
    warnings: [],
    isFiltered,
  });
  return { last, capset: printProgram(identity).find((line) => line.startsWith("capset(")) ?? "" };
}

const capabilities = { bounding: ["CAP_KILL"], effective: ["CAP_KILL"], permitted: ["CAP_KILL"] };
const plain = () => identity({ capabilities }, false).capset;

test("CAP_SYS_ADMIN is kept for the filter, and given up after it", () => {
  const { last, capset } = identity({ capabilities }, true);
  expect(last).toEqual({ effective: KILL, permitted: KILL, inheritable: 0n });
  expect(capset).not.toBe(plain());
  const planned = program("p");
  planLastCapabilities(planned, last!, "/process");
  expect(printProgram(planned)).toEqual([plain()]);
});

test("it is not kept with no_new_privs, nor without a filter, nor apart from what the process has anyway", () => {
  expect(identity({ capabilities, noNewPrivileges: true }, true)).toEqual({ last: undefined, capset: plain() });
  expect(identity({ capabilities }, false).last).toBeUndefined();
  const admin = ["CAP_SYS_ADMIN"];
  const own = { bounding: admin, effective: admin, permitted: admin };
  expect(identity({ capabilities: own }, true)).toEqual(identity({ capabilities: own }, false));
  expect(identity({ capabilities: { bounding: admin, permitted: admin } }, true).last).toEqual({
    effective: 0n,
    permitted: SYS_ADMIN,
    inheritable: 0n,
  });
});

test("a mute process ends where execve fails, and by SIGSEGV where even that is denied", () => {
  const planned = program("p");
  planExecve(planned, { args: ["sh"], cwd: "/", env: ["PATH=/a:/b"] }, [], "/process", true);
  expect(planned.steps.map(({ call }) => call)).toEqual(["execve", "execve", "exit_group"]);
  expect(planned.steps.slice(0, 2).every(({ tolerate }) => tolerate?.includes("ENOEXEC"))).toBeTrue();
  const AGENT_MEMORY_END = 0x1000000;
  expect(8 * planned.steps[2]!.into!.index).toBeGreaterThan(AGENT_MEMORY_END);
});
