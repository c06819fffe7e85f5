import type { CommandOptions, Result } from "../../tests/helpers/command.ts";
import { success } from "../lib/commands.ts";
import { type Contestant, compared, type Note } from "../lib/compared.ts";
import { inTerminal, type Reaction } from "../lib/terminal.ts";
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
  let names = 0;
  const name = (): string => `${prefix}-${names++}`;
  const podman = (...args: readonly string[]): Promise<Result> => engine.podman(args);
  /** Without a network of its own, unless the options ask for one: that is what takes longest. */
  function runLine(argv: readonly string[], options: readonly string[]): string[] {
    const network = options.some((option) => /^(-p|--net|--publish|--pod)/.test(option)) ? [] : ["--network", "none"];
    return ["run", ...network, ...options, IMAGE, ...argv];
  }
  /** `podman run --rm` in the foreground. */
  function run(argv: readonly string[], options: readonly string[] = [], how: CommandOptions = {}): Promise<Result> {
    return engine.podman(runLine(argv, ["--rm", "--name", name(), ...options]), how);
  }
  /** Standard output of `podman run --rm`, which must succeed. */
  async function output(argv: readonly string[], options: readonly string[] = []): Promise<string> {
    return success(await run(argv, options)).stdout;
  }
  /** `podman run -d`: the name of a container that runs. */
  async function started(argv: readonly string[], options: readonly string[] = []): Promise<string> {
    const id = name();
    success(await engine.podman(runLine(argv, ["-d", "--name", id, ...options])));
    return id;
  }
  function exec(id: string, argv: readonly string[], options: readonly string[] = []): Promise<Result> {
    return engine.podman(["exec", ...options, id, ...argv]);
  }
  async function inspect(id: string, format: string): Promise<string> {
    return success(await engine.podman(["inspect", "--format", format, id])).stdout.trim();
  }
  const pidOf = async (id: string): Promise<number> => Number(await inspect(id, "{{.State.Pid}}"));
  const typed = (args: readonly string[], reactions: readonly Reaction[]) =>
    inTerminal(engine.line(args), reactions, engine.env);
  return { engine, note, name, podman, runLine, run, output, started, exec, inspect, pidOf, typed };
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
