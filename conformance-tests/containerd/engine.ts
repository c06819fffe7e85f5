import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import {
  type CommandOptions,
  command,
  commandBeside,
  describeResult,
  type Result,
  type Running,
} from "../../tests/helpers/command.ts";
import { mountsUnder } from "../../tests/helpers/leaks.ts";
import { type Containerd, shimSockets, startContainerd } from "../lib/containerd.ts";
import { busyboxImage } from "../lib/image.ts";
import { leftBehind, removeParentCgroups } from "../lib/leftovers.ts";
import { settled } from "../lib/wait.ts";

export const IMAGE = "docker.io/library/busybox:latest";

export type Engine = Awaited<ReturnType<typeof startEngine>>;

/**
 * A containerd of its own with one image. `mark` is its namespace too, and so is in the path of everything that it
 * makes: processes, mounts and cgroups of others are never taken for its own.
 */
export async function startEngine() {
  const mark = `t${process.pid}-containerd`;
  const home = mkdtempSync(`/tmp/${mark}-`);
  chmodSync(home, 0o711); // A container with its own user namespace has to get through.
  const socketsBefore = shimSockets();
  const daemons: Containerd[] = [await startContainerd(home)];

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
    const left = (await daemons.pop()?.stop()) ?? [];
    left.push(...(await leftovers()));
    removeParentCgroups(mark);
    if (mountsUnder(home).length === 0) rmSync(home, { recursive: true, force: true });
    return left;
  }

  /** `kill -9`, and another in its place that finds what the first had. */
  async function killDaemon(): Promise<void> {
    const daemon = daemons.pop();
    daemon?.kill("SIGKILL");
    await daemon?.ended();
    daemons.push(await startContainerd(home));
  }

  /** Processes, mounts, cgroups and sockets of shims that there are now, apart from the engine's own process. */
  function leftovers(): Promise<string[]> {
    const pids = daemons.map(({ pid }) => pid);
    return settled(() => leftBehind(mark, pids, socketsBefore));
  }

  writeFileSync(`${home}/image.tar`, busyboxImage("/bin/busybox", IMAGE));
  const imported = ctr(["image", "import", `${home}/image.tar`]);
  if (imported.status !== 0) throw new Error(`${describeResult(imported)}\n${await stop()}`);
  return { home, mark, ctr, ctrBeside, commandLine, leftovers, killDaemon, stop };
}
