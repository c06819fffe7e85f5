import { expect, test } from "bun:test";
import { annotatedProperties } from "./systemd-annotations.ts";

/** The one property that an annotation becomes. */
function one(name: string, text: string) {
  const properties = annotatedProperties({ [`org.systemd.property.${name}`]: text });
  expect(properties).toHaveLength(1);
  return properties[0]!;
}

test("an annotation becomes a property of its type", () => {
  expect(one("CollectMode", "'inactive-or-failed'")).toEqual({
    name: "CollectMode",
    signature: "s",
    value: "inactive-or-failed",
  });
  expect(one("TimeoutStopUSec", "uint64 5")).toEqual({ name: "TimeoutStopUSec", signature: "t", value: 5n });
  expect(one("SendSIGHUP", "true")).toEqual({ name: "SendSIGHUP", signature: "b", value: true });
  expect(one("After", "['a.service']")).toEqual({ name: "After", signature: "as", value: ["a.service"] });
});

test("others are not systemd's", () => {
  expect(annotatedProperties({ "org.systemd.prop.X": "1", other: "x", "org.systemd.property": "y" })).toEqual([]);
  expect(annotatedProperties(undefined)).toEqual([]);
});

test("seconds become microseconds", () => {
  for (const [text, value] of [
    ["10", 10_000_000n],
    ["uint64 3", 3_000_000n],
    ["1.5", 1_500_000n],
    ["0", 0n],
  ] as const) {
    expect(one("TimeoutStopSec", text)).toEqual({ name: "TimeoutStopUSec", signature: "t", value });
  }
  expect(one("RuntimeMaxSec", "inf").value).toBe(2n ** 64n - 1n);
  expect(one("TimeoutStopUSec", "uint64 1").value).toBe(1n);
  expect(one("FooUSec", "uint64 1").name).toBe("FooUSec");
  for (const text of ["-1", "'10'", "true", "double nan", "int64 9223372036854775807"]) {
    expect(() => one("TimeoutStopSec", text)).toThrow("as a number of seconds");
  }
});

test("names and values are checked, and the annotation is named", () => {
  expect(() => one("ab", "1")).toThrow('at least 3 letters (annotations["org.systemd.property.ab"])');
  expect(() => one("", "1")).toThrow("at least 3 letters");
  expect(() => one("Foo1", "1")).toThrow("letters only");
  expect(() => one("Foo Bar", "1")).toThrow("letters only");
  expect(() => one("__proto__", "1")).toThrow("letters only");
  expect(() => one("CollectMode", "inactive")).toThrow(
    'cannot read "inactive" as a value: "inactive" is no value: text has to be in quotes (annotations["org.systemd.property.CollectMode"])',
  );
});

test("what the container's place depends on cannot be taken over", () => {
  expect(() => one("PIDs", "[uint32 1]")).toThrow("tsrun's own");
  expect(() => one("Slice", "'x.slice'")).toThrow("tsrun's own");
});
