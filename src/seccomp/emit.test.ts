import { expect, test } from "bun:test";
import { type Block, finish, lengthOf, load, newEmitter, returns, sharedTest, test as testWord } from "./emit.ts";
import { interpret } from "./interpret.ts";

const NR = 0;
const says = (program: Uint8Array, number: number) => interpret(program, { number, token: 0, args: [] }).returns;

test("jumps and returns of any distance", () => {
  for (const distance of [1, 2, 200, ...Array.from({ length: 12 }, (_, i) => 249 + i), 600]) {
    const emitter = newEmitter();
    const target = testWord(emitter, "eq", 1, returns(emitter, 11), returns(emitter, 22));
    let chain: Block = target;
    for (let i = 0; i < distance; i++) chain = testWord(emitter, "eq", 1000 + i, returns(emitter, 33), chain);
    // The other way round too: what is far when a test holds, and when it does not.
    const both = testWord(emitter, "eq", 5, target, testWord(emitter, "ge", 900, chain, target));
    const program = finish(emitter, load(emitter, NR, undefined, both));
    const seen = [1, 2, 5, 999, 1000, 999 + distance, 1000 + distance].map((number) => says(program, number));
    expect(seen).toEqual([11, 22, 22, 22, 33, 33, 22]);
    expect(lengthOf(program)).toBeLessThan(distance + 20);
  }
});

test("a target that becomes far because the other one needs an instruction", () => {
  for (let distance = 249; distance < 260; distance++) {
    const emitter = newEmitter();
    const target = testWord(emitter, "eq", 1, returns(emitter, 11), returns(emitter, 22));
    let chain: Block = target;
    for (let i = 0; i < distance; i++) chain = testWord(emitter, "eq", 1000 + i, returns(emitter, 33), chain);
    const top = testWord(emitter, "eq", 6, target, returns(emitter, 44));
    const program = finish(emitter, load(emitter, NR, undefined, top));
    expect([6, 7, 1000].map((number) => says(program, number))).toEqual([22, 44, 44]);
  }
});

test("what is the same is there once; a test whose answers do the same is none", () => {
  const emitter = newEmitter();
  const [yes, no] = [returns(emitter, 1), returns(emitter, 2)];
  const first = sharedTest(emitter, "gt", 7, yes, no);
  const length = emitter.codes.length;
  expect([sharedTest(emitter, "gt", 7, yes, no), returns(emitter, 1)]).toEqual([first, yes]);
  expect(testWord(emitter, "eq", 3, first, first)).toBe(first);
  const loaded = load(emitter, 16, 0xff, first);
  expect(load(emitter, 16, 0xff, first)).toBe(loaded);
  expect(load(emitter, 16, undefined, yes)).toBe(yes);
  expect(emitter.codes.length).toBe(length + 2);
});

test("a program that only returns", () => {
  const emitter = newEmitter();
  expect(says(finish(emitter, returns(emitter, 0x7fff0000)), 9)).toBe(0x7fff0000);
});
