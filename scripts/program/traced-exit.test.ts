import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { atExit } from "./traced-exit.ts";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(`${tmpdir()}/tsrun-exit-`);
});
afterAll(() => rmSync(directory, { recursive: true }));

const ended = (script: string) =>
  atExit(["/bin/sh", "-c", script], `${directory}/log`, (pid) => readFileSync(`/proc/${pid}/maps`, "utf8"));

test("a command is looked at when it has done everything, its memory still there", () => {
  expect(ended(`echo done; : > ${directory}/done`)).toMatch(/\/(dash|sh|bash)$/m);
  expect(existsSync(`${directory}/done`)).toBe(true);
  expect(readFileSync(`${directory}/log`, "utf8")).toBe("done\n");
});

test("signals do not end the wait", () => {
  expect(ended("trap : USR1; kill -USR1 $$; (exit 3); true")).toBeDefined();
});

test("one that fails is not looked at", () => {
  expect(ended("exit 3")).toBeUndefined();
  expect(ended("kill -KILL $$")).toBeUndefined();
});
