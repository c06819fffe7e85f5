/** What the build changes in an ELF executable (elf(5)): it finds, moves, adds. */
import type { Arch } from "../../src/abi/syscalls.ts";

const ELF_MAGIC = 0x464c457f;
const ELFCLASS64 = 2;
const MACHINES: Record<Arch, number> = { "x86-64": 62, aarch64: 183 };
const PT_LOAD = 1;
const PT_NOTE = 4;
const PF_W = 2;
const PF_R_X = 5;
const HEADER_SIZE = 56;
const SECTION_SIZE = 64;

/** Bytes, with x86-64 and with aarch64 of 4 KiB pages. */
export const HUGE_PAGE = 2 ** 21;

/** The types of program headers that the build looks for. */
export const PT_NULL = 0;
export const PT_INTERP = 3;
export const PT_PHDR = 6;

export interface Segment {
  /** Where its header is in the file. */
  readonly at: number;
  readonly type: number;
  readonly flags: number;
  readonly address: number;
  readonly end: number;
  readonly align: number;
}

/** A program with a segment of its own for the build: the last program header was a PT_NOTE that only held a build id. */
export interface ExtendedProgram {
  readonly file: Uint8Array;
  /** Of the new segment, which is the last of the file. */
  readonly offset: number;
}

/**
 * `original` with `content`, a place for code that starts the program, at `newSegmentAddress`, where it is entered.
 *
 * @throws Error when the file is not laid out as expected: better no program than one that cannot start.
 */
export function addSegment(original: Uint8Array, arch: Arch, content: Uint8Array): ExtendedProgram {
  const note = readSegments(original, arch).at(-1);
  if (note?.type !== PT_NOTE) throw new Error("cannot add an entry stub: the last program header is not a PT_NOTE");
  const align = segmentAlign(original, arch);
  const address = newSegmentAddress(original, arch);
  const offset = roundUp(original.length, align);
  const file = new Uint8Array(offset + content.length);
  file.set(original);
  file.set(content, offset);
  const view = new DataView(file.buffer);
  view.setBigUint64(24, BigInt(address), true);
  view.setUint32(note.at, PT_LOAD, true);
  view.setUint32(note.at + 4, PF_R_X, true);
  const words = [offset, address, address, content.length, content.length, align];
  words.map((word, i) => view.setBigUint64(note.at + 8 + 8 * i, BigInt(word), true));
  return { file, offset };
}

/** Where `addSegment` puts what it adds: behind all that the program has. */
export function newSegmentAddress(file: Uint8Array, arch: Arch): number {
  const loads = loadedSegments(file, arch);
  return roundUp(Math.max(...loads.map((segment) => segment.end)), segmentAlign(file, arch));
}

function segmentAlign(file: Uint8Array, arch: Arch): number {
  const align = Math.max(0, ...loadedSegments(file, arch).map((segment) => segment.align));
  if (align < 4096) throw new Error("cannot add an entry stub: no aligned PT_LOAD");
  return align;
}

/** Where the program begins in memory, and what is behind its end: the code and all else that it has. */
export function programSpan(file: Uint8Array, arch: Arch): { start: number; length: number } {
  const align = segmentAlign(file, arch);
  const [first] = loadedSegments(file, arch);
  const start = first!.address - (first!.address % align);
  return { start, length: newSegmentAddress(file, arch) - start };
}

/**
 * `file` with a gap before its code (and whatever else is not written to), so that a huge page of memory is one of the
 * file: less than 2 MiB of zeros each. What is written to is copied page by page anyway.
 */
export function alignToHugePages(file: Uint8Array, arch: Arch): Uint8Array {
  const shared = loadedSegments(file, arch).filter(({ flags }) => (flags & PF_W) === 0);
  const aligned = shared.reduce((result, { at }) => {
    const offset = readNumber(result, at + 8);
    const gap = (readNumber(result, at + 16) - offset) % HUGE_PAGE;
    return insertGap(result, arch, offset, (gap + HUGE_PAGE) % HUGE_PAGE);
  }, file);
  for (const [i, { at }] of shared.entries()) if (i > 0) moveBorder(aligned, shared[i - 1]!.at, at);
  return aligned;
}

/**
 * Where two segments lie one behind the other in the same way in memory and in the file, the huge page that both have a part
 * of becomes the second's: one segment alone can be mapped as such. The first's end may be run then, besides being read.
 */
function moveBorder(file: Uint8Array, first: number, second: number): void {
  const read = (header: number) => {
    return {
      offset: readNumber(file, header + 8),
      address: readNumber(file, header + 16),
      size: readNumber(file, header + 32),
    };
  };
  const [before, behind] = [read(first), read(second)];
  const more = behind.address % HUGE_PAGE;
  const border = behind.address - more;
  const areAlike = behind.address - behind.offset === before.address - before.offset;
  if (!areAlike || border <= before.address || before.address + before.size <= border) return;
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const put = (at: number, value: number) => view.setBigUint64(at, BigInt(value), true);
  // Offset, address and physical address; the sizes in the file and in memory.
  for (const at of [32, 40]) put(first + at, border - before.address);
  for (const at of [8, 16, 24]) put(second + at, readNumber(file, second + at) - more);
  for (const at of [32, 40]) put(second + at, behind.size + more);
}

/** `file` with `gap` zeros at `offset`: everything that names a later place of the file is changed with it. */
function insertGap(file: Uint8Array, arch: Arch, offset: number, gap: number): Uint8Array {
  const result = new Uint8Array(file.length + gap);
  result.set(file.subarray(0, offset));
  result.set(file.subarray(offset), offset + gap);
  const view = new DataView(result.buffer);
  const move = (at: number) => {
    const place = readNumber(result, at);
    if (place >= offset) view.setBigUint64(at, BigInt(place + gap), true);
  };
  for (const { at } of readSegments(file, arch)) move(at + 8);
  move(40);
  for (const at of sectionsOf(result)) move(at + 24);
  return result;
}

/**
 * Where libc keeps `environ` in this program: the dynamic loader puts the variable of a library into a program that
 * refers to it (a copy relocation), at the address that the symbol table of the program says.
 */
export function addressOfEnviron(file: Uint8Array): number {
  const SHT_DYNSYM = 11;
  const SYMBOL_SIZE = 24;
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const sections = sectionsOf(file);
  const table = sections.find((at) => view.getUint32(at + 4, true) === SHT_DYNSYM);
  if (table === undefined) throw new Error("cannot add an entry stub: no dynamic symbols");
  const names = readNumber(file, sections[view.getUint32(table + 40, true)]! + 24);
  const first = readNumber(file, table + 24);
  for (let at = first; at < first + readNumber(file, table + 32); at += SYMBOL_SIZE) {
    const name = names + view.getUint32(at, true);
    if (Buffer.from(file.subarray(name, name + 8)).toString("latin1") === "environ\0") return readNumber(file, at + 8);
  }
  throw new Error("cannot add an entry stub: the program does not refer to environ");
}

/** The program headers, in order. */
export function readSegments(file: Uint8Array, arch: Arch): Segment[] {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const isElf64 = file.length >= 64 && view.getUint32(0, true) === ELF_MAGIC && file[4] === ELFCLASS64;
  if (!isElf64 || view.getUint16(18, true) !== MACHINES[arch]) {
    throw new Error(`cannot add an entry stub: not a 64-bit ELF file for ${arch}`);
  }
  if (view.getUint16(54, true) !== HEADER_SIZE) throw new Error("cannot add an entry stub: odd program headers");
  const first = readNumber(file, 32);
  return Array.from({ length: view.getUint16(56, true) }, (_, i) => {
    const at = first + i * HEADER_SIZE;
    const address = readNumber(file, at + 16);
    const end = address + readNumber(file, at + 40);
    const [type, flags] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    return { at, type, flags, address, end, align: readNumber(file, at + 48) };
  });
}

/** The segment with the code, in the file. */
export function codeSegment(file: Uint8Array, arch: Arch): { offset: number; length: number } {
  const code = loadedSegments(file, arch).find(({ flags }) => flags === PF_R_X);
  if (code === undefined) throw new Error("cannot change the code of a program: it has no segment for it");
  return { offset: readNumber(file, code.at + 8), length: readNumber(file, code.at + 32) };
}

function loadedSegments(file: Uint8Array, arch: Arch): Segment[] {
  return readSegments(file, arch).filter(({ type }) => type === PT_LOAD);
}

/** Where the section headers are. */
function sectionsOf(file: Uint8Array): number[] {
  const count = new DataView(file.buffer, file.byteOffset).getUint16(60, true);
  return Array.from({ length: count }, (_, i) => readNumber(file, 40) + i * SECTION_SIZE);
}

/** The entry point. */
export function entryOf(file: Uint8Array): number {
  return readNumber(file, 24);
}

/** The 64-bit number at `at`. */
function readNumber(file: Uint8Array, at: number): number {
  return Number(new DataView(file.buffer, file.byteOffset).getBigUint64(at, true));
}

export function roundUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}
