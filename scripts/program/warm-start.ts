/**
 * Puts the machine code that starts a program (start-code.ts) into it, with all that the code must know: first for the
 * program that is going to be frozen, then for the one that has the memory of that.
 */
import {
  addressOfEnviron,
  entryOf,
  PT_INTERP,
  PT_NULL,
  PT_PHDR,
  programSpan,
  readSegments,
  type Segment,
} from "./elf.ts";
import { stubFor } from "./entry-stub.ts";
import { PAGE } from "./process-memory.ts";
import { NAMES, startCode } from "./start-code.ts";

/** The segment with the code has this many bytes, whatever is in it: memory must not move when it is frozen. */
export const START_SIZE = 131072;
/** What commands write comes behind the code, and what it knows. */
const LISTS_AT = 16384;
const LIST_SIZE = 32;
const ENTRY_STUB_AT = START_SIZE - 2048;
const HEADERS_AT = START_SIZE - 1024;
const MAPPING_SIZE = 32;

/** One call of mmap(2). `offset`: in the program's file; what is anonymous has none. */
export interface Mapping {
  readonly address: number;
  readonly length: number;
  readonly protection: number;
  readonly flags: number;
  readonly offset: number;
}

/** What a command is known to write, so that it is made its own all at once; the one without a name is for all others. */
export interface WriteList {
  /** At most seven letters. */
  readonly command: string;
  /** First and last of each row, their addresses in pages; as they come in the file. */
  readonly pages: readonly (readonly [first: number, last: number])[];
  /**
   * One page of each huge page of code that the command runs, as they come in the file. To read them in this order is what makes
   * them huge: where its memory is to be in huge pages, the kernel reads two of a file at once, and goes on with small ones where
   * it has the second already.
   */
  readonly code: readonly number[];
}

/** A process that was stopped at `freeze`. */
export interface FrozenProcess {
  /** What the processor has, and may be used: words like those of PROCESSOR. */
  readonly kind: readonly bigint[];
  readonly stack: number;
  /** Where libc keeps the id of the only thread. */
  readonly tid: number;
  readonly mappings: readonly Mapping[];
  readonly lists: readonly WriteList[];
}

/**
 * What programs ask the processor for before they use it: cpuid's leaf 1, ecx; leaf 7, ebx and ecx; leaf 7, edx, and the
 * state that the kernel saves, XCR0. The others are for kernels, or every processor for x86-64 has them.
 */
const PROCESSOR = [
  bits(0, 1, 9, 12, 13, 19, 20, 22, 23, 25, 26, 27, 28, 29, 30),
  (bits(0, 3, 4, 5, 8, 9, 11, 16, 17, 18, 19, 21, 23, 24, 26, 27, 28, 29, 30, 31) << 32n) |
    bits(0, 1, 5, 6, 7, 8, 9, 10, 11, 12, 14, 22, 27, 28),
  (bits(2, 3, 4, 8, 14, 22, 23, 24, 25) << 32n) | 0xffffffffn,
];

function bits(...numbers: number[]): bigint {
  return numbers.reduce((sum, number) => sum | (1n << BigInt(number)), 0n);
}

/**
 * The segment for `file`, an executable for x86-64, to be at `address`; without a frozen process it is for the program that
 * becomes one.
 */
export function startSegment(file: Uint8Array, address: number, frozen?: FrozenProcess): Uint8Array {
  const code = Buffer.from(startCode(), "hex");
  const result = Buffer.alloc(START_SIZE);
  code.copy(result);
  const put = (place: number, value: number | bigint) => result.writeBigUInt64LE(BigInt(value), code.length + place);
  const headers = programHeadersAt(file, address + HEADERS_AT);
  headers.copy(result, HEADERS_AT);
  put(NAMES.LOADER, interpreterOf(file).address);
  put(NAMES.HEADERS, address + HEADERS_AT);
  if (frozen === undefined) {
    put(NAMES.FREEZES, 1);
    put(NAMES.GOES_TO, entryOf(file));
    return result;
  }
  const { start, length } = programSpan(file, "x86-64");
  put(NAMES.GOES_TO, address + ENTRY_STUB_AT);
  result.set(stubFor(file, "x86-64", address + ENTRY_STUB_AT), ENTRY_STUB_AT);
  put(NAMES.CODE, start);
  put(NAMES.CODE + 8, length);
  put(NAMES.ENVIRON, addressOfEnviron(file));
  for (const [i, mask] of PROCESSOR.entries()) put(NAMES.KIND + 8 * i, frozen.kind[i]! & mask);
  put(NAMES.STACK, frozen.stack);
  put(NAMES.TID, frozen.tid);
  put(NAMES.LISTS, address + LISTS_AT);
  putLists(result, address, frozen.lists);
  const room = (LISTS_AT - code.length - NAMES.TABLE) / MAPPING_SIZE;
  if (frozen.mappings.length > room)
    throw new Error("cannot add a warm start: more pieces of memory than there is room for");
  put(NAMES.COUNT, frozen.mappings.length);
  frozen.mappings.forEach((mapping, i) => {
    const at = NAMES.TABLE + MAPPING_SIZE * i;
    put(at, mapping.address);
    put(at + 8, mapping.length);
    put(at + 16, (BigInt(mapping.flags) << 32n) | BigInt(mapping.protection));
    put(at + 24, mapping.offset);
  });
  return result;
}

/**
 * Name, its bytes, where and how many pieces; behind the last one an empty one, then the pieces: an address and how many pages
 * are written from there, none for code that is read.
 */
function putLists(segment: Buffer, address: number, lists: readonly WriteList[]): void {
  const named = lists.filter(({ command }) => command !== "");
  const unnamed = lists.find(({ command }) => command === "") ?? { command: "", pages: [], code: [] };
  let end = LISTS_AT + LIST_SIZE * (named.length + 2);
  for (const [i, { command, pages, code }] of [unnamed, ...named].entries()) {
    const pieces = [
      ...code.map((page) => page * PAGE),
      ...pages.map(([first, last]) => first * PAGE + last - first + 1),
    ];
    const at = LISTS_AT + LIST_SIZE * i;
    segment.write(command, at);
    if (command !== "") segment.fill(0xff, at + 8, at + 8 + command.length + 1);
    segment.writeBigUInt64LE(BigInt(address + end), at + 16);
    segment.writeBigUInt64LE(BigInt(pieces.length), at + 24);
    // An address and a count share a word.
    const isLong = pages.some(([first, last]) => last - first + 1 >= PAGE);
    if (isLong || end + 8 * pieces.length > ENTRY_STUB_AT)
      throw new Error("cannot add a warm start: commands write too much");
    for (const piece of pieces) {
      segment.writeBigUInt64LE(BigInt(piece), end);
      end += 8;
    }
  }
}

/** The program headers for the dynamic loader: at `address`, as they say of themselves. */
function programHeadersAt(file: Uint8Array, address: number): Buffer {
  const segments = readSegments(file, "x86-64");
  const [first, second] = segments;
  const result = Buffer.from(file.subarray(first!.at, first!.at + (second!.at - first!.at) * segments.length));
  if (first!.type !== PT_PHDR || result.length > START_SIZE - HEADERS_AT) {
    throw new Error("cannot add a warm start: odd program headers");
  }
  result.writeBigUInt64LE(BigInt(address), 16);
  return result;
}

/** A program that the kernel enters itself: its dynamic loader is not to run when there is memory to start from. */
export function withoutLoader(file: Uint8Array): Uint8Array {
  const result = new Uint8Array(file);
  new DataView(result.buffer).setUint32(interpreterOf(file).at, PT_NULL, true);
  return result;
}

/** The program header that names the dynamic loader. */
function interpreterOf(file: Uint8Array): Segment {
  const interpreter = readSegments(file, "x86-64").find(({ type }) => type === PT_INTERP);
  if (interpreter === undefined) throw new Error("cannot add a warm start: the program names no dynamic loader");
  return interpreter;
}
