import type { Result } from "../../tests/helpers/command.ts";
import { client } from "../lib/client.ts";
import { success } from "../lib/commands.ts";
import { type Contestant, compared, type Note } from "../lib/compared.ts";
import { IMAGE, type Podman, type PodmanOptions, startPodman } from "./engine.ts";

export type Lane = ReturnType<typeof lane>;

/** A podman for each runtime, for the tests of one file. */
export function podman(options: PodmanOptions, differences: ReadonlyMap<string, string> = new Map()) {
  const label = options.who === "root" ? "podman" : `podman of a ${options.who}`;
  return compared(label, async (runtime) => contestant(await startPodman(runtime, options)), differences);
}

function contestant(engine: Podman): Contestant<Lane> {
  return {
    lane: (prefix, note) => lane(engine, prefix, note),
    tidy: () => tidy(engine),
    leftovers: engine.leftovers,
    stop: engine.stop,
  };
}

/** One test's own container names, run with one runtime. */
function lane(engine: Podman, prefix: string, note: Note) {
  const podman = (...args: readonly string[]): Promise<Result> => engine.podman(args);
  const options = {
    call: engine.podman,
    line: engine.line,
    env: engine.env,
    image: IMAGE,
    networkOptions: /^(-p|--net|--publish|--pod)/,
  };
  return { engine, note, podman, ...client(options, prefix) };
}

/** The tests of a file run one after the other: what there is, is of the one that ended. */
async function tidy(engine: Podman): Promise<void> {
  success(await engine.podman(["pod", "rm", "--all", "--force", "--time", "0"]));
  // One that others depend on is refused as long as they are there.
  await engine.podman(["rm", "--all", "--force", "--volumes", "--time", "0"]);
  success(await engine.podman(["rm", "--all", "--force", "--volumes", "--time", "0"]));
  success(await engine.podman(["volume", "prune", "--force"]));
  success(await engine.podman(["network", "prune", "--force"]));
}
