/**
 * Machine code that starts a program of which the memory has been kept (see freeze.ts), for x86-64. It has three ways:
 *
 * - warm: it maps the memory, reads what this command is known to run and makes its own what it is known to write, becomes what
 *   the process was that had the memory, and returns from the function at which that one was stopped, `freeze`. Nothing of the dynamic loader, libc's and Bun's start is run again. The caller of `freeze` gets
 *   the address of argc, argv, envp and the auxiliary vector (as the kernel lays them out).
 * - cold: it loads the program's dynamic loader, as the kernel does for a program that names one. Where the processor lacks
 *   what that had on which the memory was made (libc has chosen its functions by it), where memory or /proc/self/exe
 *   are not to be had, where one of the descriptors 0, 1 and 2 is closed (Bun's start opens /dev/null), and where the
 *   environment has BUN_COLD.
 * - freezing, in a program that is to be frozen: cold, but with its memory, its stack too, where no other process has any:
 *   the kernel begins at a place near the top that it chooses at random among up to 16 TiB (vm.mmap_rnd_bits), and goes down
 *   from there, so what it makes below a barrier of 32 TiB is out of its reach. And without the kernel's vDSO, which is
 *   elsewhere in every process; the auxiliary vector has the address of `freeze` instead, under AT_FREEZE.
 */
import { AT_FREEZE } from "../../src/abi/auxv.ts";

/**
 * Whatever starts a program leaves rsp for it; the other registers are free, and r14 keeps it.
 *
 *     entry:   mov  r14, rsp
 *              mov  rax, 0xfffffffe1affeb07   # signals that wait, see entry-stub.ts
 *              push rax
 *              xor  edi, edi                  # SIG_BLOCK
 *              mov  rsi, rsp
 *              xor  edx, edx                  # the mask so far is not needed
 *              push 8                         # bytes
 *              pop  r10
 *              push 14                        # rt_sigprocmask
 *              pop  rax
 *              syscall
 *              mov  r13, [rip+words+COUNT]
 *              test r13, r13
 *              jz   cold
 *              mov  rdx, [r14]
 *              lea  rdx, [r14+rdx*8+16]       # envp
 *              mov  rcx, 0x444c4f435f4e5542   # BUN_COLD
 *     1:       mov  rax, [rdx]
 *              add  rdx, 8
 *              test rax, rax
 *              jz   2f
 *              cmp  [rax], rcx
 *              jne  1b
 *              jmp  cold
 *     2:       call kind
 *              not  r8
 *              test r8, [rip+words+KIND]      # something that is not here
 *              jnz  cold
 *              not  r9
 *              test r9, [rip+words+KIND+8]
 *              jnz  cold
 *              not  r10
 *              test r10, [rip+words+KIND+16]
 *              jnz  cold
 *              lea  rdi, [rip+self]
 *              call open
 *              test eax, eax
 *              js   cold
 *              cmp  eax, 3                    # a standard descriptor is closed
 *              jb   4f
 *              lea  rbx, [rip+words+TABLE]
 *     1:       mov  rdi, [rbx]                # address
 *              mov  rsi, [rbx+8]              # length
 *              mov  edx, [rbx+16]             # PROT_…
 *              mov  r10d, [rbx+20]            # MAP_…
 *              mov  r8, r12
 *              mov  r9, [rbx+24]              # offset
 *              push 9                         # mmap
 *              pop  rax
 *              syscall
 *              cmp  rax, [rbx]
 *              jne  2f
 *              cmp  byte ptr [rbx+20], 0x12   # MAP_PRIVATE | MAP_FIXED: memory that is in the file
 *              jne  3f
 *              mov  rdi, [rbx]
 *              mov  rsi, [rbx+8]
 *              cmp  rsi, LARGE
 *              jb   3f
 *              push 14                        # MADV_HUGEPAGE: read by large pieces, there is less to map then
 *              pop  rdx
 *              push 28                        # madvise; what it returns does not matter
 *              pop  rax
 *              syscall
 *     3:       add  rbx, 32
 *              dec  r13
 *              jnz  1b
 *              call close
 *              mov  rdi, [rip+words+CODE]
 *              mov  rsi, [rip+words+CODE+8]
 *              push 14                        # MADV_HUGEPAGE
 *              pop  rdx
 *              push 28                        # madvise; what it returns does not matter
 *              pop  rax
 *              syscall
 *              lea  rdx, [r14+8]              # argv
 *     7:       mov  rbx, [rip+words+LISTS]    # the first is for command lines that have none of their own
 *              add  rdx, 8
 *              mov  rcx, [rdx]
 *              test rcx, rcx
 *              jz   9f
 *              mov  rcx, [rcx]
 *     8:       add  rbx, 32
 *              mov  rax, [rbx+8]              # which bytes a name has
 *              test rax, rax
 *              jz   7b
 *              and  rax, rcx
 *              cmp  rax, [rbx]
 *              jne  8b
 *     9:       mov  r13, [rbx+24]             # how many pieces
 *              mov  rbx, [rbx+16]             # where they are
 *              jmp  11f
 *     10:      mov  rdi, [rbx]                # address, and how many pages
 *              mov  esi, edi
 *              and  rdi, -4096
 *              and  esi, 4095
 *              jz   12f
 *              shl  esi, 12
 *              push 23                        # MADV_POPULATE_WRITE
 *              pop  rdx
 *              push 28                        # madvise; what it returns does not matter
 *              pop  rax
 *              syscall
 *              jmp  13f
 *     12:      mov  al, [rdi]                 # no pages: only read, of what is not written to
 *     13:      add  rbx, 8
 *              dec  r13
 *     11:      test r13, r13
 *              jnz  10b
 *              xor  eax, eax                  # no signals in sa_mask, no sa_restorer, no sa_flags
 *              push rax
 *              push rax
 *              push rax
 *              push 1                         # SIG_IGN
 *              push 13                        # SIGPIPE
 *              pop  rdi
 *              call action
 *              push 25                        # SIGXFSZ
 *              pop  rdi
 *              call action
 *              mov  eax, 186                  # gettid
 *              syscall
 *              mov  rcx, [rip+words+TID]      # where libc keeps it
 *              mov  [rcx], eax
 *              mov  rax, [r14]
 *              lea  rax, [r14+rax*8+16]       # envp
 *              mov  rcx, [rip+words+ENVIRON]
 *              mov  [rcx], rax
 *              mov  rsp, [rip+words+STACK]
 *              pop  rsi                       # what `freeze` has pushed
 *              mov  edi, 0x1002               # ARCH_SET_FS
 *              mov  eax, 158                  # arch_prctl
 *              syscall
 *              add  rsp, 24
 *              mov  rax, r14
 *              pop  r15
 *              pop  r14
 *              pop  r13
 *              pop  r12
 *              pop  rbp
 *              pop  rbx
 *              ret
 *     2:       mov  rax, [rip+words+CODE]     # over the program's own segments, the last ones: too late
 *              add  rax, [rip+words+CODE+8]
 *              cmp  [rbx], rax
 *              jb   fail
 *     4:       call close
 *              jmp  cold
 *     action:  mov  rsi, rsp
 *              add  rsi, 8                    # below is where to return to
 *              xor  edx, edx                  # the action so far is not needed
 *              push 8
 *              pop  r10
 *              push 13                        # rt_sigaction
 *              pop  rax
 *              syscall
 *              ret
 *     open:    mov  rsi, rdi
 *              mov  edi, -100                 # AT_FDCWD
 *              mov  edx, 0x80000              # O_RDONLY | O_CLOEXEC
 *              mov  eax, 257                  # openat
 *              syscall
 *              mov  r12, rax
 *              ret
 *     close:   mov  rdi, r12
 *              push 3
 *              pop  rax
 *              syscall
 *              ret
 *     kind:    push 1                         # r8, r9, r10: what the processor has, and the kernel lets it do
 *              pop  rax
 *              cpuid
 *              mov  r8d, ecx
 *              push 7
 *              pop  rax
 *              xor  ecx, ecx
 *              cpuid
 *              mov  r9d, ebx
 *              shl  r9, 32
 *              or   r9, rcx
 *              mov  r10d, edx
 *              shl  r10, 32
 *              xor  ecx, ecx
 *              xgetbv
 *              mov  eax, eax
 *              or   r10, rax
 *              ret
 *     fail:    push 2
 *              pop  rdi
 *              lea  rsi, [rip+says]
 *              push SAYS
 *              pop  rdx
 *              push 1                         # write
 *              pop  rax
 *              syscall
 *              push 127
 *              pop  rdi
 *              mov  eax, 231                  # exit_group
 *              syscall
 *     freeze:  push rbx
 *              push rbp
 *              push r12
 *              push r13
 *              push r14
 *              push r15
 *              call kind
 *              push r8
 *              push r9
 *              push r10
 *              push rax
 *              mov  rsi, rsp
 *              mov  edi, 0x1003               # ARCH_GET_FS
 *              mov  eax, 158                  # arch_prctl
 *              syscall
 *     1:       push 34                        # pause, until freeze.ts has read all
 *              pop  rax
 *              syscall
 *              jmp  1b
 *     cold:    cmp  qword ptr [rip+words+FREEZES], 0
 *              je   6f
 *              xor  edi, edi
 *              mov  rsi, BARRIER
 *              xor  edx, edx                  # PROT_NONE
 *              mov  r10d, 0x4022              # MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
 *              mov  r8, -1
 *              xor  r9d, r9d
 *              push 9                         # mmap: all that comes later is below
 *              pop  rax
 *              syscall
 *              test rax, rax
 *              js   fail
 *              xor  edi, edi
 *              mov  esi, 0x800000             # a stack
 *              mov  edx, 3                    # PROT_READ | PROT_WRITE
 *              mov  r10d, 0x4022              # MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
 *              mov  r8, -1
 *              xor  r9d, r9d
 *              push 9                         # mmap
 *              pop  rax
 *              syscall
 *              test rax, rax
 *              js   fail
 *              lea  rbx, [rax+rsi]
 *              mov  rdx, [r14]
 *              lea  rdx, [r14+rdx*8+16]
 *     1:       add  rdx, 8                    # environment
 *              cmp  qword ptr [rdx-8], 0
 *              jne  1b
 *     2:       add  rdx, 16                   # auxiliary vector
 *              cmp  qword ptr [rdx-16], 31    # AT_EXECFN: the last there is, but for eight bytes
 *              jne  2b
 *              mov  rdi, [rdx-8]
 *              mov  rcx, -1
 *              xor  eax, eax
 *              repne scasb
 *              lea  r13, [rdi+8]              # the end
 *              sub  rbx, r13                  # how far all of it goes
 *              mov  rsi, r14
 *              lea  rdi, [r14+rbx]
 *              mov  rcx, r13
 *              sub  rcx, r14
 *              mov  rsp, rdi
 *              rep  movsb
 *              lea  rdx, [rsp+8]
 *              push 2                         # argv and envp
 *              pop  rcx
 *     3:       mov  rax, [rdx]
 *              add  rdx, 8
 *              test rax, rax
 *              jz   4f
 *              add  [rdx-8], rbx
 *              jmp  3b
 *     4:       loop 3b
 *     5:       mov  rax, [rdx]
 *              add  rdx, 16
 *              cmp  rax, 33                   # AT_SYSINFO_EHDR, the vDSO
 *              jne  1f
 *              mov  qword ptr [rdx-16], AT_FREEZE
 *              lea  rcx, [rip+freeze]
 *              mov  [rdx-8], rcx
 *     1:       mov  rcx, [rdx-8]              # a pointer into what has gone?
 *              cmp  rcx, r14
 *              jb   2f
 *              cmp  rcx, r13
 *              jae  2f
 *              add  [rdx-8], rbx
 *     2:       test rax, rax                  # AT_NULL
 *              jnz  5b
 *              mov  r14, rsp
 *     6:       mov  rdi, [rip+words+LOADER]
 *              call open
 *              test eax, eax
 *              js   fail
 *              mov  rsp, r14
 *              sub  rsp, 2048
 *              mov  rdi, r12
 *              mov  rsi, rsp
 *              mov  edx, 2048                 # the ELF header and those of the program
 *              xor  eax, eax                  # read
 *              syscall
 *              mov  rbx, rsp
 *              add  rbx, [rsp+32]             # e_phoff
 *              movzx ecx, word ptr [rsp+56]   # e_phnum
 *              mov  rdx, rbx
 *     1:       cmp  dword ptr [rdx], 1        # PT_LOAD, in ascending order
 *              jne  2f
 *              mov  rsi, [rdx+16]             # p_vaddr
 *              add  rsi, [rdx+40]             # p_memsz
 *     2:       add  rdx, 56
 *              loop 1b
 *              xor  edi, edi
 *              xor  edx, edx                  # PROT_NONE
 *              push 0x22                      # MAP_PRIVATE | MAP_ANONYMOUS
 *              pop  r10
 *              mov  r8, -1
 *              xor  r9d, r9d
 *              push 9                         # mmap
 *              pop  rax
 *              syscall
 *              test rax, rax
 *              js   fail
 *              mov  rbp, rax                  # where the loader is
 *              movzx r13d, word ptr [rsp+56]
 *     3:       cmp  dword ptr [rbx], 1
 *              jne  5f
 *              mov  rdi, [rbx+16]
 *              mov  ecx, edi
 *              and  ecx, 4095                 # into the page
 *              sub  rdi, rcx
 *              add  rdi, rbp
 *              mov  rsi, [rbx+32]             # p_filesz
 *              add  rsi, rcx
 *              mov  r9, [rbx+8]               # p_offset
 *              sub  r9, rcx
 *              mov  eax, [rbx+4]              # PF_X, PF_W, PF_R are 1, 2, 4 …
 *              mov  edx, eax
 *              and  edx, 2                    # … PROT_WRITE is 2 …
 *              bt   eax, 0
 *              jnc  1f
 *              or   edx, 4                    # … PROT_EXEC 4 …
 *     1:       bt   eax, 2
 *              jnc  2f
 *              or   edx, 1                    # … and PROT_READ 1
 *     2:       push 0x12                      # MAP_PRIVATE | MAP_FIXED
 *              pop  r10
 *              mov  r8, r12
 *              push 9                         # mmap
 *              pop  rax
 *              syscall
 *              test rax, rax
 *              js   fail
 *              mov  rcx, [rbx+40]
 *              sub  rcx, [rbx+32]
 *              jz   5f                        # nothing that is not in the file
 *              mov  rdi, [rbx+16]
 *              add  rdi, [rbx+32]
 *              add  rdi, rbp
 *              mov  r9, rdi
 *              add  r9, rcx                   # the end
 *              mov  rcx, rdi
 *              neg  rcx
 *              and  ecx, 4095                 # to the end of the page
 *              xor  eax, eax
 *              rep  stosb
 *              mov  rsi, r9
 *              sub  rsi, rdi
 *              jbe  5f
 *              push 0x32                      # MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS
 *              pop  r10
 *              mov  r8, -1
 *              xor  r9d, r9d
 *              push 9                         # mmap
 *              pop  rax
 *              syscall
 *              test rax, rax
 *              js   fail
 *     5:       add  rbx, 56
 *              dec  r13d
 *              jnz  3b
 *              call close
 *              mov  rbx, [rsp+24]             # e_entry
 *              add  rbx, rbp
 *              mov  rsp, r14
 *              mov  rdx, [rsp]
 *              lea  rdx, [rsp+rdx*8+16]
 *     1:       add  rdx, 8
 *              cmp  qword ptr [rdx-8], 0
 *              jne  1b
 *     2:       mov  rax, [rdx]                # what the kernel would have said
 *              cmp  eax, 9                    # AT_ENTRY
 *              jne  3f
 *              mov  rcx, [rip+words+GOES_TO]
 *              mov  [rdx+8], rcx
 *     3:       cmp  eax, 3                    # AT_PHDR
 *              jne  4f
 *              mov  rcx, [rip+words+HEADERS]
 *              mov  [rdx+8], rcx
 *     4:       cmp  eax, 7                    # AT_BASE
 *              jne  5f
 *              mov  [rdx+8], rbp
 *     5:       add  rdx, 16
 *              test eax, eax                  # AT_NULL
 *              jnz  2b
 *              xor  edx, edx                  # nothing to call at exit
 *              jmp  rbx
 *     self:    .asciz "/proc/self/exe"
 *     says:    .ascii "tsrun: cannot start: its memory or its dynamic loader cannot be mapped\n"
 *              .balign 8
 *     words:
 */
const codeX86_64 =
  "4989e648b807ebff1afeffffff5031ff4889e631d26a08415a6a0e580f054c8b2d5b0500004d85ed0f847102" +
  "0000498b16498d54d61048b942554e5f434f4c44488b024883c2084885c0740a48390875efe949020000e8d1" +
  "01000049f7d04c8505230500000f853402000049f7d14c850d1b0500000f852402000049f7d24c8515130500" +
  "000f8514020000488d3d96040000e87401000085c00f880002000083f8030f8246010000488d1d4105000048" +
  "8b3b488b73088b5310448b53144d89e04c8b4b186a09580f05483b030f8509010000807b14127518488b3b48" +
  "8b73084881fe0000040072086a0e5a6a1c580f054883c32049ffcd75b6e825010000488b3d9b040000488b35" +
  "9c0400006a0e5a6a1c580f05498d5608488b1dc90400004883c208488b0a4885c97418488b094883c320488b" +
  "43084885c074dd4821c8483b0375eb4c8b6b18488b5b10eb2a488b3b89fe4881e700f0ffff81e6ff0f000074" +
  "0dc1e60c6a175a6a1c580f05eb028a074883c30849ffcd4d85ed75d131c05050506a016a0d5fe86d0000006a" +
  "195fe865000000b8ba0000000f05488b0d0f0400008901498b06498d44c610488b0d06040000488901488b25" +
  "040400005ebf02100000b89e0000000f054883c4184c89f0415f415e415d415c5d5bc3488b05be0300004803" +
  "05bf0300004839037269e830000000e9a70000004889e64883c60831d26a08415a6a0d580f05c34889febf9c" +
  "ffffffba00000800b8010100000f054989c4c34c89e76a03580f05c36a01580fa24189c86a075831c90fa241" +
  "89d949c1e1204909c94189d249c1e22031c90f01d089c04909c2c36a025f488d35d60200006a475a6a01580f" +
  "056a7f5fb8e70000000f0553554154415541564157e8aaffffff415041514152504889e6bf03100000b89e00" +
  "00000f056a22580f05ebf948833d21030000000f84f200000031ff48be001000000020000031d241ba224000" +
  "0049c7c0ffffffff4531c96a09580f054885c0788231ffbe00008000ba0300000041ba2240000049c7c0ffff" +
  "ffff4531c96a09580f054885c00f8858ffffff488d1c30498b16498d54d6104883c20848837af80075f54883" +
  "c21048837af01f75f5488b7af848c7c1ffffffff31c0f2ae4c8d6f084c29eb4c89f6498d3c1e4c89e94c29f1" +
  "4889fcf3a4488d5424086a0259488b024883c2084885c0740648015af8ebeee2ec488b024883c2104883f821" +
  "751348c742f073740000488d0df2feffff48894af8488b4af84c39f172094c39e9730448015af84885c075c9" +
  "4989e6488b3d2a020000e860feffff85c00f88a4feffff4c89f44881ec000800004c89e74889e6ba00080000" +
  "31c00f054889e348035c24200fb74c24384889da833a017508488b7210480372284883c238e2ed31ff31d26a" +
  "22415a49c7c0ffffffff4531c96a09580f054885c00f8848feffff4889c5440fb76c2438833b010f859e0000" +
  "00488b7b1089f981e1ff0f00004829cf4801ef488b73204801ce4c8b4b084929c98b430489c283e2020fbae0" +
  "00730383ca040fbae002730383ca016a12415a4d89e06a09580f054885c00f88e7fdffff488b4b28482b4b20" +
  "7445488b7b1048037b204801ef4989f94901c94889f948f7d981e1ff0f000031c0f3aa4c89ce4829fe761c6a" +
  "32415a49c7c0ffffffff4531c96a09580f054885c00f8898fdffff4883c33841ffcd0f854cffffffe852fdff" +
  "ff488b5c24184801eb4c89f4488b1424488d54d4104883c20848837af80075f5488b0283f809750b488b0dd9" +
  "00000048894a0883f803750b488b0dd100000048894a0883f807750448896a084883c21085c075cc31d2ffe3" +
  "2f70726f632f73656c662f65786500747372756e3a2063616e6e6f742073746172743a20697473206d656d6f" +
  "7279206f72206974732064796e616d6963206c6f616465722063616e6e6f74206265206d61707065640a6690";

/** Addresses that are nobody's in a program that is frozen. Not of whole huge pages, for which the kernel would leave a gap above. */
export const BARRIER_SIZE = 2 ** 45 + 4096;

/** Names that the listing uses; words are places behind its end. */
export const NAMES = {
  COUNT: 0,
  KIND: 8,
  CODE: 32,
  TID: 48,
  ENVIRON: 56,
  STACK: 64,
  FREEZES: 72,
  LOADER: 80,
  GOES_TO: 88,
  HEADERS: 96,
  LISTS: 104,
  TABLE: 112,
  SAYS: 71,
  LARGE: 262144,
  BARRIER: BARRIER_SIZE,
  AT_FREEZE,
};

/** The machine code alone, in hexadecimal. */
export function startCode(): string {
  return codeX86_64;
}
