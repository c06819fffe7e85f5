import { expect, test } from "bun:test";
import type { Hook } from "../spec/types.ts";
import { planHook } from "./hooks.ts";
import { type Data, program, slotTable } from "./step.ts";
import { printProgram } from "./test-printer.ts";

function planned(hook: Hook) {
  const steps = program("p");
  const result = planHook(steps, slotTable(), hook, '{"id":"c"}', "/hooks/createContainer/0");
  return { ...steps, result, lines: printProgram(steps) };
}

test("a child that shares memory until execve, fed and heard through memfds", () => {
  const { lines } = planned({ path: "/h", args: ["h", "-x"], env: ["A=1"], timeout: 5 });
  expect(lines).toEqual([
    '$hook\'s stdin = memfd_create("state", 9) ? EINVAL ok→2',
    '$hook\'s stdin = memfd_create("state", 1)',
    '$hook\'s output = memfd_create("output", 9) ? EINVAL ok→4',
    '$hook\'s output = memfd_create("output", 1)',
    'write($hook\'s stdin, "{\\"id\\":\\"c\\"}", 0xa)',
    "$execve of the hook = lseek($hook's stdin, 0, 0)",
    "$hook = clone3({0x5100, {0x100000000}, 0, 0, 0x11, 0, 0, 0, 0, 0, 0}, 0x58) +→14",
    "setpgid(0, 0)",
    "dup3($hook's stdin, 0, 0)",
    "dup3($hook's output, 1, 0)",
    "dup3($hook's output, 2, 0)",
    "close_range(3, 0xffffffff, 4)",
    expect.stringMatching(/^\$execve of the hook = execve\("\/h", \["h","-x"\], \["A=1"\]\) \? ENOENT EACCES /),
    "exit_group(0x7f)",
    "$poll of the hook = ppoll({0x100000000}, 1, {5, 0}, 0, 8) +→16",
    "kill($hook, 9) ? ESRCH",
    "wait4($hook, &$status of the hook, 0, 0)",
    "close($hook's stdin)",
  ]);
});

test("the pidfd that clone3 stores is the one that ppoll waits for", () => {
  const { steps } = planned({ path: "/h" });
  const clone = steps.find(({ call }) => call === "clone3")!.args[0] as Data & { kind: "words" };
  expect(clone.words[1]).toBe(steps.find(({ call }) => call === "ppoll")!.args[0] as Data);
});

test("no timeout: waits for ever, and again when a signal came", () => {
  const { steps } = planned({ path: "/h" });
  const poll = steps.find(({ call }) => call === "ppoll")!;
  expect(poll.args[2]).toBe(0);
  expect(poll.retry).toBe(true);
  expect(steps.find(({ call }) => call === "wait4")!.retry).toBe(true);
});

test("without args the path is the name; without env there is none", () => {
  const { lines } = planned({ path: "/h" });
  expect(lines.some((line) => line.includes('execve("/h", ["/h"], [])'))).toBe(true);
});

test("each step names the hook", () => {
  const { steps } = planned({ path: "/h", timeout: 1 });
  for (const { what, pointer } of steps.filter(({ call }) => !["kill", "exit_group"].includes(call))) {
    expect(what).toBe('run the hook "/h"');
    expect(pointer).toStartWith("/hooks/createContainer/0");
  }
});
