import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withPidFile } from "./caller.ts";
import { absolutePath } from "./request.ts";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "request-"));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

describe("pid file", () => {
  test("digits and nothing else, there before the rest runs", () => {
    const path = join(home, "pid");
    let seen = "";
    withPidFile(path, 4711, () => {
      seen = readFileSync(path, "utf8");
    });
    expect(seen).toBe("4711");
    expect(readdirSync(home)).toEqual(["pid"]);
  });

  test("replaces one that is there", () => {
    const path = join(home, "pid");
    writeFileSync(path, "123456");
    withPidFile(path, 7, () => {});
    expect(readFileSync(path, "utf8")).toBe("7");
  });

  test("is removed when the rest fails", () => {
    const path = join(home, "pid");
    const fail = () => {
      throw new Error("no such program");
    };
    expect(() => withPidFile(path, 7, fail)).toThrow("no such program");
    expect(readdirSync(home)).toEqual([]);
  });

  test("that cannot be written: the rest does not run, and nothing is left", () => {
    mkdirSync(join(home, "pid"));
    let ran = false;
    const rest = () => {
      ran = true;
    };
    expect(() => withPidFile(join(home, "pid"), 7, rest)).toThrow(/cannot write the process id to .* \(--pid-file\)$/);
    expect(() => withPidFile(join(home, "no/pid"), 7, rest)).toThrow("no such file or directory");
    expect(ran).toBe(false);
    expect(readdirSync(home)).toEqual(["pid"]);
  });

  test("a link in the place of the temporary file is not followed", () => {
    symlinkSync(join(home, "victim"), join(home, `pid.${process.pid}`));
    expect(() => withPidFile(join(home, "pid"), 7, () => {})).toThrow("too many levels of symbolic links");
    expect(existsSync(join(home, "victim"))).toBe(false);
  });

  test("none is asked for", () => {
    let ran = false;
    withPidFile(undefined, 7, () => {
      ran = true;
    });
    expect(ran).toBe(true);
  });
});

test("absolutePath", () => {
  expect(absolutePath("/a/./b/../c/")).toBe("/a/c");
  expect(absolutePath("x/../y")).toBe(`${process.cwd()}/y`);
  expect(absolutePath(".")).toBe(process.cwd());
});
