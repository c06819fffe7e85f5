import { type Arch, syscallNumber } from "../abi/syscalls.ts";
import { machineCodeAarch64 } from "./aarch64.ts";
import {
  BATCH,
  BATCH_SIZE,
  CODE,
  FLAG_RETRY,
  LOADER,
  LOADER_SIZE,
  MEMORY_END,
  RECORD_ARGS,
  RECORD_FLAGS,
  RECORD_ON_POSITIVE,
  RECORD_ON_TOLERATED,
  RECORD_ON_ZERO,
  RECORD_SIZE,
  RECORD_TOLERATED,
} from "./layout.ts";
import { machineCodeX86_64 } from "./x86-64.ts";

const CODE_AT = 0x100;
/** Congruent to LOADER's address modulo 4 kB and 64 kB pages alike. */
const LOADER_AT = 0x1000;
const ELF_HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;

/**
 * The agent as an executable (elf(5)): a header, the machine code, and the loader that waits on descriptor `socket` for
 * its first batch.
 */
export function agentImage(arch: Arch, socket: number): Uint8Array {
  const image = new Uint8Array(LOADER_AT + LOADER_SIZE);
  const view = new DataView(image.buffer);
  writeElfHeader(view, arch);
  const PT_LOAD = 1;
  const PT_GNU_STACK = 0x6474e551;
  const [X, W, R] = [1, 2, 4];
  writeProgramHeader(view, 0, PT_LOAD, R | X, 0, CODE, LOADER_AT, LOADER_AT);
  writeProgramHeader(view, 1, PT_LOAD, R | W, LOADER_AT, LOADER, LOADER_SIZE, MEMORY_END - LOADER);
  writeProgramHeader(view, 2, PT_GNU_STACK, R | W, 0, 0, 0, 0);
  image.set(Uint8Array.fromHex(arch === "x86-64" ? machineCodeX86_64 : machineCodeAarch64), CODE_AT);
  writeLoader(view, arch, socket);
  return image;
}

function writeElfHeader(view: DataView, arch: Arch): void {
  const ET_EXEC = 2;
  const EM_X86_64 = 62;
  const EM_AARCH64 = 183;
  view.setUint32(0, 0x7f454c46);
  view.setUint32(4, 0x02010100); // 64-bit, little-endian, version 1, System V
  view.setUint16(16, ET_EXEC, true);
  view.setUint16(18, arch === "x86-64" ? EM_X86_64 : EM_AARCH64, true);
  view.setUint32(20, 1, true);
  view.setUint32(24, CODE + CODE_AT, true);
  view.setUint32(32, ELF_HEADER_SIZE, true);
  view.setUint16(52, ELF_HEADER_SIZE, true);
  view.setUint16(54, PROGRAM_HEADER_SIZE, true);
  view.setUint16(56, 3, true);
}

function writeProgramHeader(
  view: DataView,
  index: number,
  type: number,
  flags: number,
  offset: number,
  address: number,
  fileSize: number,
  memorySize: number,
): void {
  const at = ELF_HEADER_SIZE + index * PROGRAM_HEADER_SIZE;
  view.setUint32(at, type, true);
  view.setUint32(at + 4, flags, true);
  view.setUint32(at + 8, offset, true);
  view.setUint32(at + 16, address, true);
  view.setUint32(at + 24, address, true);
  view.setUint32(at + 32, fileSize, true);
  view.setUint32(at + 40, memorySize, true);
  view.setUint32(at + 48, 0x1000, true);
}

/**
 * Three records: wait for a batch and run it; at end of file (tsrun is gone) exit; on any error exit, too: that is a
 * container that executes its own /proc/self/exe in the hope that it is the host's runtime (CVE-2019-5736). It gets this
 * image, without a socket, and must not spin.
 */
function writeLoader(view: DataView, arch: Arch, socket: number): void {
  const COMMAND_NOT_EXECUTED = 126;
  const receive = LOADER_AT;
  view.setUint32(receive, syscallNumber("recvfrom", arch), true);
  view.setUint32(receive + RECORD_FLAGS, FLAG_RETRY, true);
  view.setUint32(receive + RECORD_ARGS, socket, true);
  view.setUint32(receive + RECORD_ARGS + 8, BATCH, true);
  view.setUint32(receive + RECORD_ARGS + 16, BATCH_SIZE, true);
  view.setInt32(receive + RECORD_ON_POSITIVE, BATCH - LOADER, true);
  view.setInt32(receive + RECORD_ON_ZERO, RECORD_SIZE, true);
  for (let word = 0; word < 16; word += 4) view.setUint32(receive + RECORD_TOLERATED + word, 0xffffffff, true);
  view.setInt32(receive + RECORD_ON_TOLERATED, 2 * RECORD_SIZE, true);
  view.setUint32(receive + RECORD_SIZE, syscallNumber("exit_group", arch), true);
  view.setUint32(receive + 2 * RECORD_SIZE, syscallNumber("exit_group", arch), true);
  view.setUint32(receive + 2 * RECORD_SIZE + RECORD_ARGS, COMMAND_NOT_EXECUTED, true);
}
