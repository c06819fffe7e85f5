/** Entries of the auxiliary vector (getauxval(3), <elf.h>). */

/** 0 from every kernel: the program's entry leaves the caller's limit of open files in it, see scripts/program/entry-stub.ts. */
export const AT_FLAGS = 8;

/** tsrun's own, in a program that is to be frozen: the address of the machine code that stops it, see kernel/warm-start.ts. */
export const AT_FREEZE = 0x7473;
