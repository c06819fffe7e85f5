import { expect, test } from "bun:test";
import { CAUSE, type Step } from "./step.ts";
import { stepError } from "./step-error.ts";

const EINVAL = 22;
const ENOENT = 2;

const step = (changes: Partial<Step> = {}): Step => ({ call: "mount", args: [], what: 'mount "proc"', ...changes });

const message = (changes: Partial<Step>, errno = EINVAL, explanation = "") =>
  stepError(step(changes), errno, explanation).message;

test("action, thing, cause, and where it was asked for", () => {
  expect(message({ pointer: "/mounts/0" })).toBe('cannot mount "proc": invalid argument (mounts[0])');
});

test("what every container needs was asked for nowhere", () => {
  expect(message({})).toBe('cannot mount "proc": invalid argument');
  expect(message({ pointer: "" })).toBe('cannot mount "proc": invalid argument');
});

test("the kernel's own explanation", () => {
  expect(message({}, EINVAL, "tmpfs: Unknown parameter 'x'")).toBe(
    "cannot mount \"proc\": invalid argument: tmpfs: Unknown parameter 'x'",
  );
});

test("a text of its own for one errno, for all others, or for none", () => {
  const says = { ENOENT: "not there", "*": `no: ${CAUSE}` };
  expect(message({ says, pointer: "/mounts/0" }, ENOENT)).toBe("not there");
  expect(message({ says, pointer: "/mounts/0" })).toBe("no: invalid argument");
  expect(message({ says: { ENOENT: "not there" } })).toBe('cannot mount "proc": invalid argument');
});

test("neither the text nor the explanation is a pattern", () => {
  expect(message({ says: { "*": `%s $& ${CAUSE}` } }, EINVAL, "$& $1 $$")).toBe("%s $& invalid argument: $& $1 $$");
});

test("details for the log", () => {
  expect(stepError(step({ pointer: "/mounts/0", hint: "look" }), ENOENT).details).toEqual({
    code: "ENOENT",
    step: "mount",
    pointer: "/mounts/0",
    hint: "look",
  });
});
