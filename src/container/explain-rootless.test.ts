import { expect, test } from "bun:test";
import { TsrunError } from "../errors.ts";
import { testFacts } from "../plan/test-printer.ts";
import type { Config } from "../spec/types.ts";
import {
  explainForRoot,
  explainPrivileges,
  explainWithoutRoot,
  type UserNamespaceSettings,
} from "./explain-rootless.ts";

const none: UserNamespaceSettings = { most: 1000, clone: undefined, apparmor: undefined };

const OWN: Config = {
  ociVersion: "1.3.0",
  linux: { namespaces: [{ type: "user" }, { type: "pid" }, { type: "network", path: "" }] },
};

function explain(step: string, code: string, settings: Partial<UserNamespaceSettings>, message = "cannot do it") {
  return explainWithoutRoot(new TsrunError(message, { step, code }), OWN, { ...none, ...settings });
}

test.each([
  ["clone3", "ENOSPC", { most: 0 }, "sysctl -w user.max_user_namespaces=15000"],
  ["clone3", "ENOSPC", {}, "sysctl -w user.max_user_namespaces=2000"],
  ["clone3", "EPERM", { clone: 0 }, "sysctl -w kernel.unprivileged_userns_clone=1"],
  ["mount", "EACCES", { apparmor: 1 }, "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"],
  ["setresuid", "EPERM", { apparmor: 1 }, "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"],
  ["clone3", "EPERM", {}, "run tsrun as root, or outside the container that this is"],
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
  const error = explainForRoot(new TsrunError("cannot do it", { step: "clone3", code: "EPERM" }));
  expect(error.message).toContain("lacks CAP_SYS_ADMIN");
  const other = new TsrunError("cannot do it", { step: "mount", code: "EPERM" });
  expect(explainForRoot(other)).toBe(other);
});

test("other errors stay as they are", () => {
  const error = new TsrunError("exec: no such file", { step: "faccessat2", code: "ENOENT" });
  expect(explainWithoutRoot(error, OWN, { ...none, apparmor: 1, most: 0, clone: 0 })).toBe(error);
  const inCgroup = new TsrunError("cannot enter the cgroup", { step: "clone3", code: "EACCES" });
  expect(explainWithoutRoot(inCgroup, OWN, none)).toBe(inCgroup);
  expect(explainPrivileges("text", OWN, testFacts({ euid: 1000 }))).toBe("text");
});

test.each([
  ["proc", "pid"],
  ["sysfs", "network"],
  ["mqueue", "ipc"],
])("%s of a %s namespace that is not the container's", (type, namespace) => {
  const error = new TsrunError(`cannot mount "${type}" on "/x": operation not permitted`, {
    step: "fsmount",
    code: "EPERM",
  });
  for (const namespaces of [[], [{ type: namespace, path: "/proc/1/ns/x" }]] as Config["linux"][]) {
    const told = explainWithoutRoot(error, { ...OWN, linux: { namespaces } as Config["linux"] }, none);
    expect(told.message).toContain(`${type} shows the ${namespace} namespace, which is not the container's own`);
    expect(told.details.hint).toContain(`{"type": "${namespace}"}`);
  }
});

test("an id that the user namespace around tsrun does not have", () => {
  const error = new TsrunError("cannot map", { step: "write", code: "EPERM", pointer: "/linux/gidMappings" });
  const told = explainPrivileges(error, OWN, testFacts({ inUserNamespace: true })) as TsrunError;
  expect(told.message).toContain("not every group id is there in the user namespace that tsrun is in");
  expect(told.details.hint).toContain("/proc/self/gid_map");
});
