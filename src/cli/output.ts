import { errnoNumber } from "../abi/errno.ts";
import { sys } from "../kernel/kernel.ts";
import { utf8, visible } from "../text.ts";

/** Writes `text` to standard output, all of it; a reader that has gone away is no error. */
export function print(text: string): void {
  writeAll(1, utf8(text));
}

/** Control characters are shown, not sent: see visible. */
export function printError(text: string): void {
  writeAll(2, utf8(visible(text)));
}

/**
 * Waits where the descriptor is full and does not block: whoever else holds the same pipe or terminal (Node does so) may
 * have made it non-blocking.
 */
function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    const count = sys("write", fd, bytes.subarray(done), bytes.length - done);
    if (count === -errnoNumber("EAGAIN")) waitUntilWritable(fd);
    else if (count >= 0) done += count;
    else if (count !== -errnoNumber("EINTR")) return;
  }
}

/** struct pollfd: int fd, short events, short revents. */
function waitUntilWritable(fd: number): void {
  const POLLOUT = 4;
  sys("ppoll", new Int32Array([fd, POLLOUT]), 1, 0, 0, 0);
}
