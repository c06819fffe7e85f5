import { afterAll, test as bunTest } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, resolve } from "node:path";
import { type CommandOptions, command, commandBeside, describeResult, type Result, type Running } from "./command.ts";
import { baseConfig, type Config } from "./config.ts";
import { expectedDifferences } from "./expected.ts";
import { findLeaks, mountsUnder, removeLeaks } from "./leaks.ts";
import { MANAGER_FLAGS } from "./manager.ts";
import { makeRootfs, rootfsTemplate, type Template } from "./rootfs.ts";
import { IS_SLOW, slow } from "./time.ts";

/** The runtime under test: a path, or a name in PATH. */
export const RUNTIME = runtimePath(process.env.RUNTIME ?? resolve(import.meta.dir, "../../bin/tsrun"));

/** `tsrun`, `runc` or `crun`: which list of expected differences holds. */
export const RUNTIME_NAME = basename(RUNTIME);
/** Another runtime than ours: what is tested are the tests. */
const IS_REFERENCE = RUNTIME_NAME !== "tsrun";

export interface Bundle {
  readonly id: string;
  readonly dir: string;
  readonly rootfs: string;
  readonly config: Config;
}

export type Change = (
  config: Config,
  bundle: { readonly id: string; readonly dir: string; readonly rootfs: string },
) => void;

export interface RunOptions extends CommandOptions {
  /** Flags before the command: `--log FILE`. */
  readonly global?: readonly string[];
  /** Flags of the command itself. */
  readonly flags?: readonly string[];
  /** Where the runtime sees only cgroup v2, as on a machine of today. */
  readonly view?: "v2";
  /** A command that runs the runtime: `["setpriv", …]`. */
  readonly through?: readonly string[];
}

export type Suite = ReturnType<typeof suite>;

interface TestOptions {
  /** Milliseconds; 20 s where absent. */
  readonly limit?: number;
  /** Why the machine cannot run this test; it is then skipped, and the reason printed. */
  readonly skip?: string | false | undefined;
}

/** The tests of one topic: their own directory, state root, ids and clean-up. Tests of one topic run one after another. */
export function suite(topic: string) {
  refuseSharedMounts();
  const mark = `t${process.pid}-${topic}-`;
  const home = mkdtempSync(`/tmp/${mark}`);
  chmodSync(home, 0o755); // A container with its own user namespace has to get through.
  const root = `${home}/state`;
  const known = expectedDifferences(RUNTIME_NAME);
  const names = new Set<string>();
  let template: Template | undefined;
  let made: Bundle[] = [];
  const undo: (() => void)[] = [];
  let number = 0;

  function bundle(change?: Change): Bundle {
    const id = `${mark}${++number}x`;
    const dir = `${home}/${id}`;
    const rootfs = `${dir}/rootfs`;
    mkdirSync(dir, { mode: 0o755 });
    template ??= rootfsTemplate(home);
    makeRootfs(template, rootfs);
    const config = baseConfig(id);
    const made_ = { id, dir, rootfs, config };
    made.push(made_);
    change?.(config, made_);
    writeFileSync(`${dir}/config.json`, JSON.stringify(config, null, 2));
    return made_;
  }

  /** Runs the runtime with its own state root. */
  function runtime(args: readonly string[], options: RunOptions = {}): Result {
    return command(commandLine(root, args, options), options);
  }

  function runtimeBeside(args: readonly string[], options: RunOptions = {}): Running {
    return commandBeside(commandLine(root, args, options), options);
  }

  /** A container that was made where only cgroup v2 is seen is looked after there too. */
  const views = new Map<string, RunOptions>();
  const within = (b: Bundle, options: RunOptions): RunOptions => ({ ...views.get(b.id), ...options });

  const withBundle =
    (name: string) =>
    (b: Bundle, options: RunOptions = {}) => {
      if (options.view !== undefined) views.set(b.id, { view: options.view });
      return runtime([name, ...(options.flags ?? []), "--bundle", b.dir, b.id], options);
    };
  const withId =
    (name: string) =>
    (b: Bundle, options: RunOptions = {}) =>
      runtime([name, ...(options.flags ?? []), b.id], within(b, options));
  const run = withBundle("run");
  const create = withBundle("create");
  const start = withId("start");
  const state = withId("state");
  const remove = withId("delete");

  function kill(b: Bundle, signal?: string): Result {
    return runtime(["kill", b.id, ...(signal === undefined ? [] : [signal])], within(b, {}));
  }

  function exec(b: Bundle, argv: readonly string[], options: RunOptions = {}): Result {
    return runtime(["exec", ...(options.flags ?? []), b.id, ...argv], within(b, options));
  }

  /** What `script` prints inside a container with this change of the base config; the container must succeed. */
  function see(script: string, change?: Change, options: RunOptions = {}): string {
    const b = bundle((config, at) => {
      config.process.args = ["/bin/sh", "-c", script];
      change?.(config, at);
    });
    return mustSucceed(run(b, options)).stdout.trimEnd();
  }

  /** The standard error of `run` with this change of the base config; it must fail, and leave nothing. */
  function refusal(change: Change, options: RunOptions = {}): string {
    const result = run(bundle(change), options);
    if (result.status === 0) throw new Error(`should have failed: ${describeResult(result)}`);
    if (result.status === -1) throw new Error(`should have ended by itself: ${describeResult(result)}`);
    if (result.stdout !== "") throw new Error(`should have run nothing: ${describeResult(result)}`);
    return result.stderr;
  }

  /** A running container that waits, made with create and start. */
  function started(change?: Change, options: RunOptions = {}): Bundle {
    const b = bundle((config, at) => {
      config.process.args = ["/bin/sleep", "1000"];
      change?.(config, at);
    });
    mustSucceed(create(b, options));
    mustSucceed(start(b, options));
    return b;
  }

  /** The OCI state, or undefined when the runtime knows no such container. */
  function status(b: Bundle): string | undefined {
    const result = state(b);
    return result.status === 0 ? (JSON.parse(result.stdout) as { status: string }).status : undefined;
  }

  /** Waits until the container has this status. */
  function untilStatus(b: Bundle, wanted: string): void {
    until(() => status(b) === wanted, `${b.id} to be ${wanted}, it is ${status(b)}`);
  }

  /** Undoes what a test did to the machine, after its containers have ended and before leaks are looked for. */
  function after(action: () => void): void {
    undo.push(action);
  }

  /** Mounts where the runtime sees it, until the end of the test. */
  function mountHere(...args: readonly string[]): void {
    mustSucceed(command(["mount", ...args]));
    const changesOnly = args.some((arg) => arg.startsWith("remount") || arg.startsWith("--make-"));
    if (!changesOnly) after(() => command(["umount", "-l", args.at(-1)!]));
  }

  /** Ends the containers that the test made and says what is left after that. */
  function tidy(): string[] {
    const bundles = made;
    made = [];
    for (const b of bundles) if (existsSync(`${root}/${b.id}`)) remove(b, { flags: ["--force"] });
    const leaks: string[] = [];
    for (const action of undo.splice(0).reverse()) {
      try {
        action();
      } catch (error) {
        leaks.push(`what the test did: ${error}`);
      }
    }
    for (const b of bundles) {
      let left: string[] = [];
      until(
        () => {
          left = findLeaks(b.id);
          return left.length === 0;
        },
        "",
        1000,
      );
      leaks.push(...left);
      if (existsSync(`${root}/${b.id}`)) leaks.push(`state ${root}/${b.id}`);
      removeLeaks(b.id);
      rmSync(`${root}/${b.id}`, { recursive: true, force: true });
      rmSync(b.dir, { recursive: true, force: true });
    }
    return leaks;
  }

  /** What was wrong, if anything. */
  async function attempt(action: () => void | Promise<void>): Promise<unknown> {
    let failure: unknown;
    try {
      await action();
    } catch (error) {
      failure = error ?? new Error("thrown undefined");
    }
    const leaks = tidy();
    return failure === undefined && leaks.length > 0 ? new Error(`left behind: ${leaks.join("; ")}`) : failure;
  }

  async function body(name: string, action: () => void | Promise<void>): Promise<void> {
    let failure = await attempt(action);
    const reason = known.get(name);
    if (reason === undefined && failure !== undefined && (IS_REFERENCE || IS_SLOW)) {
      // That a test can pass with another runtime is what is to be shown, not that this runtime has no races; and where all
      // takes ten times as long as elsewhere, a test has some that it does not have elsewhere, where it gets one try only.
      console.log(`again: ${name}: ${failure}`);
      failure = await attempt(action);
    }
    if (reason === undefined && failure !== undefined) throw failure;
    if (reason !== undefined && failure === undefined && !reason.startsWith("sometimes: ")) {
      throw new Error(`passes, but tests/expected/${RUNTIME_NAME}.json lists it ("${reason}"): remove the line`);
    }
  }

  function test(title: string, action: () => void | Promise<void>, options: TestOptions = {}): void {
    const name = `${topic}: ${title}`;
    if (names.has(name)) throw new Error(`two tests are named "${name}"`);
    names.add(name);
    if (options.skip) {
      console.log(`skipped: ${name}: ${options.skip}`);
      bunTest.skip(name, () => {});
      return;
    }
    bunTest(name, () => body(name, action), slow(options.limit ?? 20_000) * (IS_REFERENCE || IS_SLOW ? 2 : 1));
  }

  /** Tests that this machine cannot run, for one reason: it is printed once. */
  function testsElsewhere(titles: readonly string[], reason: string): void {
    for (const title of titles) names.add(`${topic}: ${title}`);
    console.log(`skipped: ${topic}: ${titles.join("; ")}: ${reason}`);
    bunTest.skip(`${topic}: ${reason}`, () => {});
  }

  afterAll(() => {
    removeLeaks(mark);
    if (mountsUnder(home).length === 0) rmSync(home, { recursive: true, force: true });
    const unknown = [...known.keys()].filter((name) => name.startsWith(`${topic}: `) && !names.has(name));
    if (unknown.length > 0) throw new Error(`tests/expected/${RUNTIME_NAME}.json names no test: ${unknown.join(", ")}`);
  });

  /** Ids in the state root; `list` must agree. */
  const knownIds = (): string[] => (existsSync(root) ? readdirSync(root).filter((name) => name.startsWith(mark)) : []);

  const commands = { runtime, runtimeBeside, run, create, start, state, kill, exec, remove };
  const helpers = { bundle, see, refusal, started, status, untilStatus, knownIds, after, mountHere };
  return { test, testsElsewhere, home, root, mark, ...commands, ...helpers };
}

/** The result, when the command succeeded. */
export function mustSucceed(result: Result): Result {
  if (result.status !== 0) throw new Error(`should have succeeded: ${describeResult(result)}`);
  return result;
}

/** The result, when the command failed by itself with exactly this status and `text` on standard error. */
export function mustFail(result: Result, text: RegExp | string, status = 1): Result {
  const found = typeof text === "string" ? result.stderr.includes(text) : text.test(result.stderr);
  if (result.status !== status || !found) {
    throw new Error(`should have failed with status ${status} and ${text}: ${describeResult(result)}`);
  }
  return result;
}

/** Waits until `condition` holds. With an empty `what`, silence after the time; otherwise an error. */
export function until(condition: () => boolean, what: string, limit = 5000): void {
  const end = Date.now() + slow(limit);
  while (!condition()) {
    if (Date.now() > end) {
      if (what === "") return;
      throw new Error(`waited ${slow(limit)} ms in vain for ${what}`);
    }
    Bun.sleepSync(5);
  }
}

const V2_VIEW = 'umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"';

function commandLine(root: string, args: readonly string[], options: RunOptions): string[] {
  const view = options.view === "v2" ? ["unshare", "-m", "--propagation", "private", "sh", "-c", V2_VIEW, "v2"] : [];
  return [
    ...view,
    ...(options.through ?? []),
    RUNTIME,
    "--root",
    root,
    ...MANAGER_FLAGS,
    ...(options.global ?? []),
    ...args,
  ];
}

function runtimePath(name: string): string {
  const path = name.includes("/") ? resolve(name) : Bun.which(name);
  if (path === null || !existsSync(path)) throw new Error(`no runtime ${name}: run make build, or set RUNTIME`);
  return path;
}

/** Mounts that a failed test leaves must end with the test run: tests/run.sh makes the namespace and says which it is. */
function refuseSharedMounts(): void {
  if (process.env.TSRUN_TEST_NAMESPACE !== readlinkSync("/proc/self/ns/mnt")) {
    throw new Error("these tests mount: start them with tests/run.sh, which gives them their own mount namespace");
  }
}
