import { expect, test } from "bun:test";
import { firstType, memberSignatures } from "./dbus.ts";

test("firstType finds one complete type", () => {
  for (const [signature, first] of [
    ["su", "s"],
    ["a(st)u", "a(st)"],
    ["aayb", "aay"],
    ["(s(ub))t", "(s(ub))"],
    ["a(sv)", "a(sv)"],
    ["v", "v"],
    ["", ""],
    ["a", ""],
    ["()", ""],
    ["(s", ""],
    ["a{sv}", ""],
    ["z", ""],
  ] as const) {
    expect([signature, firstType(signature)]).toEqual([signature, first]);
  }
});

test("memberSignatures of arrays and structs", () => {
  expect(memberSignatures("as", 2)).toEqual(["s", "s"]);
  expect(memberSignatures("a(st)", 1)).toEqual(["(st)"]);
  expect(memberSignatures("(sa(sv)a(sa(sv)))", 3)).toEqual(["s", "a(sv)", "a(sa(sv))"]);
  expect(memberSignatures("()", 0)).toEqual([]);
});
