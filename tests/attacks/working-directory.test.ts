import { symlinkSync, writeFileSync } from "node:fs";
import { AT_FDCWD, type Call, say, writeAttacker } from "../helpers/attacker.ts";
import { type Bundle, mustSucceed, RUNTIME_NAME, type RunOptions } from "../helpers/suite.ts";
import { type Attempt, attacks, mustBe } from "./helpers/attack.ts";
import { canary } from "./helpers/canary.ts";

const { attack, weakened, bundle, started, run, exec, home } = attacks("working-directory");

const [FIRST, LAST] = [3, 50];

/** Ways to say "where descriptor `fd` is", for an engine that takes the working directory from an image. */
const SPELLINGS: readonly (readonly [title: string, last: number, path: (fd: number) => string])[] = [
  ["/proc/self/fd/N", LAST, (fd) => `/proc/self/fd/${fd}`],
  ["/proc/1/fd/N", 12, (fd) => `/proc/1/fd/${fd}`],
  ["/proc/thread-self/fd/N/..", 12, (fd) => `/proc/thread-self/fd/${fd}/..`],
  ["a symlink of the image to it", 12, (fd) => `/links/${fd}`],
];

function link({ rootfs }: { rootfs: string }): void {
  Bun.spawnSync(["mkdir", `${rootfs}/links`]);
  for (let fd = FIRST; fd <= LAST; fd++) symlinkSync(`/proc/self/fd/${fd}`, `${rootfs}/links/${fd}`);
}

/** Prints the bundle's config.json when it begins outside of the container's root; the image has none. */
const lookOutside = (b: { dir: string }): string[] => ["/bin/cat", `../../../../../../../../../..${b.dir}/config.json`];

for (const [title, last, path] of SPELLINGS) {
  // With runc before 1.1.12, one of these was the host's /sys/fs/cgroup: the program began outside of its root.
  attack(
    ["CVE-2024-21626"],
    `${title} as the working directory, N from ${FIRST} to ${last}: no program begins outside`,
    () => {
      const outside: string[] = [];
      const b = bundle((_config, at) => link(at));
      b.config.process.args = lookOutside(b);
      for (let fd = FIRST; fd <= last; fd++) {
        b.config.process.cwd = path(fd);
        writeFileSync(`${b.dir}/config.json`, JSON.stringify(b.config));
        const { stdout, status } = run(b);
        if (stdout !== "" || status === 0) outside.push(`${path(fd)}: status ${status}, ${stdout}`);
      }
      mustBe([], outside);
    },
    { limit: 60_000 },
  );

  attack(
    ["CVE-2024-21626"],
    `exec --cwd ${title}, N from ${FIRST} to ${last}: no program begins outside`,
    () => {
      const b = started((_config, at) => link(at));
      const outside: string[] = [];
      for (let fd = FIRST; fd <= last; fd++) {
        const { stdout, status } = exec(b, lookOutside(b), { flags: ["--cwd", path(fd)] });
        if (stdout !== "" || status === 0) outside.push(`${path(fd)}: status ${status}, ${stdout}`);
      }
      mustBe([], outside);
    },
    { limit: 60_000 },
  );
}

/** A descriptor of a directory of the host that the caller leaves open, and tells to keep. */
function withHostDirectory(dir: string, { through = [] }: RunOptions): RunOptions {
  return { through: ["sh", "-c", `exec 3< ${dir}; exec "$@"`, "sh", ...through], flags: ["--preserve-fds", "1"] };
}

const leaked =
  (command: (b: Bundle, options: RunOptions) => { stdout: string }): Attempt =>
  (options) => {
    const { dir } = canary(`${home}/host`, { secret: "of the host\n" });
    const b = started((config) => {
      config.process.args = ["/bin/sleep", "1000"];
    });
    return command(b, withHostDirectory(dir, options))
      .stdout.split("\n")
      .filter((line) => line === "of the host");
  };

const execThere = leaked((b, options) => {
  const flags = [...options.flags!, "--cwd", "/proc/self/fd/3"];
  return exec(b, ["/bin/cat", "secret"], { ...options, flags });
});

const runThere = leaked((_b, options) => {
  const there = bundle((config) => {
    config.process.cwd = "/proc/self/fd/3";
    config.process.args = ["/bin/cat", "secret"];
  });
  return run(there, options);
});

for (const [title, attempt] of [
  ["exec", execThere],
  ["run", runThere],
] as const) {
  attack(["CVE-2024-21626"], `${title}: a directory that the caller keeps open is no working directory`, () => {
    // The program would begin in the directory of the host, and from there reach all of it.
    mustBe([], attempt({}));
  });
}

weakened(
  ["CVE-2024-21626"],
  "resolving in the container's root",
  [
    {
      file: "plan/process.ts",
      from: '    fd = slot(slots, "working directory");\n    openInRoot(identity, fd, rootfs, process.cwd, origin, { says }, O_DIRECTORY);',
      to: '    fd = slot(slots, "working directory");\n    add(identity, { call: "openat", args: [-100, process.cwd, O_DIRECTORY, 0], into: fd, ...origin });',
    },
  ],
  execThere,
);

attack(["CVE-2024-21626"], "the refusal says what it is: a breakout", () => {
  if (RUNTIME_NAME !== "tsrun") return;
  const { dir } = canary(`${home}/host`);
  const b = started();
  const options = withHostDirectory(dir, {});
  const { stderr } = exec(b, ["/bin/pwd"], { ...options, flags: [...options.flags!, "--cwd", "/proc/self/fd/3"] });
  mustBe(["possible container breakout"], [/possible container breakout/.exec(stderr)?.[0] ?? stderr]);
});

/** Says which of its descriptors are open and what they are, itself opening none. */
function listing(): Call[] {
  const each = Array.from({ length: 128 }, (_, fd): Call[] => [
    {
      call: "readlinkat",
      args: [AT_FDCWD, `/proc/self/fd/${fd}`, { room: "link" }, 300],
      into: "length",
      error: `no ${fd}`,
    },
    { call: "write", args: [1, `${fd} `, String(fd).length + 1] },
    { call: "write", args: [1, { room: "link" }, { value: "length" }] },
    say(1, ""),
    { label: `no ${fd}`, call: "getppid" },
  ]).flat();
  return [...each, { call: "exit_group", args: [0] }];
}

for (const [title, descriptors] of [
  ["none", ""],
  ["some", "3< /etc/passwd 4< / 9< /sys/fs/cgroup"],
] as const) {
  attack(
    ["CVE-2024-21626"],
    `every descriptor of a new process is accounted for, of a caller with ${title} of its own`,
    () => {
      // One of the host's would do: descriptors reach what was open when they were made, whatever the root is now.
      const through = ["sh", "-c", `exec ${descriptors} < /dev/null; exec "$@"`, "sh"];
      const b = started((_config, at) => writeAttacker(`${at.rootfs}/list`, listing()), { through });
      const seen = mustSucceed(exec(b, ["/list"], { through }))
        .stdout.trim()
        .split("\n");
      mustBe(
        ["0", "1", "2"],
        seen.map((line) => line.split(" ")[0]!),
      );
      const once = bundle((config, at) => {
        writeAttacker(`${at.rootfs}/list`, listing());
        config.process.args = ["/list"];
      });
      const first = mustSucceed(run(once, { through })).stdout.trim().split("\n");
      mustBe(
        ["0", "1", "2"],
        first.map((line) => line.split(" ")[0]!),
      );
    },
  );
}
