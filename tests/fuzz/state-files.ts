import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import fc from "fast-check";
import { parseState } from "../../src/state/parse-state.ts";
import { textOf } from "../../src/text.ts";
import { command, describeResult, type Result } from "../helpers/command.ts";
import { baseConfig } from "../helpers/config.ts";
import { removeLeaks } from "../helpers/leaks.ts";
import { damaged, damages, harmlessValues, mutated, mutations } from "./mutate.ts";
import { excerpt, must, property, type Target } from "./property.ts";
import { errorLine, makeSandbox, mustEndWell } from "./sandbox.ts";
import { treeOf, write } from "./tree.ts";

/** What happened to a file of a container's state. */
interface Change {
  readonly file: "state.json" | "config.json" | "seccomp.bpf" | "exec.sock";
  readonly what: string;
  readonly apply: (at: Places) => void;
}

interface Places {
  /** The file, and the same file of another container. */
  readonly file: string;
  readonly others: string;
  /** A process that is no container's. */
  readonly stranger: number;
}

interface Case {
  readonly starts: boolean;
  readonly change: Change;
  readonly commands: readonly (readonly string[])[];
}

/** Two containers and a process beside them; the state of one is broken, and nothing happens to the others. */
export function stateFiles(): Target {
  const sandbox = makeSandbox("state");
  const { tsrun, mark, root } = sandbox;
  const [id, other] = [`${mark}a`, `${mark}b`];
  const stranger = Bun.spawn(["/bin/sleep", "100000"], {
    stdio: ["ignore", "ignore", "ignore"],
    env: { NAME: `${mark}stranger` },
  });

  const bundles = [id, other].map((name) => {
    const dir = sandbox.bundle(name);
    const config = { ...baseConfig(name), annotations: { a: "1" } };
    config.process.args = ["/bin/sleep", "1000"];
    config.linux.seccomp = { defaultAction: "SCMP_ACT_ALLOW" };
    sandbox.writeConfig(dir, JSON.stringify(config));
    return { name, dir };
  });
  const make = (name: string, starts: boolean): void => {
    const { dir } = bundles.find((each) => each.name === name)!;
    mustSucceed(tsrun(["create", "--bundle", dir, name]));
    if (starts) mustSucceed(tsrun(["start", name]));
  };
  const lives = (): void => {
    must(
      stranger.exitCode === null && stranger.signalCode === null && existsSync(`/proc/${stranger.pid}`),
      () => "the stranger was killed",
    );
    const state = mustSucceed(tsrun(["state", other]));
    must(JSON.parse(state.stdout).status === "running", () => `the other container is not running: ${state.stdout}`);
  };

  const check = ({ starts, change, commands }: Case): void => {
    try {
      make(id, starts);
      if (!existsSync(`${root}/${other}`)) make(other, true);
      const file = `${root}/${id}/${change.file}`;
      const believed = stateAt(`${root}/${id}`);
      change.apply({ file, others: `${root}/${other}/${change.file}`, stranger: stranger.pid });
      const misled = misleads(believed, `${root}/${id}`);
      for (const words of commands) mustMakeSense(tsrun(words.map((word) => (word === "ID" ? id : word))));
      lives();
      const removed = tsrun(["delete", "--force", id], { limit: 30_000 });
      mustEndWell(removed);
      must(
        removed.status === 0 && !existsSync(`${root}/${id}`),
        () => `delete --force does not help: ${describeResult(removed)}`,
      );
      lives();
      // Nobody can tell where the container was when its state says something else.
      if (misled) removeLeaks(id);
    } finally {
      if (existsSync(`${root}/${id}`)) {
        rmSync(`${root}/${id}`, { recursive: true });
        removeLeaks(id);
      }
      mustBeGone(id);
    }
  };
  const mustBeGone = (name: string): void => {
    sandbox.mustBeClean(name);
    if (!existsSync(`${root}/${other}`)) sandbox.mustBeClean(other);
  };

  return {
    close: () => {
      stranger.kill("SIGKILL");
      sandbox.deleteAll();
      sandbox.close();
    },
    properties: [
      property({
        name: "state/broken",
        says: "every command works or says what is wrong, delete --force clears up, and nobody else is touched",
        values: fc.record({
          starts: fc.boolean(),
          change: changes(),
          commands: fc.array(commandsOn(), { maxLength: 3 }),
        }),
        check,
        runs: 60,
        seconds: 12,
        show: ({ starts, change, commands }) =>
          `${starts ? "running" : "created"}, ${change.file}: ${change.what}; then ${commands.map((words) => words.join(" ")).join("; ")}`,
      }),
    ],
  };
}

function mustSucceed(result: Result): Result {
  must(result.status === 0, () => `should have succeeded: ${describeResult(result)}`);
  return result;
}

/** Success; or a status of failure, and one error with what can be done about it. */
function mustMakeSense(result: Result): void {
  mustEndWell(result);
  if (result.status !== 0) errorLine(result);
}

function commandsOn(): fc.Arbitrary<readonly string[]> {
  return fc.constantFrom(
    ...[
      "state ID",
      "list",
      "list -q",
      "list --format json",
      "ps ID",
      "kill ID 0",
      "kill ID TERM",
      "kill ID USR1",
      "kill --all ID KILL",
      "kill ID KILL",
      "pause ID",
      "resume ID",
      "exec ID /bin/true",
      "update --pids-limit 100 ID",
      "events --stats ID",
      "start ID",
      "delete ID",
    ].map((line) => line.split(" ")),
  );
}

function changes(): fc.Arbitrary<Change> {
  return fc
    .tuple(
      fc.oneof(
        { weight: 6, arbitrary: fc.constant("state.json" as const) },
        { weight: 2, arbitrary: fc.constantFrom("config.json" as const, "seccomp.bpf" as const, "exec.sock" as const) },
      ),
      fc.oneof(
        { weight: 4, arbitrary: mutatedFiles() },
        { weight: 2, arbitrary: damagedFiles() },
        { weight: 3, arbitrary: fc.constantFrom(...REPLACED) },
        { weight: 3, arbitrary: pidChanges() },
      ),
    )
    .map(([file, change]) => ({ file, ...change }));
}

type Deed = Omit<Change, "file">;

function mutatedFiles(): fc.Arbitrary<Deed> {
  return fc.array(mutations(harmlessValues()), { minLength: 1, maxLength: 3 }).map((list) => ({
    what: `changed: ${excerpt(JSON.stringify(list), 1000)}`,
    apply: ({ file }) => {
      if (!isJson(file)) return;
      writeFileSync(file, write(mutated(treeOf(JSON.parse(readFileSync(file, "utf8"))), list)));
    },
  }));
}

function isJson(file: string): boolean {
  return existsSync(file) && file.endsWith(".json");
}

function damagedFiles(): fc.Arbitrary<Deed> {
  return fc.array(damages, { minLength: 1, maxLength: 3 }).map((list) => ({
    what: `damaged: ${JSON.stringify(list)}`,
    apply: ({ file }) => {
      if (existsSync(file) && !file.endsWith(".sock")) writeFileSync(file, damaged(readFileSync(file), list));
    },
  }));
}

/** The id of a process that is not the container's, or of none at all. */
function pidChanges(): fc.Arbitrary<Deed> {
  const pids = fc.oneof(fc.constant("stranger" as const), fc.constantFrom(0, 1, 2, 4_194_304, 2 ** 31, 2 ** 53));
  const start = fc.constantFrom(undefined, 0, 1);
  return fc.tuple(pids, start).map(([pid, time]) => ({
    what: `init_process_pid of ${pid}${time === undefined ? "" : `, init_process_start ${time}`}`,
    apply: ({ file, stranger }) => {
      if (!isJson(file)) return;
      const state = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
      const changed = { ...state, init_process_pid: pid === "stranger" ? stranger : pid };
      writeFileSync(file, JSON.stringify(time === undefined ? changed : { ...changed, init_process_start: time }));
    },
  }));
}

const REPLACED: readonly Deed[] = [
  { what: "gone", apply: ({ file }) => rmSync(file, { force: true }) },
  { what: "empty", apply: ({ file }) => writeAnew(file, "") },
  { what: "the other container's", apply: ({ file, others }) => copy(others, file) },
  { what: "a link to the other container's", apply: ({ file, others }) => anew(file, () => symlinkSync(others, file)) },
  { what: "a link to nothing", apply: ({ file }) => anew(file, () => symlinkSync("nothing", file)) },
  { what: "a directory", apply: ({ file }) => anew(file, () => mkdirSync(file)) },
  { what: "a fifo", apply: ({ file }) => anew(file, () => void command(["mkfifo", file])) },
  { what: "null", apply: ({ file }) => writeAnew(file, "null") },
  { what: "a megabyte of text", apply: ({ file }) => writeAnew(file, "x".repeat(1 << 20)) },
  { what: "deeply nested", apply: ({ file }) => writeAnew(file, `${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}`) },
  { what: "a draft", apply: ({ file }) => existsSync(file) && renameSync(file, `${file}.new`) },
  {
    what: "of a version without later properties",
    apply: ({ file }) => without(file, "cgroup_manager", "systemd_unit"),
  },
  { what: "beside things that nobody knows", apply: ({ file }) => mkdirSync(`${file}.d/x`, { recursive: true }) },
];

function anew(file: string, make: () => void): void {
  rmSync(file, { recursive: true, force: true });
  make();
}

function writeAnew(file: string, text: string): void {
  anew(file, () => writeFileSync(file, text));
}

function copy(from: string, to: string): void {
  if (existsSync(from) && !from.endsWith(".sock")) copyFileSync(from, to);
}

function without(file: string, ...names: readonly string[]): void {
  if (!isJson(file)) return;
  const members = Object.entries(JSON.parse(readFileSync(file, "utf8")) as object);
  writeFileSync(file, JSON.stringify(Object.fromEntries(members.filter(([name]) => !names.includes(name)))));
}

/** What delete goes by, when it can be read. */
function stateAt(directory: string): { pid: number; start: number; cgroups: string } | undefined {
  const names = readdirSync(directory);
  for (const name of ["state.json", "state.json.new"]) {
    // Not a FIFO, which would be waited for.
    if (!names.includes(name) || !lstatSync(`${directory}/${name}`).isFile()) continue;
    const state = parseState(textOf(readFileSync(`${directory}/${name}`)), idOf(directory));
    if (typeof state === "string") continue;
    const { init_process_pid: pid, init_process_start: start, cgroup_paths } = state;
    return { pid, start, cgroups: JSON.stringify(cgroup_paths) };
  }
  return undefined;
}

function idOf(directory: string): string {
  return directory.slice(directory.lastIndexOf("/") + 1);
}

/** True when delete goes by something else than before, or has nothing at all to go by; a broken state it makes up for. */
function misleads(before: ReturnType<typeof stateAt>, directory: string): boolean {
  const now = stateAt(directory);
  if (now === undefined) return !existsSync(`${directory}/state.json`);
  return JSON.stringify(before) !== JSON.stringify(now);
}
