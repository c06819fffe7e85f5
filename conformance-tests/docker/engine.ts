import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import {
  type CommandOptions,
  command,
  commandBeside,
  describeResult,
  PLAIN_ENV,
  type Result,
  type Running,
} from "../../tests/helpers/command.ts";
import { mountsUnder } from "../../tests/helpers/leaks.ts";
import { answers, type Containerd, shimSockets, startContainerd } from "../lib/containerd.ts";
import { busyboxRoot } from "../lib/image.ts";
import { leftBehind, removeParentCgroups } from "../lib/leftovers.ts";
import type { Runtime } from "../lib/runtimes.ts";
import { snippet } from "../lib/snippet.ts";
import { settled } from "../lib/wait.ts";

export const IMAGE = "busybox";
const CLIENT = "/usr/bin/docker";
/** What dockerd makes where it is not told otherwise. run.sh has put something of its own over /run and /etc/docker. */
const ELSEWHERE = "/var/lib/docker";

export interface DockerOptions {
  /** Further words for dockerd. */
  readonly flags?: readonly string[];
  /** Prepares the machine, in the test's own mount namespace; what it returns undoes that. */
  readonly prepare?: (home: string) => () => void;
}

export type Docker = Awaited<ReturnType<typeof startDocker>>;

/**
 * containerd and dockerd in directories and a network namespace of their own, with the runtime as the default one, and
 * with one image. The name of their directory, `mark`, is in all that they make.
 */
export async function startDocker(runtime: Runtime, { flags = [], prepare = () => () => {} }: DockerOptions) {
  const home = mkdtempSync(`/tmp/t${process.pid}-${runtime.name}-`);
  const mark = basename(home);
  chmodSync(home, 0o711); // With user namespaces, containers have to get through.
  const socketsBefore = shimSockets();
  const hadElsewhere = existsSync(ELSEWHERE);
  // BuildKit takes the `runc` that it finds first.
  mkdirSync(`${home}/bin`);
  symlinkSync(runtime.path, `${home}/bin/runc`);
  const env = { PATH: `${home}/bin:${PLAIN_ENV.PATH}`, HOME: home, DOCKER_HOST: `unix://${home}/d.sock` };
  writeFileSync(`${home}/daemon.json`, configuration(runtime));
  const undo = prepare(home);
  // The network namespace lasts as long as a process in it, and its interfaces and rules go with it.
  const wrapper = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"];
  const containerd: Containerd = await startContainerd(home, { env, wrapper });
  let daemon: Running = await startDaemon().catch(async (error) => {
    await containerd.stop();
    undo();
    throw error;
  });
  let baseline: readonly string[] = [];
  /** The first container in the host's network has dockerd keep it by this name, beyond its own end. */
  const hostNetwork = `${home}/exec/netns/default`;

  function startDaemon(): Promise<Running> {
    return running(inNetwork(["dockerd", ...daemonFlags(home), ...flags]));
  }

  async function running(argv: readonly string[]): Promise<Running> {
    const started = commandBeside(argv, { env });
    await answers(started, "dockerd", () => command([CLIENT, "version"], { env }).status === 0);
    return started;
  }

  /** A command line that sees the interfaces which the daemons see. */
  function inNetwork(argv: readonly string[]): string[] {
    return ["nsenter", `--net=/proc/${containerd.pid}/ns/net`, ...argv];
  }

  function docker(args: readonly string[], options: CommandOptions & { limit?: number } = {}): Promise<Result> {
    return dockerBeside(args, options).finish(options.limit ?? 60_000);
  }

  function dockerBeside(args: readonly string[], options: CommandOptions = {}): Running {
    return commandBeside([CLIENT, ...args], { ...options, env: { ...env, ...options.env } });
  }

  /** What dockerd's API answers to a GET. */
  async function ask<Answer>(path: string): Promise<Answer> {
    const response = await fetch(`http://docker${path}`, { unix: `${home}/d.sock` });
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
    return (await response.json()) as Answer;
  }

  function here(argv: readonly string[]): Promise<Result> {
    return commandBeside(inNetwork(argv), { env }).finish();
  }

  /** `kill -9`, and another in its place that finds what the first had; `between` happens while there is none. */
  async function killDaemon(between: () => void = () => {}): Promise<void> {
    daemon.kill("SIGKILL");
    await daemon.finish();
    between();
    daemon = await startDaemon();
  }

  function present(): string[] {
    const left = leftBehind(mark, [containerd.pid, daemon.pid], socketsBefore);
    const { stdout } = command(inNetwork(["ip", "-brief", "link"]));
    const interfaces = stdout.split("\n").filter((line) => line !== "");
    return [...left, ...interfaces.map((line) => `interface ${line.split(/[\s@]/)[0]}`)];
  }

  /** What is there now, and was not there when dockerd had been started. */
  function leftovers(): Promise<string[]> {
    return settled(() => present().filter((each) => !baseline.includes(each) && each !== `mount ${hostNetwork}`));
  }

  async function stop(): Promise<string[]> {
    daemon.kill("SIGTERM");
    const ended = await daemon.finish(30_000);
    const left = ended.status === 0 ? [] : [`dockerd ended badly: ${describeResult(ended)}`];
    left.push(...(await containerd.stop()));
    const kept = [hostNetwork, ...(flags.includes("--live-restore") ? [`${home}/data`] : [])];
    for (const mount of kept) if (mountsUnder(mount).length > 0) command(["umount", mount]);
    undo();
    left.push(...(await settled(() => leftBehind(mark, [], socketsBefore))));
    if (!hadElsewhere && existsSync(ELSEWHERE)) left.push(`file ${ELSEWHERE}`);
    removeParentCgroups(mark);
    if (mountsUnder(mark).length === 0) rmSync(home, { recursive: true, force: true });
    return left;
  }

  writeFileSync(`${home}/root.tar`, busyboxRoot("/bin/busybox"));
  const changes = ["ENV PATH=/usr/bin:/bin FROM_IMAGE=yes", 'CMD ["sh","-c","echo the command of the image"]'];
  const imported = await docker([
    "import",
    ...changes.flatMap((change) => ["--change", change]),
    `${home}/root.tar`,
    IMAGE,
  ]);
  if (imported.status !== 0) throw new Error(`${describeResult(imported)}\n${await stop()}`);
  baseline = present();
  return {
    runtime,
    home,
    mark,
    env,
    docker,
    ask,
    dockerBeside,
    here,
    inNetwork,
    killDaemon,
    leftovers,
    stop,
    dockerLine: (args: readonly string[]): string[] => [CLIENT, ...args],
    pid: () => daemon.pid,
  };
}

/** What the documentation tells to write, with the runtime in the place of the installed one. */
function configuration(runtime: Runtime): string {
  return snippet("/etc/docker/daemon.json").replaceAll("/usr/local/bin/tsrun", runtime.path);
}

function daemonFlags(home: string): string[] {
  return [
    ...["--config-file", `${home}/daemon.json`, "--data-root", `${home}/data`, "--exec-root", `${home}/exec`],
    ...["--pidfile", `${home}/dockerd.pid`, "--host", `unix://${home}/d.sock`, "--group", "root"],
    ...["--containerd", `${home}/c.sock`, "--cgroup-parent", `/${basename(home)}`],
  ];
}
