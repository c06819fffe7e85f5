import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { version } from "../../package.json";
import { manPages } from "./man.ts";
import { commandNames, commandOptions, globalOptions } from "./options.ts";

const pages = manPages(version);
const committed = `${import.meta.dir}/../../docs/man`;

test("there is a page for tsrun and for each command", () => {
  expect([...pages.keys()]).toEqual(["tsrun.1", ...commandNames().map((name) => `tsrun-${name}.1`)]);
});

test("the committed pages are these", () => {
  const files = readdirSync(committed).map((file) => [file, readFileSync(`${committed}/${file}`, "utf8")] as const);
  expect(new Map(files)).toEqual(pages);
});

describe.each([...pages])("%s", (file, text) => {
  test("names every option", () => {
    const command = commandNames().find((name) => file === `tsrun-${name}.1`);
    for (const name of Object.keys(command === undefined ? globalOptions() : commandOptions(command))) {
      expect(text).toContain(`\\fB\\-\\-${name.replaceAll("-", "\\-")}\\fR`);
    }
  });

  test("has no line that roff would take for a request by accident", () => {
    const requests = text.split("\n").filter((line) => /^[.']/.test(line));
    expect(requests.filter((line) => !/^\.(TH|SH|PP|TP|\\")/.test(line))).toEqual([]);
  });
});
