import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import type { OptionValues } from "../cli/options.ts";
import { defaultValues, globalOptions } from "../cli/options.ts";
import type { Config } from "../spec/types.ts";
import { specCommand } from "./spec.ts";

function spec(options: OptionValues<"spec">): number {
  return specCommand({
    options,
    args: [],
    globals: defaultValues(globalOptions()) as never,
    warn: () => {},
    tell: () => {},
    explain: undefined,
  });
}

test("spec writes a config once", () => {
  const bundle = mkdtempSync(`${tmpdir()}/spec-`);
  try {
    expect(spec({ bundle, file: "config.json", rootless: false })).toBe(0);
    const config: Config = JSON.parse(readFileSync(`${bundle}/config.json`, "utf8"));
    expect(config.process?.args).toEqual(["sh"]);
    expect(() => spec({ bundle, file: "config.json", rootless: true })).toThrow(
      "File config.json exists. Remove it first",
    );
    expect(spec({ bundle, file: "other.json", rootless: true })).toBe(0);
    const rootless: Config = JSON.parse(readFileSync(`${bundle}/other.json`, "utf8"));
    expect(rootless.linux?.uidMappings).toEqual([{ containerID: 0, hostID: process.geteuid!(), size: 1 }]);
  } finally {
    rmSync(bundle, { recursive: true });
  }
});

test("spec names what it cannot write to", () => {
  expect(() => spec({ bundle: "/nowhere", file: "config.json", rootless: false })).toThrow(
    'cannot open bundle "/nowhere": no such file or directory',
  );
  expect(() => spec({ bundle: "/", file: "nowhere/x", rootless: false })).toThrow(
    'cannot create "nowhere/x": no such file or directory',
  );
});
