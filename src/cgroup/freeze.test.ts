import { afterEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Freezer, freeze, freezerOf, thawAll } from "./freeze.ts";

const made: string[] = [];
afterEach(() => {
  for (const path of made.splice(0)) rmSync(path, { recursive: true });
});

/** A cgroup that is only a directory with these files. */
function cgroup(files: Record<string, string>): string {
  const path = mkdtempSync(join(tmpdir(), "freeze-"));
  made.push(path);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

/** A kernel that freezes after so many looks, with a list of what it was asked for. */
function freezerAfter(looks: number, asksAgain = false, refusal = 0): { freezer: Freezer; asked: boolean[] } {
  const asked: boolean[] = [];
  let left = looks;
  const isAsked = () => asked.at(-1) ?? false;
  const freezer: Freezer = {
    path: "/none",
    ask: (frozen) => {
      asked.push(frozen);
      return asked.length > 1 ? refusal : 0;
    },
    state: () => (!isAsked() ? "thawed" : left-- > 0 ? "freezing" : "frozen"),
    isAsked,
    asksAgain,
  };
  return { freezer, asked };
}

const patient = { milliseconds: 1000, sleep: () => false };
const impatient = { milliseconds: 0, sleep: () => false };

test("v2 is asked once", () => {
  const { freezer, asked } = freezerAfter(100);
  freeze(freezer, "pause x", patient);
  expect(asked).toEqual([true]);
});

test("v1 is asked until it is done, with a pause in between now and then", () => {
  const { freezer, asked } = freezerAfter(60, true);
  freeze(freezer, "pause x", patient);
  expect(asked.filter((frozen) => !frozen)).toHaveLength(1);
  expect(asked.at(-1)).toBeTrue();
});

test("what does not freeze in time runs again", () => {
  const { freezer, asked } = freezerAfter(Number.POSITIVE_INFINITY);
  expect(() => freeze(freezer, "pause x", impatient)).toThrow(
    "cannot pause x: not all of its processes freeze within 0 s; it runs again",
  );
  expect(asked).toEqual([true, false]);
});

test("a signal ends the waiting, and it runs again", () => {
  const { freezer, asked } = freezerAfter(Number.POSITIVE_INFINITY);
  expect(() => freeze(freezer, "pause x", { milliseconds: 1000, sleep: () => true })).toThrow(
    "cannot pause x: a signal came first; it runs again",
  );
  expect(asked).toEqual([true, false]);
});

test("a kernel that refuses on the way is told to thaw, and the error says when it does not", () => {
  const { freezer, asked } = freezerAfter(Number.POSITIVE_INFINITY, true, -1);
  expect(() => freeze(freezer, "pause x", patient)).toThrow(
    'cannot pause x: cannot freeze cgroup "/none": operation not permitted; nor can cgroup "/none" be thawed: operation not permitted',
  );
  expect(asked.at(-1)).toBeFalse();
});

test("a v1 freezer wins over v2, where it has nothing to say", () => {
  const path = cgroup({ "freezer.state": "THAWED\n", "freezer.self_freezing": "0\n" });
  const freezer = freezerOf({ "": "/none", freezer: path, __proto__: "/none" })!;
  expect(freezer.state()).toBe("thawed");
  writeFileSync(join(path, "freezer.state"), "");
  expect(freezer.ask(true)).toBe(0);
  expect(readFileSync(join(path, "freezer.state"), "utf8")).toBe("FROZEN");
  expect(freezer.state()).toBe("frozen");
  writeFileSync(join(path, "freezer.state"), "FREEZING\n");
  expect(freezer.state()).toBe("freezing");
  writeFileSync(join(path, "freezer.self_freezing"), "1\n");
  expect(freezer.isAsked()).toBeTrue();
});

test("v2: asked is not frozen", () => {
  const path = cgroup({ "cgroup.freeze": "0\n", "cgroup.events": "populated 1\nfrozen 0\n" });
  const freezer = freezerOf({ "": path })!;
  expect(freezer.state()).toBe("thawed");
  freezer.ask(true);
  expect(freezer.isAsked()).toBeTrue();
  expect(freezer.state()).toBe("freezing");
  writeFileSync(join(path, "cgroup.events"), "populated 1\nfrozen 1\n");
  expect(freezer.state()).toBe("frozen");
});

test("without a cgroup there is no freezer", () => {
  expect(freezerOf({})).toBeUndefined();
  expect(freezerOf({ pids: "/sys/fs/cgroup/pids/x" })).toBeUndefined();
});

test("what stays frozen because of a cgroup above says which", () => {
  const above = cgroup({ "cgroup.freeze": "1\n" });
  const path = join(above, "inner");
  mkdirSync(path);
  writeFileSync(join(path, "cgroup.freeze"), "1\n");
  writeFileSync(join(path, "cgroup.events"), "frozen 1\n");
  const freezer = freezerOf({ "": path })!;
  expect(() => thawAll(freezer, "resume x", 1)).toThrow(`cannot resume x: cgroup "${above}" above it is frozen`);
  expect(freezer.isAsked()).toBeFalse();
});

test("a cgroup that is gone is said to be", () => {
  const freezer = freezerOf({ "": "/none" })!;
  expect(() => freeze(freezer, "pause x", patient)).toThrow(
    'cannot pause x: cannot freeze cgroup "/none": no such file or directory',
  );
});
