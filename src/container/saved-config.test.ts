import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TsrunError } from "../errors.ts";
import { createContainerDirectory, saveConfig } from "../state/store.ts";
import { withSavedConfig } from "./saved-config.ts";

const root = mkdtempSync(join(tmpdir(), "saved-"));
const directory = createContainerDirectory(root, "box");
afterAll(() => rmSync(root, { recursive: true }));

const WHOLE = '{"ociVersion":"1.0.0","root":{"path":"r"},"process":{"args":["x"],"cwd":"/"}}';

test.each([
  ["", "not JSON: found nothing"],
  ["{", "not JSON: found the end of the file"],
  [WHOLE.replace('["x"]', "3"), "process.args: found 3 (number)"],
])("%j: who reads it hears what is wrong", (text, says) => {
  saveConfig(directory, text);
  const read = () => withSavedConfig(directory, "box", ({ process }) => process!.args.toReversed());
  expect(read).toThrow('cannot read the saved configuration of container "box": invalid config.json:1:');
  expect(read).toThrow(says);
});

test("an error of somebody else's stays as it is", () => {
  saveConfig(directory, WHOLE);
  const fails = (error: Error) => () =>
    withSavedConfig(directory, "box", () => {
      throw error;
    });
  expect(fails(new TypeError("a fault"))).toThrow("a fault");
  saveConfig(directory, "{}");
  expect(fails(new TsrunError("a reason"))).toThrow("a reason");
  saveConfig(directory, WHOLE);
  expect(withSavedConfig(directory, "box", ({ process }) => process?.cwd)).toBe("/");
});
