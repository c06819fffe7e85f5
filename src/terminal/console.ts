import { errnoName, errnoText } from "../abi/errno.ts";
import { TsrunError } from "../errors.ts";
import { addressOf, sys } from "../kernel/kernel.ts";
import { unixAddress } from "../plan/terminal.ts";
import { isTerminal, receiveDescriptor } from "./pty.ts";

/** Connects to an engine's console socket. Returns a descriptor that the agent inherits. */
export function connectConsole(path: string): number {
  const AF_UNIX = 1;
  const SOCK_STREAM = 1;
  const address = unixAddress(path);
  const socket = sys("socket", AF_UNIX, SOCK_STREAM, 0);
  const connected = sys("connect", socket, address, address.length);
  if (connected >= 0) return socket;
  throw new TsrunError(`cannot connect to the console socket ${JSON.stringify(path)}: ${errnoText(-connected)}`, {
    code: errnoName(-connected),
    step: "connect",
  });
}

function fault(action: string, result: number): TsrunError {
  return new TsrunError(`cannot ${action}: ${errnoText(-result)}`, { code: errnoName(-result) });
}

/** A socket pair that stands in for an engine's: tsrun itself takes the terminal. */
export interface PassThrough {
  /** The caller's terminal: one of 0, 1 and 2. */
  readonly host: number;
  /** For the agent to inherit. */
  readonly theirs: number;
  /** The other end of the terminal, once it has been sent; closes the pair. */
  readonly receive: () => number;
}

/** Throws where the caller has no terminal that the container's could be passed through to (as runc and crun). */
export function ownTerminal(): number {
  const found = [0, 1, 2].find(isTerminal);
  if (found !== undefined) return found;
  throw new TsrunError("cannot allocate tty: none of standard input, output and error is a terminal", {
    code: "ENOTTY",
    pointer: "/process/terminal",
    hint: "set process.terminal to false, or leave --tty out",
  });
}

export function openPassThrough(host: number): PassThrough {
  const AF_UNIX = 1;
  const SOCK_STREAM_CLOEXEC = 1 | 0o2000000;
  const F_SETFD = 2;
  const pair = new Int32Array(2);
  const made = sys("socketpair", AF_UNIX, SOCK_STREAM_CLOEXEC, 0, pair);
  if (made < 0) throw fault("make a socket for the terminal", made);
  const [mine, theirs] = [pair[0]!, pair[1]!];
  sys("fcntl", theirs, F_SETFD, 0);
  return {
    host,
    theirs,
    receive: () => {
      sys("close", theirs);
      const master = receiveDescriptor(mine, addressOf);
      sys("close", mine);
      if (master < 0) throw fault("receive the container's terminal", master);
      return master;
    },
  };
}
