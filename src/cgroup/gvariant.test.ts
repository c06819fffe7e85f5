import { describe, expect, test } from "bun:test";
import { parseVariant } from "./gvariant.ts";
import { propertyText } from "./unit-property.ts";

const good: [text: string, signature: string, value: unknown][] = [
  ["true", "b", true],
  [" false ", "b", false],
  ["5", "i", 5],
  ["-0x10", "i", -16],
  ["017", "i", 15],
  ["0", "i", 0],
  ["uint64 18446744073709551615", "t", 2n ** 64n - 1n],
  ["int64 -5", "x", -5n],
  ["uint32 7", "u", 7],
  ["byte 0xff", "y", 255],
  ["@t 5", "t", 5n],
  ["@ay [1, 2]", "ay", [1, 2]],
  ["1.5", "d", 1.5],
  ["double 2", "d", 2],
  ["inf", "d", Number.POSITIVE_INFINITY],
  ["'inactive-or-failed'", "s", "inactive-or-failed"],
  ['"a\\tb\\\\\\"\\u00e4"', "s", 'a\tb\\"ä'],
  ["objectpath '/a'", "o", "/a"],
  ["['a', 'b']", "as", ["a", "b"]],
  ["[1, uint32 2, 3]", "au", [1, 2, 3]],
  ["[1, 2.5]", "ad", [1, 2.5]],
  ["@as []", "as", []],
  [
    "[('/dev/null', 'rwm'), ('/dev/zero', 'r')]",
    "a(ss)",
    [
      ["/dev/null", "rwm"],
      ["/dev/zero", "r"],
    ],
  ],
  ["@a(st) [('/dev/sda', 100)]", "a(st)", [["/dev/sda", 100n]]],
  ["(1,)", "(i)", [1]],
  ["(true, ['x'])", "(bas)", [true, ["x"]]],
  ["b'a\\101\\n'", "ay", [97, 65, 10, 0]],
];

describe("parseVariant", () => {
  for (const [text, signature, value] of good) {
    test(`reads ${text}`, () => expect(parseVariant(text)).toEqual({ signature, value } as never));
  }

  const bad: [text: string, fault: string | RegExp][] = [
    ["", "a value is missing"],
    ["hello", "text has to be in quotes"],
    ["'open", "no closing '"],
    ["'open\\", "backslash"],
    ["5 6", "follows the value"],
    ["True", "no value"],
    ["uint64", "a value is missing"],
    ["uint64 -1", "beyond 0 to"],
    ["uint64 18446744073709551616", "beyond 0 to"],
    ["3000000000", "beyond"],
    ["byte 256", "beyond 0 to 255"],
    ["uint64 'x'", "where type t is wanted"],
    ["uint32 1.5", "where type u is wanted"],
    ["uint32 int32 1", "found i where type u is wanted"],
    ["[]", "does not tell its type"],
    ["([],)", "does not tell its type"],
    ["[1, 'a']", "where type s is wanted"],
    ["[1 2]", '"," is missing'],
    ["[1", '"," is missing before the end'],
    ["@(st) ('a',)", "another number of members"],
    ["@as 'x'", "where type as is wanted"],
    ["@z 1", "no type of a property"],
    ["@a{sv} {}", "no type of a property"],
    ["()", "a struct has members"],
    ["{'a': 1}", "no value"],
    ["<5>", "no value"],
    ["'\\u00'", "is no character"],
    ["1e", "no value"],
    ["[".repeat(100_000), "nested too deeply"],
    ["uint64 ".repeat(100_000), "nested too deeply"],
    [`@${"(".repeat(100_000)}`, "no type of a property"],
  ];
  for (const [text, fault] of bad) {
    test(`refuses ${text.slice(0, 30)}`, () => {
      const result = parseVariant(text);
      expect(typeof result).toBe("string");
      expect(result as string).toMatch(
        typeof fault === "string" ? new RegExp(fault.replace(/[()\\]/g, "\\$&")) : fault,
      );
    });
  }
});

test("what propertyText writes parseVariant reads", () => {
  for (const [, signature, value] of good) {
    if (signature === "d") continue;
    const written = propertyText({ name: "X", signature, value: value as never });
    expect(parseVariant(written.slice(2))).toEqual({ signature, value } as never);
  }
});
