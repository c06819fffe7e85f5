import { chmodSync, writeFileSync } from "node:fs";

/** One system call, whose result becomes the exit status: the error number, or 256 less what it returned. */
export interface OneCall {
  readonly number: number;
  readonly args?: readonly bigint[];
  /** An i386 program, which calls by int 0x80; otherwise x86-64. */
  readonly is32?: boolean;
}

/** Writes a static executable of some hundred bytes: what a seccomp filter sees of it is the call, exit, and nothing else. */
export function writeSyscallProgram(path: string, call: OneCall): void {
  writeFileSync(path, call.is32 === true ? elf32(code32(call)) : elf64(code64(call)));
  chmodSync(path, 0o755);
}

/** Where the code of writeCode's program begins. */
export const CODE_ADDRESS = 0x400000n + 64n + 56n;

/** Writes a static x86-64 executable that is this code, which may write to itself. */
export function writeCode(path: string, code: Uint8Array): void {
  const READ_WRITE_EXECUTE = 7n;
  writeFileSync(path, elf64(code, READ_WRITE_EXECUTE));
  chmodSync(path, 0o755);
}

function code64({ number, args = [] }: OneCall): Uint8Array {
  // mov rdi, rsi, rdx, r10, r8, r9, …; mov rax, number; syscall; neg eax; mov edi, eax; mov eax, 60; syscall
  const registers = ["48bf", "48be", "48ba", "49ba", "49b8", "49b9"];
  const moves = args.map((arg, i) => registers[i]! + words(8, arg));
  return Uint8Array.fromHex(`${moves.join("")}48b8${words(8, BigInt(number))}0f05f7d889c7b83c0000000f05`);
}

function code32({ number, args = [] }: OneCall): Uint8Array {
  // mov ebx, ecx, edx, …; mov eax, number; int 0x80; neg eax; mov ebx, eax; mov eax, 1; int 0x80
  const moves = args.map((arg, i) => ["bb", "b9", "ba"][i]! + words(4, arg));
  return Uint8Array.fromHex(`${moves.join("")}b8${words(4, BigInt(number))}cd80f7d889c3b801000000cd80`);
}

/** Little-endian, in hexadecimal. */
export function words(size: number, value: bigint): string {
  const bytes = new Uint8Array(new BigUint64Array([BigInt.asUintN(64, value)]).buffer);
  return bytes.slice(0, size).toHex();
}

const BASE = 0x400000n;

/** elf(5): a header and one segment, which is the whole file. */
function elf64(code: Uint8Array, flags = 5n): Uint8Array {
  const HEADERS = 64 + 56;
  const size = BigInt(HEADERS + code.length);
  const header = [
    "7f454c46020101000000000000000000",
    words(2, 2n) + words(2, 62n) + words(4, 1n) + words(8, BASE + BigInt(HEADERS)) + words(8, 64n) + words(8, 0n),
    words(4, 0n) + words(2, 64n) + words(2, 56n) + words(2, 1n) + words(6, 0n),
    words(4, 1n) + words(4, flags) + words(8, 0n) + words(8, BASE) + words(8, BASE) + words(8, size) + words(8, size),
    words(8, 0x1000n),
  ];
  return new Uint8Array([...Uint8Array.fromHex(header.join("")), ...code]);
}

function elf32(code: Uint8Array): Uint8Array {
  const HEADERS = 52 + 32;
  const size = BigInt(HEADERS + code.length);
  const header = [
    "7f454c46010101000000000000000000",
    words(2, 2n) + words(2, 3n) + words(4, 1n) + words(4, BASE + BigInt(HEADERS)) + words(4, 52n) + words(4, 0n),
    words(4, 0n) + words(2, 52n) + words(2, 32n) + words(2, 1n) + words(6, 0n),
    words(4, 1n) + words(4, 0n) + words(4, BASE) + words(4, BASE) + words(4, size) + words(4, size) + words(4, 5n),
    words(4, 0x1000n),
  ];
  return new Uint8Array([...Uint8Array.fromHex(header.join("")), ...code]);
}
