/**
 * Gives a compiled tsrun an entry point that runs before Bun does. Bun raises the soft limit of open files to the hard
 * limit before the first line of JavaScript, and a container must get the limit that the caller had: the stub below
 * asks for it with prlimit(2), leaves it in the auxiliary vector under AT_FLAGS, which is 0 and unused, and goes on to
 * the real entry point. `auxiliaryValue(AT_FLAGS)` then reads it; 0 means that the program was not built this way.
 * The environment changes on the way, see OPTIONS.
 *
 * It asks the kernel to read the program into huge pages (madvise(2), MADV_HUGEPAGE): a fifth of the processor time of a short
 * command went into mapping some 4,000 pages of Bun, one by one, and unmapping them. A file system with large folios (XFS, ext4
 * since Linux 6.16) then maps 2 MiB at once, if file and memory are laid out alike, see `alignToHugePages`, and the page
 * cache has it in such pieces, see scripts/install-program.sh.
 *
 * It also makes the signals wait that tsrun may have to pass on: Bun has a thread before the first line of JavaScript, and
 * the kernel gives a signal to any thread that does not block it. A thread inherits the mask of its maker. See
 * src/terminal/foreground.ts, whose mask this is (0xfffffffe1affeb07, all but OWN_SIGNALS).
 *
 * In the file: the last program header, a PT_NOTE that only holds a build id, becomes a PT_LOAD of a page at the end.
 */
import type { Arch } from "../../src/abi/syscalls.ts";
import { addressOfEnviron, addSegment, alignToHugePages, entryOf, newSegmentAddress, programSpan } from "./elf.ts";

/**
 * The options that every environment gets. Most functions of tsrun run once: compiling them, on another processor that
 * may be busy, costs more than it gains (measured: 10 of 25 ms user time of `tsrun run`). And a thread that makes memory
 * ready for objects that are never made costs 200 page faults (a twentieth of the processor time of `tsrun run`). What else
 * begins with BUN_ is taken away: BUN_OPTIONS would load a file that the caller names, BUN_BE_BUN would make tsrun a
 * general Bun.
 */
export const OPTIONS = ["BUN_JSC_useBaselineJIT=0", "BUN_JSC_useWarmUpMarkedBlocks=0"];

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

/**
 * The ELF executable `original` with the stub at its entry.
 *
 * @throws Error when the file is not laid out as expected.
 */
export function addEntryStub(original: Uint8Array, arch: Arch): Uint8Array {
  const file = alignToHugePages(original, arch);
  return addSegment(file, arch, stubFor(file, arch, newSegmentAddress(file, arch))).file;
}

/** The machine code alone, in hexadecimal. */
export function stubCode(arch: Arch): string {
  return arch === "x86-64" ? stubX86_64 : stubAarch64;
}

/** The stub for `file`, to be at `address`. */
export function stubFor(file: Uint8Array, arch: Arch, address: number): Uint8Array {
  const code = Buffer.from(stubCode(arch), "hex");
  const { start, length } = programSpan(file, arch);
  const numbers = [entryOf(file) - address, addressOfEnviron(file), start, length];
  const words = Buffer.from(BigInt64Array.from(numbers, BigInt).buffer);
  const options = OPTIONS.map((option) => Buffer.from(option.padEnd(OPTION_SIZE, "\0")));
  return new Uint8Array(Buffer.concat([code, words, ...options]));
}
