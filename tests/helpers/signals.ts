/**
 * /proc/<pid>/status without signals 32 and 33 among the ignored ones. They belong to libc: a caller that was started with
 * posix_spawn(3) may have them ignored, and Go, which never touches them, hands that on.
 */
export function withoutLibcSignals(status: string): string {
  const LIBC_SIGNALS = 0b11n << 31n;
  return status.replace(/^(SigIgn:\t)([0-9a-f]+)$/m, (_, name: string, mask: string) => {
    return name + (BigInt(`0x${mask}`) & ~LIBC_SIGNALS).toString(16).padStart(16, "0");
  });
}
