import { describe, expect, test } from "bun:test";
import type { Process } from "../spec/types.ts";
import { planExecve } from "./command.ts";
import { labelsOf, planExecLabels, planKeyringWithLabel } from "./labels.ts";
import { planPrivateProc } from "./private-proc.ts";
import { program, type Step, slotTable } from "./step.ts";
import { stepError } from "./step-error.ts";
import { printProgram } from "./test-printer.ts";

const BARE: Process = { args: ["/bin/true"], cwd: "/" };
const EINVAL = 22;
const ENOENT = 2;
const EACCES = 13;
const EPERM = 1;

function planned(labels: Pick<Process, "apparmorProfile" | "selinuxLabel">, options = {}) {
  const slots = slotTable();
  const identity = program("identity");
  const procfs = planPrivateProc(program("build"), slots);
  planExecLabels(identity, slots, procfs, labelsOf({ ...BARE, ...labels }, "/process", options)!);
  return { lines: printProgram(identity), steps: identity.steps };
}

const writes = (steps: readonly Step[]): Step[] => steps.filter(({ call }) => call === "write");

describe("labels of a process", () => {
  test("none, or empty ones", () => {
    expect(labelsOf(undefined, "/process")).toBeUndefined();
    expect(labelsOf(BARE, "/process")).toBeUndefined();
    expect(labelsOf({ ...BARE, apparmorProfile: "", selinuxLabel: "" }, "/process")).toBeUndefined();
  });

  test("know where they were asked for", () => {
    const process = { ...BARE, apparmorProfile: "unconfined", selinuxLabel: "u:r:t" };
    expect(labelsOf(process, "", { selinuxLabel: "--process-label" })).toEqual({
      apparmor: { value: "unconfined", pointer: "/apparmorProfile", from: "apparmorProfile" },
      selinux: { value: "u:r:t", pointer: "", from: "--process-label" },
    });
  });
});

describe("AppArmor", () => {
  test("attr/apparmor/exec of the task itself, attr/exec where there is no other; below the private procfs, over no mount", () => {
    expect(planned({ apparmorProfile: "my profile" }).lines).toEqual([
      '$attr/apparmor/exec = openat2($private procfs, "thread-self/attr/apparmor/exec", {0x80001, 0, 0xb}, 0x18) ? ENOENT →1 ok→2',
      '$attr/apparmor/exec = openat2($private procfs, "thread-self/attr/exec", {0x80001, 0, 0xb}, 0x18)',
      'write($attr/apparmor/exec, "exec my profile", 0xf)',
      "close($attr/apparmor/exec)",
    ]);
  });

  test("what is not loaded is named, with what helps", () => {
    const [write] = writes(planned({ apparmorProfile: "mine" }).steps);
    const error = stepError(write!, ENOENT);
    expect(error.message).toBe(
      'cannot apply the AppArmor profile "mine": no profile of this name is loaded (process.apparmorProfile)',
    );
    expect(error.details.hint).toContain("apparmor_parser");
    expect(error.details.pointer).toBe("/process/apparmorProfile");
  });

  test("other refusals", () => {
    const [write] = writes(planned({ apparmorProfile: "p" }, { apparmorProfile: "--apparmor" }).steps);
    expect(stepError(write!, EINVAL).message).toContain("AppArmor is not enabled");
    expect(stepError(write!, EACCES).message).toContain("tsrun is confined");
    expect(stepError(write!, EPERM).message).toBe(
      'cannot apply the AppArmor profile "p": operation not permitted (--apparmor)',
    );
  });
});

describe("SELinux", () => {
  test("attr/exec of the task itself, behind AppArmor's", () => {
    const { lines } = planned({ apparmorProfile: "p", selinuxLabel: "u:r:t:s0:c1,c2" });
    expect(lines.slice(-3)).toEqual([
      '$attr/exec = openat2($private procfs, "thread-self/attr/exec", {0x80001, 0, 0xb}, 0x18)',
      'write($attr/exec, "u:r:t:s0:c1,c2", 0xe)',
      "close($attr/exec)",
    ]);
  });

  test("a label that the policy does not know; podman looks for the path in backticks", () => {
    const [write] = writes(planned({ selinuxLabel: "nonsense" }).steps);
    expect(stepError(write!, EINVAL).message).toBe(
      'cannot set the SELinux label "nonsense": write `/proc/thread-self/attr/exec`: invalid argument: the policy does not know the label (process.selinuxLabel)',
    );
  });

  test("the session keyring is the process's too, and what is made after it is not", () => {
    const slots = slotTable();
    const build = program("build");
    const procfs = planPrivateProc(program("other"), slots);
    const join = () => void build.steps.push({ call: "keyctl", args: [1], what: "join" });
    planKeyringWithLabel(build, slots, procfs, labelsOf({ ...BARE, selinuxLabel: "u:r:t" }, "/process"), join);
    expect(printProgram(build)).toEqual([
      '$attr/keycreate = openat2($private procfs, "thread-self/attr/keycreate", {0x80001, 0, 0xb}, 0x18)',
      'write($attr/keycreate, "u:r:t", 5)',
      "keyctl(1)",
      'write($attr/keycreate, "\n", 1)'.replace("\n", "\\n"),
      "close($attr/keycreate)",
    ]);
  });

  test("without an SELinux label the keyring is joined as ever", () => {
    const build = program("build");
    const join = () => void build.steps.push({ call: "keyctl", args: [1], what: "join" });
    planKeyringWithLabel(build, slotTable(), undefined, undefined, join);
    planKeyringWithLabel(build, slotTable(), undefined, labelsOf({ ...BARE, apparmorProfile: "p" }, ""), join);
    expect(printProgram(build)).toEqual(["keyctl(1)", "keyctl(1)"]);
  });
});

describe("when execve is refused", () => {
  const refusal = (process: Process, errno: number): string => {
    const exec = program("exec");
    planExecve(exec, process, [], "/process");
    return stepError(exec.steps.at(-1)!, errno).message;
  };

  test("the label may be why, in words that engines still know", () => {
    const labelled = { ...BARE, apparmorProfile: "p", selinuxLabel: "l" };
    const words = 'the AppArmor profile "p" or the SELinux label "l" may forbid it';
    expect(refusal(labelled, EACCES)).toBe(`exec /bin/true: permission denied: ${words}`);
    expect(refusal(labelled, EPERM)).toBe(`exec /bin/true: operation not permitted: ${words}`);
    expect(refusal({ ...BARE, args: ["true"], apparmorProfile: "p" }, EACCES)).toBe(
      'exec: "true": permission denied: the AppArmor profile "p" may forbid it',
    );
  });

  test("it has nothing to do with other errors, nor with processes without one", () => {
    expect(refusal({ ...BARE, apparmorProfile: "p" }, ENOENT)).toBe("exec /bin/true: no such file or directory");
    expect(refusal(BARE, EACCES)).toBe("exec /bin/true: permission denied");
  });
});
