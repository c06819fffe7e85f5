import { expect, test } from "bun:test";
import type { Arch } from "../abi/syscalls.ts";
import { agentImage } from "./image.ts";
import {
  CODE,
  LOADER,
  LOADER_SIZE,
  MEMORY_END,
  RECORD_ARGS,
  RECORD_ON_TOLERATED,
  RECORD_SIZE,
  RECORD_TOLERATED,
  SOCKET_AT,
} from "./layout.ts";

interface Segment {
  readonly flags: number;
  readonly offset: number;
  readonly address: number;
  readonly fileSize: number;
  readonly memorySize: number;
}

/** The PT_LOAD segments as the kernel's ELF loader reads them (elf(5)). */
function loadSegments(image: Uint8Array): Segment[] {
  const view = new DataView(image.buffer, image.byteOffset);
  const first = Number(view.getBigUint64(32, true));
  return Array.from({ length: view.getUint16(56, true) }, (_, i) => first + 56 * i)
    .filter((at) => view.getUint32(at, true) === 1)
    .map((at) => ({
      flags: view.getUint32(at + 4, true),
      offset: Number(view.getBigUint64(at + 8, true)),
      address: Number(view.getBigUint64(at + 16, true)),
      fileSize: Number(view.getBigUint64(at + 32, true)),
      memorySize: Number(view.getBigUint64(at + 40, true)),
    }));
}

for (const [arch, machine] of [["x86-64", 62] as const, ["aarch64", 183] as const] satisfies [Arch, number][]) {
  const image = agentImage(arch, 7);
  const view = new DataView(image.buffer, image.byteOffset);
  const segments = loadSegments(image);

  test(`the image for ${arch} is an executable for that machine`, () => {
    expect([...image.subarray(0, 7)]).toEqual([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
    expect(view.getUint16(16, true)).toBe(2);
    expect(view.getUint16(18, true)).toBe(machine);
  });

  test(`the image for ${arch} starts in its code`, () => {
    const entry = Number(view.getBigUint64(24, true));
    const code = segments[0]!;
    expect(entry).toBeGreaterThanOrEqual(CODE);
    expect(entry).toBeLessThan(code.address + code.fileSize);
    expect(entry % 4).toBe(0);
  });

  test(`no memory of the agent on ${arch} is both writable and executable`, () => {
    const [X, W] = [1, 2];
    expect(segments.filter(({ flags }) => (flags & (X | W)) === (X | W))).toEqual([]);
  });

  test(`the segments for ${arch} can be mapped with pages of 4 kB and of 64 kB`, () => {
    for (const page of [4096, 65536]) {
      for (const { offset, address } of segments) expect(offset % page).toBe(address % page);
      const [code, memory] = segments as [Segment, Segment];
      const endOfCode = Math.ceil((code.address + code.memorySize) / page) * page;
      expect(endOfCode).toBeLessThanOrEqual(Math.floor(memory.address / page) * page);
    }
  });

  test(`the memory for ${arch} spans what the layout says, and the file holds the loader only`, () => {
    const memory = segments[1]!;
    expect([memory.address, memory.address + memory.memorySize]).toEqual([LOADER, MEMORY_END]);
    expect(memory.fileSize).toBe(LOADER_SIZE);
    expect(image.length).toBe(memory.offset + memory.fileSize);
  });

  test(`the loader for ${arch} waits on the socket, and exits at its end`, () => {
    const { offset } = segments[1]!;
    const [recvfrom, exitGroup] = arch === "x86-64" ? [45, 231] : [207, 94];
    expect(view.getUint32(offset, true)).toBe(recvfrom);
    expect(view.getUint32(offset + SOCKET_AT - LOADER, true)).toBe(7);
    expect(view.getUint32(offset + RECORD_SIZE, true)).toBe(exitGroup);
  });

  test(`the loader for ${arch} exits with 126 on any error: without its socket it must not spin`, () => {
    const { offset } = segments[1]!;
    for (let errno = 0; errno < 128; errno++) {
      const byte = view.getUint8(offset + RECORD_TOLERATED + (errno >> 3));
      expect([errno, (byte >> (errno & 7)) & 1]).toEqual([errno, 1]);
    }
    const next = offset + view.getInt32(offset + RECORD_ON_TOLERATED, true);
    expect(view.getUint32(next, true)).toBe(arch === "x86-64" ? 231 : 94);
    expect(view.getBigUint64(next + RECORD_ARGS, true)).toBe(126n);
  });
}
