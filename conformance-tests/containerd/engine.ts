import { chmodSync, existsSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import {
  type CommandOptions,
  command,
  commandBeside,
  describeResult,
  PLAIN_ENV,
  type Result,
  type Running,
} from "../../tests/helpers/command.ts";
import { cgroupsOf, mountsUnder, processesOf } from "../../tests/helpers/leaks.ts";
import { busyboxImage } from "./image.ts";

export const IMAGE = "docker.io/library/busybox:latest";

/** Where shims of containerd put their sockets, whatever the configuration says. */
export const SHIM_SOCKETS = "/run/containerd/s";

const START_LIMIT = 20_000;

export type Engine = Awaited<ReturnType<typeof startEngine>>;

/**
 * A containerd with its own root, state, configuration and socket, and with one image. `mark` is its namespace too, and
 * so is in the path of everything that it makes: processes, mounts and cgroups of others are never taken for its own.
 */
export async function startEngine() {
  const mark = `t${process.pid}-containerd`;
  const home = mkdtempSync(`/tmp/${mark}-`);
  chmodSync(home, 0o711); // A container with its own user namespace has to get through.
  const socketsBefore = shimSockets();
  const createdRun = !existsSync("/run/containerd");
  writeFileSync(`${home}/config.toml`, configuration(home));
  // An environment of its own: what the caller's says (NOTIFY_SOCKET, CONTAINERD_…) is not part of the test.
  const daemon = commandBeside(["containerd", "--config", `${home}/config.toml`, "--log-level", "info"], {
    env: PLAIN_ENV,
  });
  let isStopped = false;

  function ctr(args: readonly string[], options: CommandOptions = {}): Result {
    return command(commandLine(args), { limit: 60_000, ...options });
  }

  function ctrBeside(args: readonly string[], options: CommandOptions = {}): Running {
    return commandBeside(commandLine(args), options);
  }

  function commandLine(args: readonly string[]): string[] {
    return ["ctr", "--address", `${home}/c.sock`, "--namespace", mark, ...args];
  }

  /** Stops it and says what is left of it on the machine. */
  async function stop(): Promise<string[]> {
    daemon.kill("SIGTERM");
    const ended = await daemon.finish(START_LIMIT);
    isStopped = true;
    const left = ended.status === 0 ? [] : [`containerd ended badly: ${describeResult(ended)}`];
    left.push(...(await leftovers()));
    removeParentCgroup(mark);
    if (mountsUnder(home).length === 0) rmSync(home, { recursive: true, force: true });
    if (createdRun) removeEmptyFolders("/run/containerd");
    return left;
  }

  /** Processes, mounts, cgroups and sockets of shims that there are now, apart from the engine's own process. */
  async function leftovers(): Promise<string[]> {
    const found = () => [
      ...processesOf(mark)
        .filter((pid) => pid !== daemon.pid || isStopped)
        .map((pid) => `process ${pid}`),
      ...mountsUnder(mark).map((path) => `mount ${path}`),
      ...cgroupsOf(mark)
        .filter((path) => !path.endsWith(`/${mark}`))
        .map((path) => `cgroup ${path}`),
      ...shimSockets()
        .filter((name) => !socketsBefore.includes(name))
        .map((name) => `socket ${name}`),
    ];
    // A shim takes a moment to end after its last container.
    for (let round = 0; round < 100 && found().length > 0; round++) await Bun.sleep(20);
    return found();
  }

  try {
    await answers(() => ctr(["version"]).status === 0);
    writeFileSync(`${home}/image.tar`, busyboxImage("/bin/busybox", IMAGE));
    const imported = ctr(["image", "import", `${home}/image.tar`]);
    if (imported.status !== 0) throw new Error(describeResult(imported));
  } catch (error) {
    daemon.kill("SIGTERM");
    const { stderr } = await daemon.finish();
    throw new Error(`${error}\nlog of containerd:\n${stderr}`);
  }
  return { home, ctr, ctrBeside, commandLine, leftovers, stop };
}

async function answers(isUp: () => boolean): Promise<void> {
  for (const end = Date.now() + START_LIMIT; !isUp(); await Bun.sleep(50)) {
    if (Date.now() > end) throw new Error(`containerd did not answer within ${START_LIMIT} ms`);
  }
}

function configuration(home: string): string {
  return `version = 2
root = "${home}/root"
state = "${home}/state"
oom_score = 0
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "${home}/c.sock"
[ttrpc]
  address = "${home}/c.sock.ttrpc"
[plugins."io.containerd.internal.v1.opt"]
  path = "${home}/opt"
`;
}

export function shimSockets(): string[] {
  return existsSync(SHIM_SOCKETS) ? readdirSync(SHIM_SOCKETS) : [];
}

/** What is in use stays: somebody else's containerd may have come meanwhile. */
function removeEmptyFolders(folder: string): void {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeEmptyFolders(`${folder}/${entry.name}`);
  }
  if (readdirSync(folder).length === 0) rmdirSync(folder);
}

/** Runtimes make /NAMESPACE/ID and remove only ID: the parent may be shared. */
function removeParentCgroup(mark: string): void {
  for (const path of cgroupsOf(mark)) {
    try {
      rmdirSync(path);
    } catch {
      // In use: then the left-overs name what uses it.
    }
  }
}
