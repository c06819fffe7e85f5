import { afterEach, beforeEach, expect, test } from "bun:test";
import fc from "fast-check";
import { installBuiltIns } from "./built-ins.ts";

let restore = () => {};
beforeEach(() => {
  restore = () => {};
});
afterEach(() => restore());

/** Each expression is evaluated with the standard methods, then with tsrun's. */
const expressions: ((numbers: number[]) => unknown)[] = [
  (numbers) => numbers.map((value, i, all) => value * i + all.length),
  (numbers) => numbers.flatMap((value, i) => (i % 2 === 0 ? [value, [i]] : value)),
  (numbers) => numbers.filter((value, i) => value > i),
  (numbers) => numbers.some((value) => value > 3),
  (numbers) => numbers.every((value) => value > 3),
  (numbers) => numbers.find((value) => value > 3),
  (numbers) => numbers.findIndex((value) => value > 3),
  (numbers) => numbers.findLast((value) => value > 3),
  (numbers) => numbers.reduce((sum, value, i) => sum + value * i, 7),
  (numbers) => [numbers.at(0), numbers.at(-1), numbers.at(2), numbers.at(-9), numbers.at(9)],
];

test("they do what the standard ones do", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 8 }), (numbers) => {
      const standard = expressions.map((evaluate) => evaluate(numbers));
      restore = installBuiltIns();
      const own: unknown[] = [];
      for (const evaluate of expressions) own.push(evaluate(numbers));
      restore();
      expect(own).toEqual(standard);
    }),
  );
});

test("they stay out of for…in, and go away without a trace", () => {
  const before = Object.getOwnPropertyDescriptor(Array.prototype, "map");
  restore = installBuiltIns();
  for (const name in [1]) expect(name).toBe("0");
  restore();
  expect(Object.getOwnPropertyDescriptor(Array.prototype, "map")).toEqual(before!);
});
