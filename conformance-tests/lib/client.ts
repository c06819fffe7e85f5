import type { CommandOptions, Result } from "../../tests/helpers/command.ts";
import { success } from "./commands.ts";
import { inTerminal, type Reaction } from "./terminal.ts";

/** The command line that Docker and podman have in common. */
export interface ClientOptions {
  /** Runs the client with these words. */
  readonly call: (args: readonly string[], how?: CommandOptions) => Promise<Result>;
  /** The command of the client with these words, and its environment. */
  readonly line: (args: readonly string[]) => string[];
  readonly env: Record<string, string>;
  readonly image: string;
  /** Options that ask for a network, or bring one. */
  readonly networkOptions: RegExp;
}

/** One test's own container names, and what it does with them. */
export function client({ call, line, env, image, networkOptions }: ClientOptions, prefix: string) {
  let names = 0;
  const name = (): string => `${prefix}-${names++}`;
  /** Without a network of its own, unless the options ask for one: that is what takes longest. */
  function runLine(argv: readonly string[], options: readonly string[]): string[] {
    const network = options.some((option) => networkOptions.test(option)) ? [] : ["--network", "none"];
    return ["run", ...network, ...options, image, ...argv];
  }
  /** `run --rm` in the foreground. */
  function run(argv: readonly string[], options: readonly string[] = [], how: CommandOptions = {}): Promise<Result> {
    return call(runLine(argv, ["--rm", "--name", name(), ...options]), how);
  }
  /** Standard output of `run --rm`, which must succeed. */
  async function output(argv: readonly string[], options: readonly string[] = []): Promise<string> {
    return success(await run(argv, options)).stdout;
  }
  /** `run -d`: the name of a container that runs. */
  async function started(argv: readonly string[], options: readonly string[] = []): Promise<string> {
    const id = name();
    success(await call(runLine(argv, ["-d", "--name", id, ...options])));
    return id;
  }
  function exec(id: string, argv: readonly string[], options: readonly string[] = []): Promise<Result> {
    return call(["exec", ...options, id, ...argv]);
  }
  async function inspect(id: string, format: string): Promise<string> {
    return success(await call(["inspect", "--format", format, id])).stdout.trim();
  }
  const pidOf = async (id: string): Promise<number> => Number(await inspect(id, "{{.State.Pid}}"));
  const typed = (args: readonly string[], reactions: readonly Reaction[]) => inTerminal(line(args), reactions, env);
  return { name, runLine, run, output, started, exec, inspect, pidOf, typed };
}
