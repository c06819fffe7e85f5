import type { CommandOptions, Result } from "../../tests/helpers/command.ts";
import { success } from "../lib/commands.ts";
import { type Contestant, compared, type Note } from "../lib/compared.ts";
import { inTerminal, type Reaction } from "../lib/terminal.ts";
import { type Docker, type DockerOptions, IMAGE, startDocker } from "./engine.ts";

export type Lane = ReturnType<typeof lane>;

/** A dockerd for each runtime, for the tests of one file. */
export function docker(options: DockerOptions = {}, differences: ReadonlyMap<string, string> = new Map()) {
  return compared("docker", async (runtime) => contestant(await startDocker(runtime, options)), differences);
}

function contestant(engine: Docker): Contestant<Lane> {
  return {
    lane: (prefix, note) => lane(engine, prefix, note),
    tidy: () => tidy(engine),
    leftovers: engine.leftovers,
    stop: engine.stop,
  };
}

/** One test's own container names, run with one runtime. */
function lane(engine: Docker, prefix: string, note: Note) {
  let names = 0;
  const name = (): string => `${prefix}-${names++}`;
  const docker = (...args: readonly string[]): Promise<Result> => engine.docker(args);
  /** Without a network of its own, unless the options ask for one: that is what takes longest. */
  function runLine(argv: readonly string[], options: readonly string[]): string[] {
    const network = options.some((option) => /^(-p|--network|--publish)/.test(option)) ? [] : ["--network", "none"];
    return ["run", ...network, ...options, IMAGE, ...argv];
  }
  /** `docker run --rm` in the foreground. */
  function run(argv: readonly string[], options: readonly string[] = [], how: CommandOptions = {}): Promise<Result> {
    return engine.docker(runLine(argv, ["--rm", "--name", name(), ...options]), how);
  }
  /** Standard output of `docker run --rm`, which must succeed. */
  async function output(argv: readonly string[], options: readonly string[] = []): Promise<string> {
    return success(await run(argv, options)).stdout;
  }
  /** `docker run -d`: the name of a container that runs. */
  async function started(argv: readonly string[], options: readonly string[] = []): Promise<string> {
    const id = name();
    success(await engine.docker(runLine(argv, ["-d", "--name", id, ...options])));
    return id;
  }
  function exec(id: string, argv: readonly string[], options: readonly string[] = []): Promise<Result> {
    return engine.docker(["exec", ...options, id, ...argv]);
  }
  async function inspect(id: string, format: string): Promise<string> {
    return success(await engine.docker(["inspect", "--format", format, id])).stdout.trim();
  }
  const pidOf = async (id: string): Promise<number> => Number(await inspect(id, "{{.State.Pid}}"));
  const typed = (args: readonly string[], reactions: readonly Reaction[]) =>
    inTerminal(engine.dockerLine(args), reactions, engine.env);
  return { engine, note, name, docker, runLine, run, output, started, exec, inspect, pidOf, typed };
}

/**
 * The tests of a file run one after the other: what there is, is of the one that ended. What there is dockerd is asked
 * without a client: that is after every test, and mostly there is nothing.
 */
async function tidy(engine: Docker): Promise<void> {
  const containers = await engine.ask<{ Id: string }[]>("/containers/json?all=true");
  const remove = async (command: readonly string[], names: readonly string[]) => {
    if (names.length > 0) success(await engine.docker([...command, ...names]));
  };
  await remove(
    ["rm", "--force", "--volumes"],
    containers.map(({ Id }) => Id),
  );
  const { Volumes } = await engine.ask<{ Volumes: { Name: string }[] | null }>("/volumes");
  await remove(
    ["volume", "rm"],
    (Volumes ?? []).map(({ Name }) => Name),
  );
  const networks = await engine.ask<{ Id: string }[]>(`/networks?filters=${encodeURIComponent('{"type":["custom"]}')}`);
  await remove(
    ["network", "rm"],
    networks.map(({ Id }) => Id),
  );
}
