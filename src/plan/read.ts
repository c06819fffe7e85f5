import { addAll, type Program, program, type Slot, type SlotTable, slot, socket, space } from "./step.ts";

/** What one reading can bring. */
export const READ_LIMIT = 4096;
/** Odd, so that the message cannot be taken for a reply, which is a number of 8-byte slots. */
export const READ_MESSAGE = READ_LIMIT + 1;

/**
 * A program that reads from a descriptor of the agent, at `offset` or where it stands, and sends what it has read ahead
 * of its reply. `count` is how much that was, or a negative errno.
 */
export function planRead(slots: SlotTable, fd: Slot, offset?: number): { reading: Program; count: Slot } {
  const reading = program("read");
  const count = slot(slots, "bytes read");
  const room = space(READ_MESSAGE);
  const what = `read ${fd.name}`;
  addAll(reading, [
    {
      call: offset === undefined ? "read" : "pread64",
      args: offset === undefined ? [fd, room, READ_LIMIT] : [fd, room, READ_LIMIT, offset],
      into: count,
      tolerate: ["ENODATA", "EINVAL", "EBADF", "EIO", "EISDIR", "EAGAIN"],
      what,
    },
    { call: "write", args: [socket, room, READ_MESSAGE], what: "send what was read" },
  ]);
  return { reading, count };
}
