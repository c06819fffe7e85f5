import { expect, test } from "bun:test";
import { constants } from "node:os";
import { parseSignal } from "./signals.ts";

test("each name of this machine's, with and without SIG, in any case", () => {
  const { SIGUNUSED: _, ...signals } = constants.signals as Record<string, number>;
  for (const [name, number] of Object.entries(signals)) {
    for (const form of [name, name.slice(3), name.toLowerCase(), name.slice(3).toLowerCase()]) {
      expect(parseSignal(form)).toBe(number);
    }
  }
});

test("numbers", () => {
  for (const number of [0, 1, 9, 15, 31, 34, 64]) expect(parseSignal(String(number))).toBe(number);
});

test("real-time signals count from either end", () => {
  expect(parseSignal("RTMIN")).toBe(34);
  expect(parseSignal("SIGRTMIN+3")).toBe(37);
  expect(parseSignal("rtmin+30")).toBe(64);
  expect(parseSignal("RTMAX")).toBe(64);
  expect(parseSignal("SIGRTMAX-30")).toBe(34);
});

test("anything else is unknown", () => {
  const wrong = ["FOO", "", " ", "1x", "-1", "65", "100", "9 ", "0x9", "1.0", "SIG", "SIG9", "SIGSIGTERM"];
  for (const text of [...wrong, "RTMIN+31", "RTMAX-31", "RTMIN-1", "RTMAX+1", "RTMIN+", "constructor"]) {
    expect(() => parseSignal(text)).toThrow(`unknown signal "${text}"`);
  }
});
