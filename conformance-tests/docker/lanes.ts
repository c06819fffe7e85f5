import type { Result } from "../../tests/helpers/command.ts";
import { client } from "../lib/client.ts";
import { success } from "../lib/commands.ts";
import { type Contestant, compared, type Note } from "../lib/compared.ts";
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
  const docker = (...args: readonly string[]): Promise<Result> => engine.docker(args);
  const options = {
    call: engine.docker,
    line: engine.dockerLine,
    env: engine.env,
    image: IMAGE,
    networkOptions: /^(-p|--network|--publish)/,
  };
  return { engine, note, docker, ...client(options, prefix) };
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
