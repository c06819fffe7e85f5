import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errnoNumber } from "../abi/errno.ts";
import {
  close,
  directoriesIn,
  openDirectory,
  readBytes,
  readEntries,
  readText,
  removeTree,
  sleep,
  writeText,
} from "./files.ts";

let top: string;

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "files-"));
});

afterEach(() => {
  rmSync(top, { recursive: true, force: true });
});

test("a file is read whole, whatever its size", () => {
  for (const size of [0, 1, 4095, 4096, 4097, 300_000]) {
    const content = Uint8Array.from({ length: size }, (_, i) => i % 251);
    writeFileSync(join(top, "f"), content);
    expect(readBytes(join(top, "f"))).toEqual(content);
  }
});

test("failures are negative errnos", () => {
  expect(readText(join(top, "none"))).toBe(-errnoNumber("ENOENT"));
  expect(readText(top)).toBe(-errnoNumber("EISDIR"));
  expect(writeText(join(top, "none"), "x")).toBe(-errnoNumber("ENOENT"));
  expect(directoriesIn(join(top, "none"))).toBe(-errnoNumber("ENOENT"));
});

test("every entry of a large directory is found, under its own name", () => {
  const names = Array.from({ length: 1500 }, (_, i) => `${i}-ü-${"x".repeat(i % 50)}`);
  for (const name of names) writeFileSync(join(top, name), "");
  const directory = openDirectory(top);
  const entries = readEntries(directory);
  close(directory);
  expect(typeof entries !== "number" && entries.map(({ name }) => name).sort()).toEqual(names.sort());
});

test("only directories are listed as such, links to them are not", () => {
  mkdirSync(join(top, "d"));
  writeFileSync(join(top, "f"), "");
  symlinkSync("d", join(top, "l"));
  expect(directoriesIn(top)).toEqual(["d"]);
});

test("a tree, a file and a link are removed; what a link leads to stays", () => {
  mkdirSync(join(top, "kept"));
  mkdirSync(join(top, "tree", "a", "b"), { recursive: true });
  symlinkSync(join(top, "kept"), join(top, "tree", "a", "link"));
  writeFileSync(join(top, "file"), "");
  symlinkSync("kept", join(top, "link"));
  const directory = openDirectory(top);
  for (const name of ["tree", "file", "link", "none"]) expect(removeTree(name, directory)).toBe(0);
  close(directory);
  expect(directoriesIn(top)).toEqual(["kept"]);
  expect(existsSync(join(top, "file"))).toBe(false);
});

test("sleep takes its time", () => {
  const start = performance.now();
  sleep(20);
  expect(performance.now() - start).toBeGreaterThanOrEqual(19);
});
