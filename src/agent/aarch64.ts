/**
 * The agent's machine code for aarch64: 228 bytes. The same algorithm as for x86-64 (see there); the arguments are
 * loaded one by one because registers cannot be numbered at run time. x19 loader, x20 current record, w21 its flags.
 *
 *     _start:  movz w19, LOADER & 0xffff
 *              movk w19, LOADER >> 16, lsl 16
 *     reload:  mov  x20, x19
 *     loop:    ldr  w21, [x20, 4]             // flags
 *              ldr  x0, [x20, 8]              // argument 0, …
 *              tbz  w21, 0, 1f
 *              ldr  x0, [x0]                  // … or what it points to
 *     1:       ldr  x1, [x20, 16]
 *              tbz  w21, 1, 1f
 *              ldr  x1, [x1]
 *     1:       ldr  x2, [x20, 24]
 *              tbz  w21, 2, 1f
 *              ldr  x2, [x2]
 *     1:       ldr  x3, [x20, 32]
 *              tbz  w21, 3, 1f
 *              ldr  x3, [x3]
 *     1:       ldr  x4, [x20, 40]
 *              tbz  w21, 4, 1f
 *              ldr  x4, [x4]
 *     1:       ldr  x5, [x20, 48]
 *              tbz  w21, 5, 1f
 *              ldr  x5, [x5]
 *     1:       ldr  w8, [x20]
 *              svc  0
 *              ldr  x9, [x20, 56]             // where the result goes
 *              cbz  x9, 2f
 *              str  x0, [x9]
 *     2:       ldrsw x10, [x20, 80]
 *              cmp  x0, 0
 *              b.gt advance
 *              ldrsw x10, [x20, 84]
 *              b.eq advance
 *              neg  x0, x0
 *              tbz  w21, 8, 3f                // run again on EINTR and EAGAIN?
 *              cmp  x0, 4
 *              b.eq loop
 *              cmp  x0, 11
 *              b.eq loop
 *     3:       ldrsw x10, [x20, 88]
 *              cmp  x0, 127
 *              b.hi fail
 *              lsr  x11, x0, 6                // which half of the tolerated errnos
 *              add  x11, x20, x11, lsl 3
 *              ldr  x11, [x11, 64]
 *              lsr  x11, x11, x0              // modulo 64
 *              tbz  w11, 0, fail
 *     advance: add  x20, x20, x10
 *              b    loop
 *     fail:    stp  x0, x20, [sp, -16]!
 *              ldr  x0, [x19, 8]              // write(socket, {errno, record}, 16)
 *              mov  x1, sp
 *              mov  x2, 16
 *              mov  x8, 64
 *              svc  0
 *              add  sp, sp, 16
 *              tbz  w0, 31, reload
 *              udf  0                         // a filter forbids to write, or nobody is there: SIGILL
 */
export const machineCodeAarch64 =
  "130082523308a072f40313aa950640b9800640f955000036000040f9810a40f955000836210040f9820e40f955001036" +
  "420040f9831240f955001836630040f9841640f955002036840040f9851a40f955002836a50040f9880240b9010000d4" +
  "891e40f9490000b4200100f98a5280b91f0000f12c0200548a5680b9e0010054e00300cbb50040361f1000f100fcff54" +
  "1f2c00f1c0fbff548a5a80b91ffc01f1080100540bfc46d38b0e0b8b6b2140f96b25c09a6b00003694020a8bd4ffff17" +
  "e053bfa9600640f9e1030091020280d2080880d2010000d4ff43009160f9ff3600000000";
