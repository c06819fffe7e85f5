/**
 * Gives a compiled tsrun an entry point that runs before Bun does. Bun raises the soft limit of open files to the hard
 * limit before the first line of JavaScript, and a container must get the limit that the caller had: the stub below
 * asks for it with prlimit(2), leaves it in the auxiliary vector under AT_FLAGS, which is 0 and unused, and goes on to
 * the real entry point. `auxiliaryValue(AT_FLAGS)` then reads it; 0 means that the program was not built this way.
 * The environment changes on the way, see OPTIONS.
 *
 * It asks the kernel to read the program into huge pages (madvise(2), MADV_HUGEPAGE): a fifth of the processor time of a short
 * command went into mapping some 4,000 pages of Bun, one by one, and unmapping them. A file system with large folios (XFS, ext4
 * since Linux 6.16) then maps 2 MiB at once, if file and memory are laid out alike, see `alignToHugePages`. What the
 * page cache holds already stays as it is, so `make build` and `make install` drop what they wrote from it.
 *
 * It also makes the signals wait that tsrun may have to pass on: Bun has a thread before the first line of JavaScript, and
 * the kernel gives a signal to any thread that does not block it. A thread inherits the mask of its maker. See
 * src/terminal/foreground.ts, whose mask this is (0xfffffffe1affeb07, all but OWN_SIGNALS).
 *
 * In the file: the last program header, a PT_NOTE that only holds a build id, becomes a PT_LOAD of a page at the end.
 */
import type { Arch } from "../src/abi/syscalls.ts";

/**
 * The options that every environment gets. Most functions of tsrun run once: compiling them, on another processor that
 * may be busy, costs more than it gains (measured: 10 of 25 ms user time of `tsrun run`). And a thread that makes memory
 * ready for objects that are never made costs 200 page faults (a twentieth of the processor time of `tsrun run`). What else
 * begins with BUN_ is taken away: BUN_OPTIONS would load a file that the caller names, BUN_BE_BUN would make tsrun a
 * general Bun.
 */
const OPTIONS = ["BUN_JSC_useBaselineJIT=0", "BUN_JSC_useWarmUpMarkedBlocks=0"];

/** Of an option in the stub, with the NULs at its end. */
const OPTION_SIZE = 32;

/**
 * 222 bytes, then 8 each for the distance to the real entry point, the address of libc's `environ`, the address of the
 * program and its length, and the options.
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
 *              mov  rdi, [rip+distance+16]    # the program
 *              mov  rsi, [rip+distance+24]    # its length
 *              push 14                        # MADV_HUGEPAGE
 *              pop  rdx
 *              push 28                        # madvise; what it returns does not matter
 *              pop  rax
 *              syscall
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
 *     1:       lea  r9, [rip+distance+32]     # the first option
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
 *              add  r9, 32                    # the second option
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
  "4989d048b807ebff1afeffffff5031ff4889e631d26a08415a6a0e580f0558488b3dc8000000488b35c90000" +
  "006a0e5a6a1c580f056a075e31ff31d24883ec104989e2b82e0100000f05595e85c0740231c94c8d0da50000" +
  "004889e64883ec104889e7488b164883c202488b064889074883c6084883c70848ffca75ed488b0562000000" +
  "488938488b064885c074184883c608813842554e5f75034c89c84889074883c708ebe04c890f4983c1204c89" +
  "4f08488b46084885c074104883f80874064883c610ebeb48894e104c89c2488d052bffffff48030502000000" +
  "ffe0";

/**
 * 240 bytes, then the same five. Whatever starts a program leaves x0 and sp for it.
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
 *              ldr  x0, distance+16           // the program
 *              ldr  x1, distance+24           // its length
 *              mov  x2, 14                    // MADV_HUGEPAGE
 *              mov  x8, 233                   // madvise; what it returns does not matter
 *              svc  0
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
 *     1:       adr  x13, distance+32          // the first option
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
 *     4:       add  x12, x13, 32              // the second option
 *              stp  x13, x12, [x15]           // so do the two words in front of envp's NULL
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
  "ff43009180060058a1060058c20180d2281d80d2010000d4000080d2e10080d2020080d2ff4300d1e3030091" +
  "a82080d2010000d4ea33c1a8400000b40a0080d22d050010ee030091ff4300d1ef030091cb0140f96b090091" +
  "cc8540f8ec8500f86b0500f1a1ffff542c0300588f0100f951a88a52d1e9ab72cc8540f8cc0000b4900140b9" +
  "1f02116bac018c9aec8500f8faffff17ac810091ed3100a9cc0541f88c0000b49f2100f1a1ffff54ca811ff8" +
  "e00309aa10f9ff10710000581002118b00021fd6";

const ELF_MAGIC = 0x464c457f;
const ELFCLASS64 = 2;
const MACHINES: Record<Arch, number> = { "x86-64": 62, aarch64: 183 };
const PT_LOAD = 1;
const PT_NOTE = 4;
const PF_W = 2;
const PF_R_X = 5;
const HEADER_SIZE = 56;
const SECTION_SIZE = 64;
const HUGE_PAGE = 2 ** 21;

interface Segment {
  at: number;
  type: number;
  flags: number;
  address: number;
  end: number;
  align: number;
}

/**
 * The ELF executable `original` with the stub at its entry.
 *
 * @throws Error when the file is not laid out as expected: better no program than one that cannot start.
 */
export function addEntryStub(original: Uint8Array, arch: Arch): Uint8Array {
  const note = readSegments(original, arch).at(-1);
  if (note?.type !== PT_NOTE) throw new Error("cannot add an entry stub: the last program header is not a PT_NOTE");
  const file = alignToHugePages(original, arch);
  const loads = loadedSegments(file, arch);
  const align = Math.max(...loads.map((segment) => segment.align));
  if (loads.length === 0 || align < 4096) throw new Error("cannot add an entry stub: no aligned PT_LOAD");
  const start = loads[0]!.address - (loads[0]!.address % align);
  const address = roundUp(Math.max(...loads.map((segment) => segment.end)), align);
  const offset = roundUp(file.length, align);
  const stub = stubFor(arch, [readNumber(file, 24) - address, addressOfEnviron(file), start, address - start]);

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

/**
 * `file` with a gap before its code (and whatever else is not written to), so that a huge page of memory is one of the
 * file: less than 2 MiB of zeros each. What is written to is copied page by page anyway.
 */
function alignToHugePages(file: Uint8Array, arch: Arch): Uint8Array {
  const shared = loadedSegments(file, arch).filter(({ flags }) => (flags & PF_W) === 0);
  return shared.reduce((result, { at }) => {
    const offset = readNumber(result, at + 8);
    const gap = (readNumber(result, at + 16) - offset) % HUGE_PAGE;
    return insertGap(result, arch, offset, (gap + HUGE_PAGE) % HUGE_PAGE);
  }, file);
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

/** The stub without the distance at its end, in hexadecimal. */
export function stubCode(arch: Arch): string {
  return arch === "x86-64" ? stubX86_64 : stubAarch64;
}

function stubFor(arch: Arch, numbers: number[]): Uint8Array {
  const code = Buffer.from(stubCode(arch), "hex");
  const words = Buffer.from(BigInt64Array.from(numbers, BigInt).buffer);
  const options = OPTIONS.map((option) => Buffer.from(option.padEnd(OPTION_SIZE, "\0")));
  return new Uint8Array(Buffer.concat([code, words, ...options]));
}

/**
 * Where libc keeps `environ` in this program: the dynamic loader puts the variable of a library into a program that
 * refers to it (a copy relocation), at the address that the symbol table of the program says.
 */
function addressOfEnviron(file: Uint8Array): number {
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
    const address = readNumber(file, at + 16);
    const end = address + readNumber(file, at + 40);
    const [type, flags] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    return { at, type, flags, address, end, align: readNumber(file, at + 48) };
  });
}

function loadedSegments(file: Uint8Array, arch: Arch): Segment[] {
  return readSegments(file, arch).filter(({ type }) => type === PT_LOAD);
}

/** Where the section headers are. */
function sectionsOf(file: Uint8Array): number[] {
  const count = new DataView(file.buffer, file.byteOffset).getUint16(60, true);
  return Array.from({ length: count }, (_, i) => readNumber(file, 40) + i * SECTION_SIZE);
}

/** The 64-bit number at `at`. */
function readNumber(file: Uint8Array, at: number): number {
  return Number(new DataView(file.buffer, file.byteOffset).getBigUint64(at, true));
}

function roundUp(value: number, align: number): number {
  return Math.ceil(value / align) * align;
}
