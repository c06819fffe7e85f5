/**
 * Where things lie in the agent's memory, and how a record looks: shared by the image, the machine code and the encoder.
 * The same on every architecture. Only pages that are touched cost memory.
 */

/** The machine code: one page, read and execute. */
export const CODE = 0x400000;
/** The loader: records that wait for the next batch; filled in when the image is built. */
export const LOADER = 0x411000;
export const LOADER_SIZE = 0x400;
/** The batch that runs: records first, then the data that they point to. */
export const BATCH = 0x412000;
export const BATCH_SIZE = 0x40000;
/** What a batch of one page does not use. */
export const SPARE = { address: BATCH + 0x1000, size: BATCH_SIZE - 0x1000 };
/** Results of steps, 8 bytes each; they outlive the batch. The first three are never written, see FIRST_SLOT. */
export const SLOTS = BATCH + BATCH_SIZE;
export const SLOTS_SIZE = 0x10000;
/** Data of steps that is too long for a batch (a long environment). */
export const HEAP = SLOTS + SLOTS_SIZE;
export const HEAP_SIZE = 0x800000;
export const MEMORY_END = HEAP + HEAP_SIZE;

/** Where the loader's first record, recvfrom(2), keeps the descriptor of the socket: the machine code reports errors there. */
export const SOCKET_AT = LOADER + 8;

/**
 * A record, 96 bytes, little-endian:
 *
 *     0  u32     system call number
 *     4  u32     flags: bits 0 to 5: argument n is the address of the 64-bit value to pass;
 *                bit 8: run the record again on EINTR and EAGAIN
 *     8  6 × u64 arguments
 *    56  u64     address that the result is stored at, or 0
 *    64  u128    bit n: errno n does not stop the program
 *    80  i32     distance in bytes to the next record when the result is > 0
 *    84  i32     … when it is 0
 *    88  i32     … when it is a tolerated error
 *    92  u32     unused
 */
export const RECORD_SIZE = 96;
export const RECORD_FLAGS = 4;
export const RECORD_ARGS = 8;
export const RECORD_INTO = 56;
export const RECORD_TOLERATED = 64;
export const RECORD_ON_POSITIVE = 80;
export const RECORD_ON_ZERO = 84;
export const RECORD_ON_TOLERATED = 88;
export const FLAG_RETRY = 1 << 8;

/** The longest message: below the smallest send buffer that net.core.wmem_default is set to in practice. */
export const MESSAGE_LIMIT = 0x1e000;

/** An error report: u64 errno, u64 address of the record that failed. A reply is longer: the slots. */
export const REPORT_SIZE = 16;

/** The size of the message with so many times: odd, so that it cannot be taken for a reply. */
export function timesSize(count: number): number {
  return 16 * count + 1;
}
