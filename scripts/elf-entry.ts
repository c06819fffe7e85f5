/**
 * Gives a compiled tsrun an entry point that runs before Bun does. Bun raises the soft limit of open files to the hard
 * limit before the first line of JavaScript, and a container must get the limit that the caller had: the stub below
 * asks for it with prlimit(2), leaves it in the auxiliary vector under AT_FLAGS, which is 0 and unused, and goes on to
 * the real entry point. `auxiliaryValue(AT_FLAGS)` then reads it; 0 means that the program was not built this way.
 *
 * In the file: the last program header, a PT_NOTE that only holds a build id, becomes a PT_LOAD of a page at the end.
 */
import type { Arch } from "../src/abi/syscalls.ts";

/**
 * 94 bytes, and 8 for the distance to the real entry point. Whatever starts a program leaves rdx and rsp for it; the
 * other registers are free.
 *
 *     entry:   mov  r8, rdx
 *              push 7                         # RLIMIT_NOFILE
 *              pop  rsi
 *              xor  edi, edi                  # this process
 *              xor  edx, edx                  # only ask
 *              sub  rsp, 16
 *              mov  r10, rsp
 *              mov  eax, 302                  # prlimit64
 *              syscall
 *              pop  rcx                       # the soft limit, kept
 *              pop  rsi                       # the hard limit, not needed
 *              mov  rdx, r8
 *              test eax, eax
 *              jnz  4f
 *              mov  rdi, [rsp]                # argc, …
 *              lea  rdi, [rsp+rdi*8+16]       # … beyond argv: envp, …
 *     1:       mov  rax, [rdi]
 *              add  rdi, 8
 *              test rax, rax
 *              jnz  1b
 *     2:       mov  rax, [rdi]                # … beyond envp: the auxiliary vector
 *              test rax, rax                  # AT_NULL
 *              jz   4f
 *              cmp  rax, 8                    # AT_FLAGS
 *              je   3f
 *              add  rdi, 16
 *              jmp  2b
 *     3:       mov  [rdi+8], rcx
 *     4:       lea  rax, [rip+entry]
 *              add  rax, [rip+distance]
 *              jmp  rax
 *     distance: .quad
 */
const stubX86_64 =
  "4989d06a075e31ff31d24883ec104989e2b82e0100000f05595e4c89c285c0752d488b3c24488d7cfc" +
  "10488b074883c7084885c075f4488b074885c074104883f80874064883c710ebec48894f08488d05ab" +
  "ffffff48030502000000ffe0";

/**
 * 104 bytes, and 8 for the distance to the real entry point. Whatever starts a program leaves x0 and sp for it.
 *
 *     entry:   mov  x9, x0
 *              mov  x0, 0                     // this process
 *              mov  x1, 7                     // RLIMIT_NOFILE
 *              mov  x2, 0                     // only ask
 *              sub  sp, sp, 16
 *              mov  x3, sp
 *              mov  x8, 261                   // prlimit64
 *              svc  0
 *              mov  x11, x0
 *              mov  x0, x9
 *              ldp  x10, x12, [sp], 16        // the soft limit, kept; the hard limit, not needed
 *              cbnz x11, 3f
 *              ldr  x11, [sp]                 // argc, …
 *              add  x11, sp, x11, lsl 3       // … beyond argv: envp, …
 *              add  x11, x11, 16
 *     1:       ldr  x12, [x11], 8
 *              cbnz x12, 1b
 *     2:       ldr  x12, [x11], 16            // … beyond envp: the auxiliary vector
 *              cbz  x12, 3f                   // AT_NULL
 *              cmp  x12, 8                    // AT_FLAGS
 *              b.ne 2b
 *              stur x10, [x11, -8]
 *     3:       adr  x16, entry
 *              ldr  x17, distance
 *              add  x16, x16, x17
 *              br   x16
 *     distance: .quad
 */
const stubAarch64 =
  "e90300aa000080d2e10080d2020080d2ff4300d1e3030091a82080d2010000d4eb0300aae00309aaea33c1a86b0100b5" +
  "eb0340f9eb6f2b8b6b4100916c8540f8ecffffb56c0541f88c0000b49f2100f1a1ffff546a811ff8" +
  "50fdff10710000581002118b00021fd6";

const ELF_MAGIC = 0x464c457f;
const ELFCLASS64 = 2;
const MACHINES: Record<Arch, number> = { "x86-64": 62, aarch64: 183 };
const PT_LOAD = 1;
const PT_NOTE = 4;
const PF_R_X = 5;
const HEADER_SIZE = 56;

interface Segment {
  at: number;
  type: number;
  end: number;
  align: number;
}

/**
 * The ELF executable `file` with the stub at its entry.
 *
 * @throws Error when the file is not laid out as expected: better no program than one that cannot start.
 */
export function addEntryStub(file: Uint8Array, arch: Arch): Uint8Array {
  const segments = readSegments(file, arch);
  const note = segments.at(-1);
  if (note?.type !== PT_NOTE) throw new Error("cannot add an entry stub: the last program header is not a PT_NOTE");
  const loads = segments.filter((segment) => segment.type === PT_LOAD);
  const align = Math.max(...loads.map((segment) => segment.align));
  if (loads.length === 0 || align < 4096) throw new Error("cannot add an entry stub: no aligned PT_LOAD");
  const address = roundUp(Math.max(...loads.map((segment) => segment.end)), align);
  const offset = roundUp(file.length, align);
  const stub = stubFor(arch, readNumber(file, 24) - address);

  const result = new Uint8Array(offset + stub.length);
  result.set(file);
  result.set(stub, offset);
  const view = new DataView(result.buffer);
  view.setBigUint64(24, BigInt(address), true);
  view.setUint32(note.at, PT_LOAD, true);
  view.setUint32(note.at + 4, PF_R_X, true);
  const words = [offset, address, address, stub.length, stub.length, align];
  words.map((word, i) => view.setBigUint64(note.at + 8 + 8 * i, BigInt(word), true));
  return result;
}

/** The stub without the distance at its end, in hexadecimal. */
export function stubCode(arch: Arch): string {
  return arch === "x86-64" ? stubX86_64 : stubAarch64;
}

function stubFor(arch: Arch, distance: number): Uint8Array {
  const code = Buffer.from(stubCode(arch), "hex");
  const stub = new Uint8Array(code.length + 8);
  stub.set(code);
  new DataView(stub.buffer).setBigInt64(code.length, BigInt(distance), true);
  return stub;
}

/** The program headers, in order (elf(5)). */
function readSegments(file: Uint8Array, arch: Arch): Segment[] {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const isElf64 = file.length >= 64 && view.getUint32(0, true) === ELF_MAGIC && file[4] === ELFCLASS64;
  if (!isElf64 || view.getUint16(18, true) !== MACHINES[arch]) {
    throw new Error(`cannot add an entry stub: not a 64-bit ELF file for ${arch}`);
  }
  if (view.getUint16(54, true) !== HEADER_SIZE) throw new Error("cannot add an entry stub: odd program headers");
  const first = readNumber(file, 32);
  return Array.from({ length: view.getUint16(56, true) }, (_, i) => {
    const at = first + i * HEADER_SIZE;
    const end = readNumber(file, at + 16) + readNumber(file, at + 40);
    return { at, type: view.getUint32(at, true), end, align: readNumber(file, at + 48) };
  });
}

/** The 64-bit number at `at`. */
function readNumber(file: Uint8Array, at: number): number {
  return Number(new DataView(file.buffer, file.byteOffset).getBigUint64(at, true));
}

function roundUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}
