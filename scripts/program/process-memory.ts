/** The memory of a process that stands still, as its mappings and its pages tell (proc_pid_maps(5), proc_pid_pagemap(5)). */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { BARRIER_SIZE } from "./start-code.ts";

export const PAGE = 4096;
const PROT_READ = 1;
const PROT_WRITE = 2;
const PROT_EXEC = 4;

/**
 * A piece of memory. `space`: addresses that are the process's, and read as zeros. `whole`: of a library, or a small area. `written`:
 * pages that the process has written, in a space or over the program's own segments, and what lies between near ones.
 */
export interface Piece {
  readonly kind: "space" | "whole" | "written";
  readonly address: number;
  readonly length: number;
  readonly protection: number;
  /** Empty for a space. */
  readonly content: Buffer;
}

/** Pages of an area that lie so close are one piece: a mapping costs time at each start, a few more pages in the file none. */
const NEAR = 512;

/**
 * All of it but what the kernel gives every process anew, its stack and its own code, and but what it has from the file
 * `path`, the program, without having written to it. The program's segments end at `end`.
 */
export function readMemory(pid: number, path: string, end: number): Piece[] {
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const pageMap = openSync(`/proc/${pid}/pagemap`, "r");
  try {
    const read = (address: number, length: number) => readExactly(memory, address, length);
    const states = ({ start, end }: Area) => readExactly(pageMap, start / 512, (end - start) / 512);
    const areas = readAreas(pid).filter((area) => area.path !== path || area.start < end);
    return joined(areas.flatMap((area) => piecesOf(area, path, states(area), read)));
  } finally {
    closeSync(memory);
    closeSync(pageMap);
  }
}

/** Pages that the process has written, and does not share with others any more: their addresses, in pages. */
export function readWrittenPages(pid: number): number[] {
  return readPages(pid, WRITTEN, () => true);
}

/** Pages of the program `path` that nobody may write to, and that the process has: their addresses, in pages. */
export function readCodePages(pid: number, path: string): number[] {
  return readPages(pid, OF_A_FILE, (area) => area.path === path && (area.protection & PROT_WRITE) === 0);
}

function readPages(pid: number, kinds: readonly number[], isMeant: (area: Area) => boolean): number[] {
  const pageMap = openSync(`/proc/${pid}/pagemap`, "r");
  try {
    return readAreas(pid)
      .filter(isMeant)
      .flatMap(({ start, end }) => {
        const states = readExactly(pageMap, start / 512, (end - start) / 512);
        return pagesThatAre(kinds, states).map((page) => start / PAGE + page);
      });
  } finally {
    closeSync(pageMap);
  }
}

interface Area {
  readonly start: number;
  readonly end: number;
  readonly protection: number;
  /** Of a file; empty for anonymous memory. */
  readonly path: string;
}

function readAreas(pid: number): Area[] {
  const lines = readFileSync(`/proc/${pid}/maps`, "utf8").trimEnd().split("\n");
  return lines.flatMap((line) => {
    const [, start, end, permissions, name] = /^(\w+)-(\w+) (\S+) \S+ \S+ \d+ *(.*)$/.exec(line)!;
    if (/^\[(stack|vdso|vvar.*|vsyscall)\]$/.test(name!)) return [];
    const [from, to] = [parseInt(start!, 16), parseInt(end!, 16)];
    if (to - from === BARRIER_SIZE) return [];
    // Guards: where nothing else is mapped, no mapping is one as well.
    if (permissions!.startsWith("---")) return [];
    const has = (letter: string, bit: number) => (permissions!.includes(letter) ? bit : 0);
    const protection = has("r", PROT_READ) | has("w", PROT_WRITE) | has("x", PROT_EXEC);
    if (permissions!.endsWith("s")) throw new Error(`cannot freeze process ${pid}: it shares memory: ${line}`);
    const path = name!.startsWith("[") ? "" : name!;
    return { start: from, end: to, protection, path };
  });
}

/** Areas of at most so many bytes are kept whole, if anything is written in them: that is one mapping, not two. */
const SMALL = 4 * 2 ** 20;

/** Libraries are kept whole, for the machine may have others one day. */
function piecesOf(
  { start, end, protection, path: from }: Area,
  path: string,
  states: Buffer,
  read: (address: number, length: number) => Buffer,
): Piece[] {
  const piece = (kind: Piece["kind"], address: number, length: number): Piece => {
    const content = kind === "space" ? Buffer.alloc(0) : read(address, length);
    return { kind, address, length, protection, content };
  };
  if (from !== "" && from !== path) return [piece("whole", start, end - start)];
  const pages = pagesThatAre(WRITTEN, states);
  if (from === "" && end - start <= SMALL && pages.length > 0) return [piece("whole", start, end - start)];
  const runs = runsOf(pages, NEAR);
  const written = runs.map(([first, last]) => piece("written", start + first * PAGE, (last - first + 1) * PAGE));
  return from === path ? written : [piece("space", start, end - start), ...written];
}

/**
 * Neighbours that may both be written to are one, and so are neighbours that may both not: what one of them may be run, the other
 * may then too. The engine has memory that may be written to and run in any case.
 */
function joined(pieces: readonly Piece[]): Piece[] {
  const result: Piece[] = [];
  for (const piece of pieces) {
    const last = result.at(-1);
    if (last === undefined || !canJoin(last, piece)) result.push(piece);
    else {
      const content = Buffer.concat([last.content, piece.content]);
      const protection = last.protection | piece.protection;
      result[result.length - 1] = { ...last, length: last.length + piece.length, protection, content };
    }
  }
  return result;
}

function canJoin(first: Piece, second: Piece): boolean {
  const isWhole = first.kind === "whole" && second.kind === "whole";
  const areNear = first.address + first.length === second.address;
  return isWhole && areNear && (first.protection & PROT_WRITE) === (second.protection & PROT_WRITE);
}

/** What bits 63, 62, 61 of a page's state say: that it is there, that it is swapped out, that it is of a file. */
const WRITTEN = [0b100, 0b010];
const OF_A_FILE = [0b101];

function pagesThatAre(kinds: readonly number[], states: Buffer): number[] {
  const pages: number[] = [];
  for (let i = 0; i < states.length / 8; i++) {
    if (kinds.includes(states.readUInt32LE(8 * i + 4) >>> 29)) pages.push(i);
  }
  return pages;
}

/** First and last of the ascending numbers that are not further apart than `near`. */
export function runsOf(numbers: readonly number[], near: number): [number, number][] {
  const runs: [number, number][] = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last !== undefined && number - last[1] <= near) last[1] = number;
    else runs.push([number, number]);
  }
  return runs;
}

/** Of the memory of a process. */
export function readAt(pid: number, address: number, length: number): Buffer {
  const memory = openSync(`/proc/${pid}/mem`, "r");
  try {
    return readExactly(memory, address, length);
  } finally {
    closeSync(memory);
  }
}

function readExactly(fd: number, position: number, length: number): Buffer {
  const result = Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const count = readSync(fd, result, done, length - done, position + done);
    if (count === 0) throw new Error(`cannot read ${length} bytes at 0x${position.toString(16)} of a process`);
    done += count;
  }
  return result;
}
