import { describe, expect, test } from "bun:test";
import type { Hook } from "../spec/types.ts";
import { runPoststopHooks } from "./poststop.ts";
import { checkHook, OUTPUT_TAIL, runHook, runHooks } from "./run.ts";

const shell = (script: string, more: Partial<Hook> = {}): Hook => ({
  path: "/bin/sh",
  args: ["sh", "-c", script],
  ...more,
});

/** What runHooks throws for a hook. */
function messageOf(hook: Hook): string {
  try {
    runHooks("prestart", [hook], "{}");
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}

describe("a hook", () => {
  test("gets the state on standard input, and its end", () => {
    expect(runHook(shell("cat; cat"), '{"id":"ä"}').output()).toBe('{"id":"ä"}');
  });

  test("its environment is its own", () => {
    const { output } = runHook({ path: "/usr/bin/env", args: ["env"], env: ["A=1"] }, "{}");
    expect(output()).toBe("A=1\n");
    expect(runHook({ path: "/usr/bin/env" }, "{}").output()).toBe("");
  });

  test("signals are at their defaults, none is blocked", () => {
    const { output } = runHook(shell("grep -E '^Sig(Blk|Ign)' /proc/self/status"), "{}");
    expect(output()).toMatch(/SigBlk:\t0+\nSigIgn:\t0+\n/);
  });

  test("it has no descriptor but the standard ones", () => {
    expect(runHook(shell("ls /proc/self/fd | tr '\\n' ' '"), "{}").output()).toBe("0 1 2 3 ");
  });

  test("one that writes much keeps its end", () => {
    const output = runHook(shell("head -c 300000 /dev/zero | tr '\\0' x; echo; echo over"), "{}").output();
    expect(output).toHaveLength(OUTPUT_TAIL);
    expect(output).toEndWith("x\nover\n");
  });

  test("one that leaves a process behind is not waited for longer", () => {
    const start = Bun.nanoseconds();
    expect(messageOf(shell("sleep 5 & exit 0"))).toBe("");
    expect(Bun.nanoseconds() - start).toBeLessThan(4e9);
  });
});

describe("a failure", () => {
  test("status and output", () => {
    expect(messageOf(shell("echo one; echo two >&2; exit 3"))).toBe(
      'error running prestart hook #0 "/bin/sh": exit status 3, output: one\ntwo (hooks.prestart[0])',
    );
  });

  test("a signal", () => {
    expect(messageOf(shell("kill -9 $$"))).toBe(
      'error running prestart hook #0 "/bin/sh": killed by signal 9 (hooks.prestart[0])',
    );
  });

  test("no program", () => {
    expect(messageOf({ path: "/no/such" })).toBe(
      'error running prestart hook #0 "/no/such": no such file or directory (hooks.prestart[0])',
    );
  });

  test("the timeout, in seconds", () => {
    const start = Bun.nanoseconds();
    expect(messageOf(shell("echo begun; exec sleep 9", { timeout: 1 }))).toBe(
      'error running prestart hook #0 "/bin/sh": hook ran past specified timeout of 1 s, output: begun (hooks.prestart[0])',
    );
    expect((Bun.nanoseconds() - start) / 1e9).toBeWithin(0.9, 5);
  });

  test("within its timeout a hook is left alone", () => expect(messageOf(shell("sleep 0.1", { timeout: 5 }))).toBe(""));

  test("the ones behind it do not run", () => {
    expect(() => runHooks("createRuntime", [shell("true"), shell("exit 1"), { path: "/no/such" }], "{}")).toThrow(
      "createRuntime hook #1",
    );
  });

  test("where execve failed there was no time and no status", () => {
    const end = { execve: -13, timedOut: true, status: 256, output: () => "" };
    expect(() => checkHook("startContainer", 2, { path: "/h" }, end)).toThrow(
      'error running startContainer hook #2 "/h": permission denied (hooks.startContainer[2])',
    );
  });
});

test("poststop hooks: a failure is a warning, and the next one runs", () => {
  const warnings: string[] = [];
  const hooks = { poststop: [shell("exit 1"), shell("exit 2")] };
  runPoststopHooks(hooks, "{}", (message) => warnings.push(message));
  expect(warnings).toEqual([
    'error running poststop hook #0 "/bin/sh": exit status 1 (hooks.poststop[0])',
    'error running poststop hook #1 "/bin/sh": exit status 2 (hooks.poststop[1])',
  ]);
  runPoststopHooks(undefined, "{}", (message) => warnings.push(message));
  expect(warnings).toHaveLength(2);
});
