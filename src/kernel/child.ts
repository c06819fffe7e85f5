import { errnoNumber } from "../abi/errno.ts";
import { MFD_CLOEXEC, MFD_NOEXEC_SEAL } from "../abi/memfd.ts";
import { textOf } from "../text.ts";
import { spawn, sys } from "./kernel.ts";
import { reap, withCallersLimit } from "./processes.ts";

/** How a child ended. */
export interface ChildEnd {
  /** 0, or the negative errno of what kept it from being started. */
  readonly started: number;
  /** As of wait4(2). */
  readonly status: number;
  /** The end of what it wrote to stdout and stderr, without space around it. */
  readonly output: string;
}

/** Runs a program on the host and waits for its end. */
export type RunChild = (path: string, argv: readonly string[]) => ChildEnd;

/** As much as belongs into an error message. */
const OUTPUT_TAIL = 1024;

/**
 * Runs a program of the host that changes something for tsrun, such as newuidmap(1), with an empty environment. Its output
 * goes to a memfd: what it leaves behind cannot hold tsrun up.
 */
export const runChild: RunChild = (path, argv) => {
  const output = memory("output");
  const fds: [number, number][] =
    output < 0
      ? []
      : [
          [output, 1],
          [output, 2],
        ];
  const pid = withCallersLimit(() => spawn(path, argv, [], fds));
  const status = pid < 0 ? 0 : (reap(pid) ?? 0);
  const said = output < 0 ? "" : tail(output, OUTPUT_TAIL).trim();
  if (output >= 0) sys("close", output);
  return { started: Math.min(pid, 0), status, output: said };
};

/** A memfd that is not executable: where vm.memfd_noexec is 2 there is no other kind; before Linux 6.3 none is. */
export function memory(name: string): number {
  const fd = sys("memfd_create", name, MFD_CLOEXEC | MFD_NOEXEC_SEAL);
  return fd === -errnoNumber("EINVAL") ? sys("memfd_create", name, MFD_CLOEXEC) : fd;
}

/** The last `most` bytes of a file. */
export function tail(fd: number, most: number): string {
  const SEEK_END = 2;
  const size = sys("lseek", fd, 0, SEEK_END);
  const buffer = new Uint8Array(most);
  const count = sys("pread64", fd, buffer, most, Math.max(0, size - most));
  return textOf(buffer.subarray(0, Math.max(0, count)));
}
