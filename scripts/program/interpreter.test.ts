import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { nativeArch } from "../../src/abi/syscalls.ts";
import { withoutNotes } from "./interpreter.ts";

/** Prints what came of loops, calls, methods, closures, generators, exceptions and arguments of all numbers. */
const PROGRAM = `
  class A { constructor(n) { this.n = n; } get twice() { return 2 * this.n; } add(...all) { return all.reduce((a, b) => a + b, this.n); } }
  class B extends A { add(...all) { return -super.add(...all); } }
  function* count(n) { for (let i = 0; i < n; i++) yield i; }
  const fail = (n) => { if (n % 3 === 0) throw new RangeError("n" + n); return n; };
  let sum = 0;
  for (let i = 0; i < 3000; i++) {
    const object = i % 2 ? new A(i) : new B(i);
    try { sum += fail(object.twice) + object.add(1, 2, i) + object.add(); } catch (error) { sum -= error.message.length; }
    for (const j of count(i % 5)) sum += j;
    sum += [3, 1, 2].toSorted((a, b) => a - b)[i % 3] + ("text " + i).length + Object.entries({ a: i, b: 1 }).length;
  }
  console.log(sum, [..."abc"].map((letter, at) => letter + at).join());`;

describe.skipIf(nativeArch !== "x86-64")("the engine without the interpreter's notes (x86-64 only)", () => {
  let directory = "";
  let silent: Uint8Array = new Uint8Array();
  const bun = readFileSync(process.execPath);
  beforeAll(() => {
    directory = mkdtempSync(`${tmpdir()}/tsrun-interpreter-`);
    silent = withoutNotes(bun);
    writeFileSync(`${directory}/silent`, silent, { mode: 0o755 });
    writeFileSync(`${directory}/program.js`, PROGRAM);
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  test("computes what it computed before", () => {
    const output = (engine: string) => {
      const env = { BUN_JSC_useJIT: "0" };
      const { stdout, stderr } = Bun.spawnSync([engine, `${directory}/program.js`], { env });
      expect(stderr.toString()).toBe("");
      return stdout.toString();
    };
    expect(output(`${directory}/silent`)).toMatch(/^-?\d+ a0,b1,c2\n$/);
    expect(output(`${directory}/silent`)).toBe(output(process.execPath));
  });

  test("has some hundred instructions changed, all in one place, and nothing else", () => {
    const places: number[] = [];
    for (let at = 0; at < bun.length; at++) if (silent[at] !== bun[at]) places.push(at);
    expect(silent.length).toBe(bun.length);
    expect(places.length).toBeGreaterThan(500);
    expect(places.length).toBeLessThan(2000);
    expect(places.at(-1)! - places[0]!).toBeLessThan(2 ** 18);
  });

  test("has none left", () => {
    expect(() => withoutNotes(silent)).toThrow("the engine's interpreter has no valueProfile as it is known");
  });
});
