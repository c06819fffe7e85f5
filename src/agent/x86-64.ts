/**
 * The agent's machine code for x86-64: 152 bytes, position-dependent, no stack frame, no libc. What it does, in the
 * order of the bytes (r14 loader, r15 current record, see layout.ts):
 *
 *     _start:  mov  r14d, LOADER
 *     reload:  mov  r15, r14
 *     loop:    mov  ebx, [r15+4]              # flags
 *              xor  ecx, ecx
 *     deref:   mov  rdi, [r15+8+rcx*8]        # argument n, …
 *              bt   ebx, ecx
 *              jnc  1f
 *              mov  rdi, [rdi]                # … or what it points to
 *     1:       push rdi
 *              inc  ecx
 *              cmp  ecx, 6
 *              jne  deref
 *              pop  r9; pop r8; pop r10; pop rdx; pop rsi; pop rdi
 *              mov  eax, [r15]
 *              syscall
 *              mov  r12, [r15+56]             # where the result goes
 *              test r12, r12
 *              jz   2f
 *              mov  [r12], rax
 *     2:       movsxd rcx, [r15+80]
 *              test rax, rax
 *              jg   advance
 *              movsxd rcx, [r15+84]
 *              jz   advance
 *              neg  rax
 *              bt   ebx, 8                    # run again on EINTR and EAGAIN?
 *              jnc  3f
 *              cmp  eax, 4;  je loop
 *              cmp  eax, 11; je loop
 *     3:       movsxd rcx, [r15+88]
 *              cmp  eax, 127
 *              ja   fail
 *              bt   qword ptr [r15+64], rax   # a bit string in memory: reaches beyond 64
 *              jnc  fail
 *     advance: add  r15, rcx
 *              jmp  loop
 *     fail:    push r15
 *              push rax
 *              mov  eax, 1                    # write(socket, {errno, record}, 16)
 *              mov  rdi, [r14+8]
 *              mov  rsi, rsp
 *              mov  edx, 16
 *              syscall
 *              pop  rcx; pop rcx
 *              test eax, eax
 *              jns  reload
 *              ud2                            # a filter forbids to write, or nobody is there: SIGILL
 */
export const machineCodeX86_64 =
  "41be001041004d89f7418b5f0431c9498b7ccf080fa3cb7303488b3f57ffc183f90675eb41594158415a" +
  "5a5e5f418b070f054d8b67384d85e474044989042449634f504885c07f2949634f54742348f7d80fbae3" +
  "08730a83f80474ad83f80b74a849634f5883f87f770c490fa3474073054901cfeb93415750b801000000" +
  "498b7e084889e6ba100000000f05595985c00f8970ffffff0f0b";
