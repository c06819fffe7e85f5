import { O_NOFOLLOW, O_NONBLOCK } from "../abi/fcntl.ts";
import { TsrunError } from "../errors.ts";

/** The files of a container's directory, see store.ts. */
export const STATE = "state.json";
export const DRAFT = "state.json.new";
export const CONFIG = "config.json";
/** The seccomp filter, as struct sock_filter[]. */
export const FILTER = "seccomp.bpf";
/** The agent of a created container listens here until start tells it to go on. */
export const START_SOCKET = "exec.sock";

/** How they are opened: what took the place of one may be a link to another file, or a FIFO, which nobody may wait for. */
export const NOTHING_ELSE = O_NOFOLLOW | O_NONBLOCK;

export function doesNotExist(hint?: string): TsrunError {
  return new TsrunError("container does not exist", { code: "ENOENT", hint });
}
