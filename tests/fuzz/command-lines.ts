import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import fc from "fast-check";
import { parseFast } from "../../src/cli/fast-path.ts";
import { lines } from "../../src/cli/lines-under-test.ts";
import {
  type CommandName,
  commandNames,
  commandOptions,
  globalOptions,
  type OptionRow,
} from "../../src/cli/options.ts";
import { parseForPeople } from "../../src/cli/yargs.ts";
import { describeResult } from "../helpers/command.ts";
import { baseConfig } from "../helpers/config.ts";
import { must, property, type Target } from "./property.ts";
import { errorLine, makeSandbox, mustEndWell } from "./sandbox.ts";

/** Words as nobody would type them, and that name no file of the machine's. */
const ODD_WORDS = [
  "-",
  "--",
  "---",
  "-=",
  "--=x",
  "\n",
  "--__proto__",
  "--constructor=1",
  "--help=x",
  "-\u001b[2J",
  "é\u009b",
].concat("9".repeat(400), "-".repeat(300), `--${"x".repeat(5000)}`);

const garbage = fc.oneof(
  fc.string({ unit: "binary", maxLength: 10 }),
  fc.constantFrom(...ODD_WORDS, "--=", "-\0", "--log=", "-h", "--version=false", "\ud800"),
);

export function commandLines(): Target {
  const mixed = strewn(lines(), garbage, 3);
  const parsing = property({
    name: "command/parse",
    says: "both parsers read a line the same way, or one line says what is wrong with it",
    values: mixed,
    check: mustParse,
    runs: 3000,
    seconds: 4,
    show: (line) => JSON.stringify(line),
  });
  const { running, close } = commandRuns();
  return { close, properties: [parsing, running] };
}

/** Lines with up to `most` of the words somewhere in them. */
function strewn(all: fc.Arbitrary<string[]>, words: fc.Arbitrary<string>, most: number): fc.Arbitrary<string[]> {
  return fc
    .tuple(all, fc.array(fc.tuple(words, fc.nat()), { maxLength: most }))
    .map(([line, list]) => list.reduce((so, [word, at]) => so.toSpliced(at % (so.length + 1), 0, word), line));
}

function mustParse(line: readonly string[]): void {
  const fast = parseFast(line);
  const answer = parseForPeople(line);
  if (fast !== undefined) {
    const same = answer.kind === "run" && Bun.deepEquals(answer.invocation, fast);
    must(same, () => `differently: ${JSON.stringify(fast)} and ${JSON.stringify(answer)}`);
  } else if (answer.kind === "wrong") {
    const { message, details } = answer.error;
    must(message !== "" && !message.includes("\n"), () => `not one line: ${JSON.stringify(message)}`);
    must(details.code === "EUSAGE" && details.hint !== undefined, () => `no hint: ${JSON.stringify(answer)}`);
  } else if (answer.kind === "run" && !line.some(isHelp)) {
    const again = parseFast(line.map(plainBoolean));
    must(again !== undefined, () => `the fast path declines what is right: ${JSON.stringify(answer)}`);
  }
}

/** Only yargs knows how not to ask for help. */
function isHelp(word: string): boolean {
  return /^--?(help|h|\?)=/.test(word);
}

/** The fast path leaves Go's other words for true and false to yargs. */
function plainBoolean(word: string): string {
  if (/^--?[^=]+=(1|t|T|TRUE|True)$/.test(word)) return word.replace(/=.*/, "=true");
  return word.replace(/^(--?[^=]+)=(0|f|F|FALSE|False)$/, "$1=false");
}

/** The program itself, in a directory with a bundle, and with one container that runs. */
function commandRuns() {
  const sandbox = makeSandbox("line");
  const { tsrun, root, mark, home } = sandbox;
  const bundle = sandbox.bundle("bundle");
  const config = { ...baseConfig(`${mark}c`), annotations: { a: "b" } };
  config.linux.cgroupsPath = "";
  sandbox.writeConfig(bundle, JSON.stringify(config));
  const running = `${mark}running`;

  const check = (line: readonly string[]): void => {
    const before = readdirSync(bundle);
    if (!existsSync(`${root}/${running}`)) makeRunning();
    try {
      const events = line.includes("events") && !line.includes("--stats");
      const result = tsrun(line, { cwd: bundle, limit: events ? 500 : 20_000 });
      // Events of a container that runs come until somebody has enough of them.
      if (events && result.status === -1) return;
      mustEndWell(result);
      if (result.status !== 0 && !ranProgram(line)) {
        errorLine(result);
        must([1, 255].includes(result.status), () => `an exit status of its own: ${describeResult(result)}`);
      }
    } finally {
      for (const id of existsSync(root) ? readdirSync(root) : []) if (id !== running) tsrun(["delete", "--force", id]);
      for (const name of readdirSync(bundle)) {
        if (!before.includes(name)) rmSync(`${bundle}/${name}`, { recursive: true, force: true });
      }
    }
    sandbox.mustBeClean(`${mark}new`);
  };
  const makeRunning = (): void => {
    const dir = `${home}/running`;
    if (!existsSync(dir)) sandbox.bundle("running");
    const waiting = { ...baseConfig(running) };
    waiting.process.args = ["/bin/sleep", "1000"];
    sandbox.writeConfig(dir, JSON.stringify(waiting));
    for (const words of [
      ["create", "--bundle", dir, running],
      ["start", running],
    ]) {
      const result = tsrun(words);
      must(result.status === 0, () => describeResult(result));
    }
  };
  mkdirSync(root, { recursive: true });

  const property_ = property({
    name: "command/run",
    says: "every line ends in success, or in an error of one line; without a stack, and leaving nothing",
    values: strewn(harmlessLines([running, `${mark}new`]), fc.constantFrom(...ODD_WORDS), 1),
    check,
    runs: 120,
    seconds: 8,
    show: (line: readonly string[]) => JSON.stringify(line),
  });
  const close = () => {
    sandbox.deleteAll();
    sandbox.close();
  };
  return { running: property_, close };
}

/** Their exit status may be that of a program. */
function ranProgram(line: readonly string[]): boolean {
  return line.some((word) => word === "run" || word === "exec" || word === "try");
}

const WORDS = [
  "",
  "x",
  "-1",
  "1",
  "99999999999999999999",
  "true",
  "nothing/here",
  "é",
  "--",
  "-x",
  "a=b",
  "json",
  "__proto__",
];

/** Lines that only name what is in the working directory, and containers of the sandbox. */
function harmlessLines(ids: readonly string[]): fc.Arbitrary<string[]> {
  const id = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...ids) },
    { weight: 1, arbitrary: fc.constantFrom("../x", "a/b", "é", "x".repeat(2000), "nobody") },
  );
  const optionsOf = (rows: Readonly<Record<string, OptionRow>>) => {
    const known = Object.entries(rows).filter(
      ([name]) => name !== "root" && name !== "systemd-cgroup" && name !== "cgroup-manager",
    );
    if (known.length === 0) return fc.constant([]);
    const one = fc
      .tuple(fc.constantFrom(...known), fc.constantFrom(...WORDS), fc.nat(9), fc.boolean())
      .map(([[name, row], word, pick, joined]) => {
        const value = row.choices !== undefined && pick > 0 ? row.choices[pick % row.choices.length]! : word;
        if (row.type === "boolean") return pick > 1 ? [`--${name}`] : [`--${name}=${word}`];
        return joined ? [`--${name}=${value}`] : [`--${name}`, value];
      });
    return fc.array(one, { maxLength: 3 }).map((list) => list.flat());
  };
  const rest: Partial<Record<CommandName, fc.Arbitrary<string[]>>> = {
    kill: fc.constantFrom([], ["TERM"], ["0"], ["65"], ["SIGNOSUCH"], ["-9"]),
    exec: fc.constantFrom([], ["/bin/true"], ["nosuch"], ["/bin/sh", "-c", "exit 7"], [""]),
    ps: fc.constantFrom([], ["-ef"], ["aux"], ["--nosuch"]),
  };
  const none: readonly string[] = ["list", "spec", "features", "help", "completion", "seccomp", "try", "plan"];
  const without: Partial<Record<CommandName, fc.Arbitrary<string[]>>> = {
    help: fc.constantFrom([], ["run"], ["nosuch"]),
    completion: fc.constantFrom(["bash"], ["zsh"], ["fish"], ["x"]),
    seccomp: fc.constantFrom(["show"], ["show", "config.json"], ["show", "nothing"], ["x", "y"]),
    try: fc.constantFrom(["/bin/true"], ["nosuch"], ["/bin/sh", "-c", "exit 9"]),
    plan: fc.constantFrom([], ["x"]),
  };
  return fc.constantFrom(...commandNames()).chain((name) => {
    const words = none.includes(name)
      ? (without[name] ?? fc.constant([]))
      : fc.tuple(id, rest[name] ?? fc.constant([])).map(([which, more]) => [which, ...more]);
    return fc
      .tuple(
        fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: optionsOf(globalOptions()) }),
        optionsOf(commandOptions(name)),
        words,
      )
      .map(([global, own, args]) => [...global, name, ...own, ...args]);
  });
}
