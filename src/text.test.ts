import { expect, test } from "bun:test";
import { isDigits, visible } from "./text.ts";

test.each([
  ["plain, é and 😀\tin\ntwo lines", "plain, é and 😀\tin\ntwo lines"],
  ["\u001b[2Jgone\r", "\\x1b[2Jgone\\x0d"],
  ["\u009b31m\u007f\0", "\\x9b31m\\x7f\\x00"],
])("visible(%j)", (text, shown) => {
  expect(visible(text)).toBe(shown);
});

test.each([
  ["0123456789", true],
  ["", false],
  ["1x", false],
  ["-1", false],
])("isDigits(%p)", (text, digits) => {
  expect(isDigits(text)).toBe(digits);
});
