import { expect, test } from "bun:test";
import { errorMessage, propertyOf, TsrunError } from "./errors.ts";

for (const [pointer, property] of [
  ["", ""],
  ["/process", "process"],
  ["/process/rlimits/0/type", "process.rlimits[0].type"],
  ["/mounts/12", "mounts[12]"],
  ["/linux/sysctl/net.ipv4.ip_forward", 'linux.sysctl["net.ipv4.ip_forward"]'],
  ["/linux/sysctl/net~1ipv4", 'linux.sysctl["net/ipv4"]'],
  ["/annotations/a~0b", 'annotations["a~b"]'],
  ["/annotations/~01", 'annotations["~1"]'],
  ["/annotations/", 'annotations[""]'],
  ["/annotations/_x9", "annotations._x9"],
  ["/annotations/9x", 'annotations["9x"]'],
] as const) {
  test(`"${pointer}" is ${property}`, () => expect(propertyOf(pointer)).toBe(property));
}

test("an error carries what the log shows", () => {
  const error = new TsrunError("cannot", { code: "EINVAL", exitStatus: 3 });
  expect(error).toBeInstanceOf(Error);
  expect([error.name, error.message, error.details.code, error.details.exitStatus]).toEqual([
    "TsrunError",
    "cannot",
    "EINVAL",
    3,
  ]);
  expect(new TsrunError("cannot").details).toEqual({});
});

test("whatever is thrown has a message", () => {
  expect(errorMessage(new Error("x"))).toBe("x");
  expect(errorMessage("y")).toBe("y");
  expect(errorMessage(undefined)).toBe("undefined");
});
