import { sys } from "../kernel/kernel.ts";
import { variable } from "../kernel/warm-start.ts";
import type { Config } from "../spec/types.ts";

/** Descriptors of socket activation (sd_listen_fds(3)) for the container. */
export interface ListenFds {
  readonly count: number;
  readonly env: readonly string[];
}

/**
 * Passes on what a service manager gave to this very process. In the container they lie at 3 as well, and LISTEN_PID is
 * the process id that the container's process sees of itself: 1 in a process id namespace of its own.
 */
export function listenFds(config: Config): ListenFds {
  const LISTEN_FDS = variable("LISTEN_FDS");
  const none = { count: 0, env: [] };
  if (LISTEN_FDS === undefined || !/^[0-9]{1,6}$/.test(LISTEN_FDS)) return none;
  const LISTEN_PID = variable("LISTEN_PID");
  const LISTEN_FDNAMES = variable("LISTEN_FDNAMES");
  if (LISTEN_PID !== undefined && LISTEN_PID !== String(sys("getpid"))) return none;
  const hasOwnPids = config.linux?.namespaces?.some(({ type, path }) => type === "pid" && (path ?? "") === "") ?? false;
  const env = [`LISTEN_FDS=${LISTEN_FDS}`];
  if (hasOwnPids) env.push("LISTEN_PID=1");
  if (LISTEN_FDNAMES !== undefined) env.push(`LISTEN_FDNAMES=${LISTEN_FDNAMES}`);
  return { count: Number(LISTEN_FDS), env };
}
