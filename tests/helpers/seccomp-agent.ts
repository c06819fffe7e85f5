import { dlopen, FFIType, ptr } from "bun:ffi";

const libc = dlopen("libc.so.6", {
  ioctl: { args: [FFIType.i32, FFIType.u64, FFIType.ptr], returns: FFIType.i32 },
  close: { args: [FFIType.i32], returns: FFIType.i32 },
}).symbols;

/** Linux uapi/linux/seccomp.h. */
const SECCOMP_IOCTL_NOTIF_RECV = 0xc0502100n;
const SECCOMP_IOCTL_NOTIF_SEND = 0xc0182101n;
const SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1;
/** struct seccomp_notif: u64 id, u32 pid, u32 flags, struct seccomp_data. */
const NOTIF_SIZE = 80;
const NOTIF_PID = 8;
const NOTIF_NUMBER = 16;
/** struct seccomp_notif_resp: u64 id, s64 value, s32 error, u32 flags. */
const RESPONSE_SIZE = 24;

/**
 * Waits for one call that the filter asks about; returns its number, who makes it and how to answer. A signal to the
 * caller takes its question back (ENOENT), and it asks again.
 */
export function nextCall(listener: number) {
  const notification = new DataView(new ArrayBuffer(NOTIF_SIZE));
  const receive = () => libc.ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, ptr(notification));
  let tries = 100;
  while (receive() < 0) if (--tries === 0) throw new Error("no notification");
  const answer = (error: number, flags: number) => {
    const response = new DataView(new ArrayBuffer(RESPONSE_SIZE));
    response.setBigUint64(0, notification.getBigUint64(0, true), true);
    response.setInt32(16, -error, true);
    response.setUint32(20, flags, true);
    if (libc.ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, ptr(response)) < 0) throw new Error("cannot answer");
  };
  return {
    number: notification.getInt32(NOTIF_NUMBER, true),
    /** Of the process that makes the call. */
    pid: notification.getUint32(NOTIF_PID, true),
    fail: (errno: number) => answer(errno, 0),
    allow: () => answer(0, SECCOMP_USER_NOTIF_FLAG_CONTINUE),
  };
}

export function closeListener(listener: number): void {
  libc.close(listener);
}
