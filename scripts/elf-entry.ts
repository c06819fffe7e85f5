/**
 * Gives a compiled tsrun an entry point that runs before Bun does. Bun raises the soft limit of open files to the hard
 * limit before the first line of JavaScript, and a container must get the limit that the caller had: the stub below
 * asks for it with prlimit(2), leaves it in the auxiliary vector under AT_FLAGS, which is 0 and unused, and goes on to
 * the real entry point. `auxiliaryValue(AT_FLAGS)` then reads it; 0 means that the program was not built this way.
 * The environment changes on the way, see OPTION.
 *
 * It also makes the signals wait that tsrun may have to pass on: Bun has a thread before the first line of JavaScript, and
 * the kernel gives a signal to any thread that does not block it. A thread inherits the mask of its maker. See
 * src/terminal/foreground.ts, whose mask this is (0xfffffffe1affeb07, all but OWN_SIGNALS).
 *
 * In the file: the last program header, a PT_NOTE that only holds a build id, becomes a PT_LOAD of a page at the end.
 */
import type { Arch } from "../src/abi/syscalls.ts";

/**
 * The option that every environment gets. Most functions of tsrun run once: compiling them, on another processor that
 * may be busy, costs more than it gains (measured: 10 of 25 ms user time of `tsrun run`). What else begins with BUN_ is
 * taken away: BUN_OPTIONS would load a file that the caller names, BUN_BE_BUN would make tsrun a general Bun.
 */
const OPTION = "BUN_JSC_useBaselineJIT=0";

/**
 * 196 bytes, then 8 for the distance to the real entry point, 8 for the address of libc's `environ`, and the option.
 * Whatever starts a program leaves rdx and rsp for it; the other registers are free.
 *
 *     entry:   mov  r8, rdx
 *              mov  rax, 0xfffffffe1affeb07   # signals
 *              push rax
 *              xor  edi, edi                  # SIG_BLOCK
 *              mov  rsi, rsp
 *              xor  edx, edx                  # the mask so far is not needed
 *              push 8                         # bytes
 *              pop  r10
 *              push 14                        # rt_sigprocmask
 *              pop  rax
 *              syscall
 *              pop  rax
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
 *              test eax, eax
 *              jz   1f
 *              xor  ecx, ecx
 *     1:       lea  r9, [rip+distance+16]     # the option
 *              mov  rsi, rsp                  # argc, argv and envp move down by two words
 *              sub  rsp, 16
 *              mov  rdi, rsp
 *              mov  rdx, [rsi]
 *              add  rdx, 2                    # argc itself, argv and its NULL
 *     2:       mov  rax, [rsi]
 *              mov  [rdi], rax
 *              add  rsi, 8
 *              add  rdi, 8
 *              dec  rdx
 *              jnz  2b
 *              mov  rax, [rip+distance+8]     # libc has looked already: environ = envp
 *              mov  [rax], rdi
 *     3:       mov  rax, [rsi]                # envp
 *              test rax, rax
 *              jz   5f
 *              add  rsi, 8
 *              cmp  dword ptr [rax], 0x5f4e5542   # BUN_…
 *              jne  4f
 *              mov  rax, r9                   # … becomes the option
 *     4:       mov  [rdi], rax
 *              add  rdi, 8
 *              jmp  3b
 *     5:       mov  [rdi], r9                 # so do the two words in front of envp's NULL
 *              mov  [rdi+8], r9
 *     6:       mov  rax, [rsi+8]              # the auxiliary vector
 *              test rax, rax                  # AT_NULL
 *              jz   8f
 *              cmp  rax, 8                    # AT_FLAGS
 *              je   7f
 *              add  rsi, 16
 *              jmp  6b
 *     7:       mov  [rsi+16], rcx
 *     8:       mov  rdx, r8
 *              lea  rax, [rip+entry]
 *              add  rax, [rip+distance]
 *              jmp  rax
 *     distance: .quad
 */
const stubX86_64 =
  "4989d048b807ebff1afeffffff5031ff4889e631d26a08415a6a0e580f05586a075e31ff31d24883ec104989" +
  "e2b82e0100000f05595e85c0740231c94c8d0d910000004889e64883ec104889e7488b164883c202488b0648" +
  "89074883c6084883c70848ffca75ed488b055e000000488938488b064885c074184883c608813842554e5f75" +
  "034c89c84889074883c708ebe04c890f4c894f08488b46084885c074104883f80874064883c610ebeb48894e" +
  "104c89c2488d0545ffffff48030502000000ffe0";

/**
 * 216 bytes, then the same three. Whatever starts a program leaves x0 and sp for it.
 *
 *     entry:   mov  x9, x0
 *              movn x10, 0x14f8               // signals: 0xfffffffe1affeb07
 *              movk x10, 0x1aff, lsl 16
 *              movk x10, 0xfffe, lsl 32
 *              str  x10, [sp, -16]!
 *              mov  x0, 0                     // SIG_BLOCK
 *              mov  x1, sp
 *              mov  x2, 0                     // the mask so far is not needed
 *              mov  x3, 8                     // bytes
 *              mov  x8, 135                   // rt_sigprocmask
 *              svc  0
 *              add  sp, sp, 16
 *              mov  x0, 0                     // this process
 *              mov  x1, 7                     // RLIMIT_NOFILE
 *              mov  x2, 0                     // only ask
 *              sub  sp, sp, 16
 *              mov  x3, sp
 *              mov  x8, 261                   // prlimit64
 *              svc  0
 *              ldp  x10, x12, [sp], 16        // the soft limit, kept; the hard limit, not needed
 *              cbz  x0, 1f
 *              mov  x10, 0
 *     1:       adr  x13, distance+16          // the option
 *              mov  x14, sp                   // argc, argv and envp move down by two words
 *              sub  sp, sp, 16
 *              mov  x15, sp
 *              ldr  x11, [x14]
 *              add  x11, x11, 2               // argc itself, argv and its NULL
 *     2:       ldr  x12, [x14], 8
 *              str  x12, [x15], 8
 *              subs x11, x11, 1
 *              b.ne 2b
 *              ldr  x12, distance+8           // libc has looked already: environ = envp
 *              str  x15, [x12]
 *              movz w17, 0x5542
 *              movk w17, 0x5f4e, lsl 16       // BUN_…
 *     3:       ldr  x12, [x14], 8             // envp
 *              cbz  x12, 4f
 *              ldr  w16, [x12]
 *              cmp  w16, w17
 *              csel x12, x13, x12, eq         // … becomes the option
 *              str  x12, [x15], 8
 *              b    3b
 *     4:       stp  x13, x13, [x15]           // so do the two words in front of envp's NULL
 *     5:       ldr  x12, [x14], 16            // the auxiliary vector
 *              cbz  x12, 6f                   // AT_NULL
 *              cmp  x12, 8                    // AT_FLAGS
 *              b.ne 5b
 *              stur x10, [x14, -8]
 *     6:       mov  x0, x9
 *              adr  x16, entry
 *              ldr  x17, distance
 *              add  x16, x16, x17
 *              br   x16
 *     distance: .quad
 */
const stubAarch64 =
  "e90300aa0a9f8292ea5fa3f2caffdff2ea0f1ff8000080d2e1030091020080d2030180d2e81080d2010000d4" +
  "ff430091000080d2e10080d2020080d2ff4300d1e3030091a82080d2010000d4ea33c1a8400000b40a0080d2" +
  "8d040010ee030091ff4300d1ef030091cb0140f96b090091cc8540f8ec8500f86b0500f1a1ffff540c030058" +
  "8f0100f951a88a52d1e9ab72cc8540f8cc0000b4900140b91f02116bac018c9aec8500f8faffff17ed3500a9" +
  "cc0541f88c0000b49f2100f1a1ffff54ca811ff8e00309aad0f9ff10710000581002118b00021fd6";

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
  const stub = stubFor(arch, readNumber(file, 24) - address, addressOfEnviron(file));

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

function stubFor(arch: Arch, distance: number, environ: number): Uint8Array {
  const code = Buffer.from(stubCode(arch), "hex");
  const stub = new Uint8Array(code.length + 16 + OPTION.length + 1);
  stub.set(code);
  stub.set(Buffer.from(OPTION), code.length + 16);
  const view = new DataView(stub.buffer);
  view.setBigInt64(code.length, BigInt(distance), true);
  view.setBigInt64(code.length + 8, BigInt(environ), true);
  return stub;
}

/**
 * Where libc keeps `environ` in this program: the dynamic loader puts the variable of a library into a program that
 * refers to it (a copy relocation), at the address that the symbol table of the program says.
 */
function addressOfEnviron(file: Uint8Array): number {
  const SHT_DYNSYM = 11;
  const SYMBOL_SIZE = 24;
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const sections = Array.from({ length: view.getUint16(60, true) }, (_, i) => readNumber(file, 40) + i * 64);
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
