import { expect, test } from "bun:test";
import { defaultRoot, stateRoot } from "./root.ts";

const root = { euid: 0, inUserNamespace: () => false, runtimeDirectory: "/run/user/0", user: () => "alice" };

test("root uses /run/tsrun whatever the environment says", () => {
  expect(defaultRoot(root)).toBe("/run/tsrun");
});

test("others use their runtime directory where they have one", () => {
  expect(defaultRoot({ ...root, euid: 1000 })).toBe("/run/user/0/tsrun");
  expect(defaultRoot({ ...root, euid: 1000, runtimeDirectory: undefined })).toBe("/run/tsrun");
  expect(defaultRoot({ ...root, euid: 1000, runtimeDirectory: "" })).toBe("/run/tsrun");
});

test("root of a user namespace is another user unless $USER says root", () => {
  const inside = { ...root, inUserNamespace: () => true };
  expect(defaultRoot(inside)).toBe("/run/user/0/tsrun");
  expect(defaultRoot({ ...inside, user: () => "root" })).toBe("/run/tsrun");
  expect(defaultRoot({ ...inside, user: () => undefined })).toBe("/run/user/0/tsrun");
});

test("every way to write / is refused", () => {
  for (const path of ["/", "//", "/a/..", "/./../"]) {
    expect(() => stateRoot(path)).toThrow("Option --root argument should not be set to /");
  }
});

test("a relative root is made absolute", () => {
  expect(stateRoot("here")).toBe(`${process.cwd()}/here`);
  expect(stateRoot("/there")).toBe("/there");
});
