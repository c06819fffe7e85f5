import { dlopen, FFIType, ptr } from "bun:ffi";
import { rmSync } from "node:fs";
import { slow } from "./time.ts";

const { i32, i64, u64 } = FFIType;
const libc = dlopen("libc.so.6", {
  socket: { args: [i32, i32, i32], returns: i32 },
  bind: { args: [i32, FFIType.ptr, i32], returns: i32 },
  listen: { args: [i32, i32], returns: i32 },
  accept: { args: [i32, u64, u64], returns: i32 },
  recvmsg: { args: [i32, FFIType.ptr, i32], returns: i64 },
  poll: { args: [FFIType.ptr, i32, i32], returns: i32 },
  read: { args: [i32, FFIType.ptr, i64], returns: i64 },
  write: { args: [i32, FFIType.ptr, i64], returns: i64 },
  close: { args: [i32], returns: i32 },
}).symbols;

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const POLLIN = 1;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CMSG_CLOEXEC = 0x40000000;

export interface Message {
  readonly text: string;
  /** Descriptors that came with it. */
  readonly fds: readonly number[];
}

/** A Unix socket at `path` that the runtime connects or sends to. Stays until `close`. */
export function unixSocket(path: string, kind: "stream" | "datagram") {
  if (Buffer.byteLength(path) > 107) throw new Error(`the path of a socket has at most 107 bytes: ${path}`);
  const type = kind === "stream" ? SOCK_STREAM : SOCK_DGRAM;
  const fd = checked("socket", libc.socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const address = new Uint8Array(110);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(Buffer.from(path), 2);
  checked("bind", libc.bind(fd, ptr(address), address.length));
  if (kind === "stream") checked("listen", libc.listen(fd, 5));
  return {
    /** The first message of the next connection. */
    accept(limit = 5000): Message {
      waitReadable(fd, slow(limit));
      const connection = checked("accept", libc.accept(fd, 0, 0));
      try {
        waitReadable(connection, slow(limit));
        return receive(connection);
      } finally {
        libc.close(connection);
      }
    },
    /** The next datagram. */
    receive(limit = 5000): Message {
      waitReadable(fd, slow(limit));
      return receive(fd);
    },
    close(): void {
      libc.close(fd);
      rmSync(path, { force: true });
    },
  };
}

/** A terminal's master side, as a test types at it and reads it. */
export function terminal(fd: number) {
  const buffer = new Uint8Array(65536);
  let text = "";
  return {
    fd,
    type(input: string): void {
      const bytes = Buffer.from(input);
      checked("write", Number(libc.write(fd, ptr(bytes), bytes.length)));
    },
    /** Reads until `wanted` has appeared; returns everything read so far, with \r\n as the terminal sends it. */
    readUntil(wanted: string | RegExp, limit = 5000): string {
      const end = Date.now() + slow(limit);
      const found = (): boolean => (typeof wanted === "string" ? text.includes(wanted) : wanted.test(text));
      while (!found()) {
        if (Date.now() > end) throw new Error(`waited in vain for ${wanted} on the terminal: ${JSON.stringify(text)}`);
        if (!readable(fd, 50)) continue;
        const size = Number(libc.read(fd, ptr(buffer), buffer.length));
        if (size <= 0) throw new Error(`the terminal has ended before ${wanted}: ${JSON.stringify(text)}`);
        text += Buffer.from(buffer.subarray(0, size)).toString();
      }
      return text;
    },
    close(): void {
      libc.close(fd);
    },
  };
}

export function closeDescriptor(fd: number): void {
  libc.close(fd);
}

function receive(fd: number): Message {
  const data = new Uint8Array(4096);
  const control = new Uint8Array(256);
  const iovec = new BigUint64Array([BigInt(ptr(data)), BigInt(data.length)]);
  const header = new BigUint64Array([0n, 0n, BigInt(ptr(iovec)), 1n, BigInt(ptr(control)), BigInt(control.length), 0n]);
  const size = checked("recvmsg", Number(libc.recvmsg(fd, ptr(header), MSG_CMSG_CLOEXEC)));
  return { text: Buffer.from(data.subarray(0, size)).toString(), fds: descriptors(control, Number(header[5])) };
}

/** The descriptors in a control message (cmsg(3)). */
function descriptors(control: Uint8Array, length: number): number[] {
  if (length < 16) return [];
  const view = new DataView(control.buffer);
  const end = Number(view.getBigUint64(0, true));
  if (view.getInt32(8, true) !== SOL_SOCKET || view.getInt32(12, true) !== SCM_RIGHTS) return [];
  return Array.from({ length: (end - 16) / 4 }, (_, i) => view.getInt32(16 + i * 4, true));
}

function waitReadable(fd: number, limit: number): void {
  if (!readable(fd, limit)) throw new Error(`nothing came on the socket in ${limit} ms`);
}

function readable(fd: number, limit: number): boolean {
  const poll = new Int32Array([fd, POLLIN]);
  return libc.poll(ptr(poll), 1, limit) > 0;
}

function checked(call: string, result: number): number {
  if (result < 0) throw new Error(`${call} failed in the test itself`);
  return result;
}
