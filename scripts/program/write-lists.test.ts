import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { nativeArch } from "../../src/abi/syscalls.ts";
import { codeSegment, HUGE_PAGE, programSpan } from "./elf.ts";
import { PAGE } from "./process-memory.ts";
import type { Mapping, WriteList } from "./warm-start.ts";
import { type Recorded, recordWrites } from "./write-lists.ts";

describe.skipIf(nativeArch !== "x86-64")("what a command writes and runs (x86-64 only)", () => {
  let directory = "";
  let lists: WriteList[] = [];
  const mapping = (address: number, length: number, offset: number): Mapping => {
    return { address, length, offset, protection: 3, flags: 0 };
  };
  const record = (mappings: Mapping[], recorded: Recorded[]) =>
    recordWrites(process.execPath, recorded, mappings, `${directory}/log`);
  const { start, length } = programSpan(readFileSync(process.execPath), "x86-64");
  beforeAll(() => {
    directory = mkdtempSync(`${tmpdir()}/tsrun-lists-`);
    const recorded = [
      { command: "short", line: ["--version"] },
      { command: "long", line: ["-e", "[3, 1, 2].toSorted()"] },
      { command: "long", line: ["-e", "new Map([[1, 2]])"] },
      { command: "failing", line: ["-e", "process.exit(1)"] },
    ];
    lists = record([mapping(start, length, 0)], recorded);
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  test("is known of each command that succeeds", () => {
    expect(lists.map(({ command }) => command)).toEqual(["short", "long"]);
  });

  test("is written where the program may write", () => {
    const { offset: code, length: codeLength } = codeSegment(readFileSync(process.execPath), "x86-64");
    for (const { pages } of lists) {
      expect(pages.length).toBeGreaterThan(0);
      const rows = pages.flat();
      expect(rows).toEqual(rows.toSorted((a, b) => a - b));
      expect(rows[0]! * PAGE).toBeGreaterThan(start + code + codeLength);
      expect(rows.at(-1)! * PAGE).toBeLessThan(start + length);
    }
  });

  test("is in the order of the file, of which the memory on top is", () => {
    const [{ pages }] = lists as [WriteList];
    const middle = pages[Math.floor(pages.length / 2)]![0] * PAGE;
    const halves = [mapping(start, middle - start, length), mapping(middle, start + length - middle, 0)];
    const [other] = record([mapping(start, length, 0), ...halves], [{ command: "short", line: ["--version"] }]);
    const isFirst = other!.pages.map(([first]) => first * PAGE >= middle);
    expect(new Set(isFirst)).toEqual(new Set([true, false]));
    expect(isFirst).toEqual(isFirst.toSorted().reverse());
  });

  test("is run in huge pages, each named once, in the order of the file", () => {
    const [short, long] = lists.map(({ code }) => code.map((page) => Math.floor((page * PAGE) / HUGE_PAGE)));
    expect(short!.length).toBeGreaterThan(3);
    expect(short).toEqual([...new Set(short)].toSorted((a, b) => a - b));
    expect(new Set(short).difference(new Set(long))).toEqual(new Set());
    expect(long!.length).toBeGreaterThan(short!.length);
  });
});
