import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { command, commandBeside, describeResult, PLAIN_ENV, type Running } from "../../tests/helpers/command.ts";
import { until } from "./wait.ts";

/** Where shims of containerd put their sockets, whatever the configuration says; run.sh has put a tmpfs over /run. */
export const SHIM_SOCKETS = "/run/containerd/s";

const LIMIT = 20_000;

export interface ContainerdOptions {
  /** Words before `containerd`; they must execute it, so that the process is the daemon. */
  readonly wrapper?: readonly string[];
  /** An environment of its own: what the caller's says (NOTIFY_SOCKET, CONTAINERD_…) is not part of a test. */
  readonly env?: Record<string, string>;
  /** Another configuration, of the same directories and socket. */
  readonly configuration?: string;
}

export interface Containerd {
  readonly pid: number;
  readonly socket: string;
  kill(signal: NodeJS.Signals): void;
  /** Ends it; the shims stay. Says what was wrong with its end. */
  stop(): Promise<string[]>;
  /** When it has ended otherwise. */
  ended(): Promise<void>;
}

/** A containerd whose root, state, configuration and socket are in `home`; a second one goes on where the first ended. */
export async function startContainerd(home: string, options: ContainerdOptions = {}): Promise<Containerd> {
  const socket = `${home}/c.sock`;
  writeFileSync(`${home}/config.toml`, options.configuration ?? `${WITHOUT_CRI}${privatePlaces(home)}`);
  const argv = [...(options.wrapper ?? []), "containerd", "--config", `${home}/config.toml`, "--log-level", "info"];
  const daemon = commandBeside(argv, { env: options.env ?? PLAIN_ENV });
  await answers(daemon, "containerd", () => command(["ctr", "--address", socket, "version"]).status === 0);
  async function stop(): Promise<string[]> {
    daemon.kill("SIGTERM");
    const result = await daemon.finish(LIMIT);
    return result.status === 0 ? [] : [`containerd ended badly: ${describeResult(result)}`];
  }
  return {
    pid: daemon.pid,
    socket,
    kill: daemon.kill,
    stop,
    ended: async () => void (await daemon.finish(LIMIT)),
  };
}

/** Waits for a daemon that was just started; ends it when it does not answer, and shows what it wrote. */
export async function answers(daemon: Running, name: string, isUp: () => boolean): Promise<void> {
  const hasEnded = () => !existsSync(`/proc/${daemon.pid}`);
  try {
    await until(() => isUp() || hasEnded(), LIMIT);
    if (hasEnded()) throw new Error("it ended");
  } catch {
    daemon.kill("SIGTERM");
    const { stderr } = await daemon.finish();
    throw new Error(`${name} did not answer; its log:\n${stderr}`);
  }
}

const WITHOUT_CRI = 'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n';

/** The beginning of a config.toml: everything that this containerd has is below `home`. */
export function privatePlaces(home: string): string {
  return `version = 2
root = "${home}/root"
state = "${home}/state"
oom_score = 0
[grpc]
  address = "${home}/c.sock"
[ttrpc]
  address = "${home}/c.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "${home}/opt"
`;
}

/** The socket of a container's shim, as containerd 1.6 and later name it. */
export function shimSocket(address: string, namespace: string, id: string): string {
  const hash = new Bun.CryptoHasher("sha256").update(`${address}/${namespace}/${id}`).digest("hex");
  return `${SHIM_SOCKETS}/${hash}`;
}

export function shimSockets(): string[] {
  return existsSync(SHIM_SOCKETS) ? readdirSync(SHIM_SOCKETS) : [];
}
