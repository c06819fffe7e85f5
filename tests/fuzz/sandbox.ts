import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { type CommandOptions, command, describeResult, type Result } from "../helpers/command.ts";
import { findLeaks, removeLeaks } from "../helpers/leaks.ts";
import { makeRootfs, rootfsTemplate } from "../helpers/rootfs.ts";
import { slow } from "../helpers/time.ts";
import { markOf } from "./mark.ts";
import { must } from "./property.ts";

/** The runtime that is fuzzed. */
export const TSRUN = resolve(process.env.RUNTIME ?? `${import.meta.dir}/../../bin/tsrun`);

export type Sandbox = ReturnType<typeof makeSandbox>;

/**
 * A directory with a mark in its name, for bundles and state, and the machine around it, which stays as it was. It is a
 * file system of its own: what a config asks to be changed of the one that it binds is not the machine's.
 */
export function makeSandbox(topic: string) {
  const mark = `${markOf(process.pid)}${topic}-`;
  const base = mkdtempSync("/tmp/tsrun-fuzz-");
  must(command(["mount", "-t", "tmpfs", "-o", "mode=755", "none", base]).status === 0, () => `cannot mount on ${base}`);
  const home = `${base}/${mark}home`;
  mkdirSync(home, { mode: 0o755 });
  const root = `${home}/state`;
  const template = rootfsTemplate(home);

  /** A bundle's directory with a root file system in it. */
  function bundle(name: string): string {
    const dir = `${home}/${name}`;
    mkdirSync(dir, { mode: 0o755 });
    makeRootfs(template, `${dir}/rootfs`);
    return dir;
  }

  function writeConfig(dir: string, text: string | Uint8Array): void {
    writeFileSync(`${dir}/config.json`, text);
  }

  /** tsrun with the sandbox's state root. */
  function tsrun(args: readonly string[], options: CommandOptions = {}): Result {
    return command([TSRUN, "--root", root, ...args], options);
  }

  /** Deletes every container that there is a state of. Throws when a container cannot be deleted. */
  function deleteAll(): void {
    for (const id of existsSync(root) ? readdirSync(root) : []) {
      if (id.startsWith("@")) continue;
      const result = tsrun(["delete", "--force", id], { limit: 30_000 });
      must(result.status === 0 && !existsSync(`${root}/${id}`), () => `is not deleted: ${describeResult(result)}`);
    }
  }

  /** Throws when something of this mark is left, after it has been removed. */
  function mustBeClean(of = mark): void {
    let left: string[] = [];
    const end = Date.now() + slow(3000);
    do {
      left = findLeaks(of);
      if (left.length === 0) return;
      Bun.sleepSync(10);
    } while (Date.now() < end);
    removeLeaks(of);
    throw new Error(`left behind: ${left.join("; ")}`);
  }

  function close(): void {
    removeLeaks(mark);
    if (command(["umount", base]).status === 0) rmdirSync(base);
  }

  return { mark, home, root, bundle, writeConfig, tsrun, deleteAll, mustBeClean, close };
}

/** Throws unless tsrun ended by itself, and what it says is an error as errors are: no stack, no fault of its own. */
export function mustEndWell(result: Result, text = result.stderr): void {
  must(result.status !== -1, () => `does not end: ${describeResult(result)}`);
  must(!result.signalled, () => `crashed: ${describeResult(result)}`);
  must(!STACK.test(text), () => `shows its inside: ${describeResult(result)}`);
}

const STACK =
  /^\s+at .*(:\d+|\(native\)|<anonymous>)|internal error|\b(Type|Reference|Range|Syntax)Error\b|panic|Segmentation|Bun v/m;

/** What a shell makes of a signal that ended the container's program. */
/** What a command that failed says: one line, which may go on in lines that begin with spaces, and perhaps a hint. */
export function errorLine(result: Result): string {
  const lines = result.stderr.split("\n").filter((line) => line !== "" && !/^(hint|warning): |^ {2}/.test(line));
  must(lines.length > 0, () => `failed without a word: ${describeResult(result)}`);
  must(lines.length === 1, () => `says more than one thing: ${describeResult(result)}`);
  return lines[0]!;
}
