import { expect, test } from "bun:test";
import { TsrunError } from "../errors.ts";
import { explainForRoot, explainWithoutRoot, type UserNamespaceSettings } from "./try-explain.ts";

const none: UserNamespaceSettings = { most: 1000, clone: undefined, apparmor: undefined };

function explain(step: string, code: string, settings: Partial<UserNamespaceSettings>, message = "cannot do it") {
  return explainWithoutRoot(new TsrunError(message, { step, code }), { ...none, ...settings }) as TsrunError;
}

test.each([
  ["clone3", "ENOSPC", { most: 0 }, "sysctl -w user.max_user_namespaces=15000"],
  ["clone3", "ENOSPC", {}, "sysctl -w user.max_user_namespaces=2000"],
  ["clone3", "EPERM", { clone: 0 }, "sysctl -w kernel.unprivileged_userns_clone=1"],
  ["mount", "EACCES", { apparmor: 1 }, "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"],
  ["setresuid", "EPERM", { apparmor: 1 }, "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"],
  ["clone3", "EPERM", {}, "run tsrun try as root, or outside the container that this is"],
] as const)("%s %s %j", (step, code, settings, hint) => {
  const error = explain(step, code, settings);
  expect(error.details.hint).toContain(hint);
  expect(error.message).toStartWith("cannot do it: ");
});

test("an old kernel, and a /proc with parts hidden", () => {
  expect(explain("fsmount", "EPERM", {}, `cannot lay a throw-away layer over the host's "/usr"`).message).toContain(
    "Linux 5.11",
  );
  expect(explain("fsmount", "EPERM", {}, 'cannot mount "proc" on "/proc"').message).toContain("hidden");
});

test("root without the capabilities of one", () => {
  const error = explainForRoot(new TsrunError("cannot do it", { step: "clone3", code: "EPERM" })) as TsrunError;
  expect(error.message).toContain("lacks CAP_SYS_ADMIN");
  const other = new TsrunError("cannot do it", { step: "mount", code: "EPERM" });
  expect(explainForRoot(other)).toBe(other);
});

test("other errors stay as they are", () => {
  const error = new TsrunError("exec: no such file", { step: "faccessat2", code: "ENOENT" });
  expect(explainWithoutRoot(error, { ...none, apparmor: 1, most: 0, clone: 0 })).toBe(error);
  expect(explainWithoutRoot("text", none)).toBe("text");
});
