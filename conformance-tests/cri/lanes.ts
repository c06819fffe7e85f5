import { existsSync, readFileSync } from "node:fs";
import { type Contestant, compared, type Note } from "../lib/compared.ts";
import { until } from "../lib/wait.ts";
import { CriError, type Message } from "./client.ts";
import { type Engine, IMAGE, startEngine } from "./engine.ts";
import { type Stream, streamed } from "./stream.ts";

export type Lane = ReturnType<typeof lane>;

/** A pod, and what a container in it must be told again of it. */
export interface Pod {
  readonly id: string;
  readonly config: Message;
}

export interface PodOptions {
  /** The network namespace of the node where absent: CNI takes its time. */
  readonly network?: "POD" | "NODE";
  readonly security?: Message;
  readonly linux?: Message;
  readonly config?: Message;
}

export interface ContainerOptions {
  readonly security?: Message;
  readonly resources?: Message;
  readonly config?: Message;
}

interface Status {
  readonly state: string;
  readonly exit_code: number;
  readonly reason: string;
  readonly message: string;
}

export interface Executed {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A containerd with a handler for each runtime, for the tests of one file. */
export function cri(differences: ReadonlyMap<string, string> = new Map()) {
  return compared("cri", async (runtime) => contestant(await startEngine(runtime)), differences);
}

function contestant(engine: Engine): Contestant<Lane> {
  return {
    lane: (prefix, note) => lane(engine, prefix, note),
    tidy: () => removePods(engine),
    leftovers: engine.leftovers,
    stop: engine.stop,
  };
}

/** The tests of a file run one after the other: what there is, is of the one that ended. */
export async function removePods({ call }: Engine): Promise<void> {
  const { items } = await call<{ items: { id: string }[] }>("RuntimeService/ListPodSandbox", {});
  for (const { id } of items) {
    await call("RuntimeService/StopPodSandbox", { pod_sandbox_id: id });
    await call("RuntimeService/RemovePodSandbox", { pod_sandbox_id: id });
  }
}

/** One test's own pods and containers, run with one runtime. */
export function lane(engine: Engine, prefix: string, note: Note) {
  const { call, home, mark } = engine;
  let names = 0;
  const name = (): string => `${prefix}-${names++}`;

  async function pod({ network = "NODE", security, linux, config }: PodOptions = {}, handler = engine.handler) {
    const own = name();
    const namespaces = { network, pid: "CONTAINER", ipc: "POD" };
    const sandbox: Message = {
      metadata: { name: own, uid: own, namespace: "tests", attempt: 0 },
      log_directory: `${home}/logs`,
      linux: {
        cgroup_parent: `/${mark}`,
        security_context: { namespace_options: namespaces, ...security },
        ...linux,
      },
      ...config,
    };
    const request = { config: sandbox, runtime_handler: handler };
    const { pod_sandbox_id } = await call<{ pod_sandbox_id: string }>("RuntimeService/RunPodSandbox", request);
    return { id: pod_sandbox_id, config: sandbox };
  }

  /** A container that was made and is not started. */
  async function created(at: Pod, argv: readonly string[], options: ContainerOptions = {}): Promise<string> {
    const own = name();
    const config = {
      metadata: { name: own, attempt: 0 },
      image: { image: IMAGE },
      command: argv,
      log_path: `${own}.log`,
      linux: { resources: options.resources, security_context: securityOf(at, options.security) },
      ...options.config,
    };
    const request = { pod_sandbox_id: at.id, config, sandbox_config: at.config };
    const { container_id } = await call<{ container_id: string }>("RuntimeService/CreateContainer", request);
    return container_id;
  }

  async function start(id: string): Promise<void> {
    await call("RuntimeService/StartContainer", { container_id: id });
  }

  async function started(at: Pod, argv: readonly string[], options: ContainerOptions = {}): Promise<string> {
    const id = await created(at, argv, options);
    await start(id);
    return id;
  }

  async function status(id: string): Promise<Status & { readonly log_path: string }> {
    const request = { container_id: id };
    return (await call<{ status: Status & { log_path: string } }>("RuntimeService/ContainerStatus", request)).status;
  }

  async function ended(id: string): Promise<Status> {
    await until(async () => (await status(id)).state === "CONTAINER_EXITED");
    return status(id);
  }

  /** What a container wrote until now: lines `TIME stdout F text`. */
  async function logged(id: string, stream: "stdout" | "stderr" = "stdout"): Promise<string> {
    const { log_path } = await status(id);
    const lines = existsSync(log_path) ? readFileSync(log_path, "utf8").split("\n") : [];
    const of = lines.map((line) => /^\S+ (\w+) ([FP]) (.*)$/.exec(line)).filter((found) => found?.[1] === stream);
    return of.map((found) => `${found![3]}${found![2] === "F" ? "\n" : ""}`).join("");
  }

  /** Runs a container to its end. */
  async function run(at: Pod, argv: readonly string[], options: ContainerOptions = {}): Promise<Executed> {
    const id = await started(at, argv, options);
    const { exit_code } = await ended(id);
    return { status: exit_code, stdout: await logged(id), stderr: await logged(id, "stderr") };
  }

  /** Standard output of a container that must succeed. */
  async function output(at: Pod, argv: readonly string[], options: ContainerOptions = {}): Promise<string> {
    const result = await run(at, argv, options);
    if (result.status !== 0) throw new Error(`${argv.join(" ")}: ${JSON.stringify(result)}`);
    return result.stdout;
  }

  async function exec(id: string, argv: readonly string[], timeout = 20): Promise<Executed> {
    const request = { container_id: id, cmd: argv, timeout };
    const done = await call<{ stdout: string; stderr: string; exit_code: number }>("RuntimeService/ExecSync", request);
    const text = (base64: string): string => Buffer.from(base64, "base64").toString();
    return { status: done.exit_code, stdout: text(done.stdout), stderr: text(done.stderr) };
  }

  /** Exec, Attach and PortForward answer with the address of a stream. */
  async function stream(method: "Exec" | "Attach", request: Message, how: Stream) {
    const { url } = await call<{ url: string }>(`RuntimeService/${method}`, request);
    return streamed(engine.inNetwork, url, how);
  }

  async function fails(action: Promise<unknown>): Promise<string> {
    try {
      await action;
    } catch (error) {
      if (error instanceof CriError) return error.says;
      throw error;
    }
    throw new Error("should have failed");
  }

  return { engine, call, note, pod, created, start, started, status, ended, logged, run, output, exec, stream, fails };
}

/** A container says again which namespaces the pod has. */
function securityOf(at: Pod, security: Message | undefined): Message {
  const linux = at.config.linux as { security_context: Message };
  return { namespace_options: linux.security_context.namespace_options, ...security };
}
