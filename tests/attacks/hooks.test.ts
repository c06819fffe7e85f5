import { existsSync, mkdirSync, readFileSync } from "node:fs";
import type { Hook, HookKind } from "../helpers/config.ts";
import { type Bundle, mustSucceed, type RunOptions } from "../helpers/suite.ts";
import { type Attempt, attacks, mustBe } from "./helpers/attack.ts";

const { attack, weakened, bundle, create, start, remove, kill, untilStatus } = attacks("hostile-hooks");

const KINDS: readonly HookKind[] = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
];

/** More than any pipe holds: whoever writes it to one has to wait for a reader. */
const LONG = "x".repeat(2_000_000);

const HOOKS: readonly (readonly [what: string, script: string])[] = [
  ["closes its standard input", "exec <&-; exit 0"],
  ["closes all three", "exec <&- >&- 2>&-; exit 0"],
  ["never reads", "exit 0"],
  ["reads a little", "head -c 1 > /dev/null; exit 0"],
  ["writes more than a pipe holds and leaves a child with it", "head -c 300000 /dev/zero; sleep 0.5 & exit 0"],
];

const shell = (script: string): Hook => ({ path: "/bin/sh", args: ["sh", "-c", script], env: ["PATH=/bin:/usr/bin"] });

/** Lives through all of a container's life with such a hook at every stage of it. */
function live(script: string, options: RunOptions): string[] {
  const b = bundle((config) => {
    config.process.args = ["/bin/sleep", "1000"];
    config.annotations = { long: LONG };
    config.hooks = Object.fromEntries(KINDS.map((kind) => [kind, [shell(script)]]));
  });
  const limit = { ...options, limit: 8_000 };
  const results = [create(b, limit)];
  if (results[0]!.status === 0) results.push(start(b, limit));
  if (results[1]?.status === 0) {
    mustSucceed(kill(b, "KILL"));
    untilStatus(b, "stopped");
    results.push(remove(b, limit));
  }
  return results
    .filter(({ status }) => status !== 0)
    .map(({ argv, status, stderr }) => `${argv.slice(-5).join(" ")}: ${status} ${stderr}`);
}

const silentHooks: Attempt = (options) =>
  (options.through === undefined ? HOOKS : HOOKS.slice(2, 3)).flatMap(([what, script]) =>
    live(script, options).map((found) => `a hook that ${what}: ${found.slice(0, 300)}`),
  );

attack(
  ["hooks"],
  "whatever a hook does with its standard input and output, nobody waits for it or dies of it",
  () => {
    // The runtime would wait for ever for a reader of the state, or be ended by SIGPIPE with a container half made.
    mustBe([], silentHooks({}));
  },
  { limit: 120_000 },
);

weakened(
  ["hooks"],
  "a state that needs no reader",
  [
    {
      file: "hooks/run.ts",
      from: 'const input = must(memory("state"), hook);',
      to: "const ends = new Int32Array(2); sys('socketpair', 1, 1, 0, ends); const input = ends[1]!;",
    },
  ],
  silentHooks,
);

/** A hook that says what it has been given: environment, descriptors, signals that it ignores. */
const REPORT = `{ tr '\\0' '\\n' < /proc/self/environ; cd /proc/self/fd; for n in *; do [ -e $n ] && [ $n -gt 2 ] && readlink $n; done; grep SigIgn: /proc/self/status; }`;

/** A caller with secrets in its environment and descriptors, that ignores signals. */
const careless = (through: readonly string[] = []): RunOptions => ({
  through: ["sh", "-c", 'trap "" USR1; export SECRET=1; exec 3< /etc/shadow; exec "$@"', "sh", ...through],
});

function report(b: Bundle, kind: HookKind): string[] {
  const text = existsSync(`${b.dir}/log/${kind}`) ? readFileSync(`${b.dir}/log/${kind}`, "utf8") : "it did not run";
  return text
    .split("\n")
    .filter((line) => /SECRET|shadow|SigIgn:.*[^0\t]|not run/.test(line))
    .map((line) => `${kind}: ${line}`);
}

const scrubbed: Attempt = ({ through }) => {
  const b = bundle((config, at) => {
    const log = `${at.dir}/log`;
    mkdirSync(log);
    config.mounts.push({ destination: log, type: "bind", source: log, options: ["bind"] });
    config.process.args = ["/bin/sleep", "1000"];
    config.hooks = Object.fromEntries(KINDS.map((kind) => [kind, [shell(`${REPORT} > ${log}/${kind} 2>&1; exit 0`)]]));
  });
  mustSucceed(create(b, careless(through)));
  mustSucceed(start(b, careless(through)));
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  mustSucceed(remove(b, careless(through)));
  return KINDS.flatMap((kind) => report(b, kind));
};

attack(
  ["hooks"],
  "hooks have neither the environment nor the descriptors nor the ignored signals of the runtime's caller",
  () => {
    // An engine's secrets would have been every hook's.
    mustBe([], scrubbed({}));
  },
);

weakened(
  ["hooks"],
  "closing what the caller has left open",
  [{ file: "hooks/run.ts", from: '  sys("close_range", 3, UINT_MAX, CLOSE_RANGE_CLOEXEC);\n', to: "" }],
  scrubbed,
);
