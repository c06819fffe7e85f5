import { writeFileSync } from "node:fs";
import type { Result } from "../helpers/command.ts";
import type { Config } from "../helpers/config.ts";
import type { RunOptions } from "../helpers/suite.ts";
import { type Attempt, attacks, mustBe } from "./helpers/attack.ts";

const { attack, weakened, bundle, started, run, exec, runtime, status } = attacks("numbers");

/** The user that a spelling may be, beside being refused. */
const USERS: readonly (readonly [spelling: string, uid: number | undefined])[] = [
  ["1", 1],
  ["01", 1],
  ["", undefined],
  ["1x", undefined],
  ["1:", 1],
  [":1", undefined],
  ["-1", undefined],
  ["-0", undefined],
  ["+1", undefined],
  ["x", undefined],
  ["0x1", undefined],
  ["1e3", undefined],
  ["1.5", undefined],
  [" 1", undefined],
  ["1 ", undefined],
  ["\u0661", undefined],
  ["4294967295", undefined],
  ["4294967296", undefined],
  ["4294967297", undefined],
  ["18446744073709551617", undefined],
  ["1:4294967296", undefined],
  ["1:1x", undefined],
];

/** To see that an attack succeeds, a few will do. */
const some = <T>(list: readonly T[], { through }: RunOptions): readonly T[] =>
  through === undefined ? list : list.slice(0, 8);

const otherUsers: Attempt = (options) => {
  const b = started();
  return some(USERS, options).flatMap(([spelling, uid]) => {
    const { status, stdout } = exec(b, ["/bin/id", "-u"], { ...options, flags: [`--user=${spelling}`] });
    const ran = stdout.trim();
    const isRight = ran === "" ? status !== 0 && spelling !== "1" : ran === String(uid);
    return isRight ? [] : [`--user ${JSON.stringify(spelling)}: user ${ran}, status ${status}`];
  });
};

attack(
  ["CVE-2026-30892"],
  "exec --user: who is not written in plain digits is nobody, and never root",
  () => {
    // "-u 1" was root with one version of crun, "4294967296" is with some of runc.
    mustBe([], otherUsers({}));
  },
  { limit: 60_000 },
);

weakened(
  ["CVE-2026-30892"],
  "looking at the whole text",
  [
    {
      file: "container/exec-process.ts",
      from: "const match = /^([0-9]{1,10})(?::([0-9]{1,10}))?$/.exec(user);\n  const uid = Number(match?.[1]);",
      to: 'const match = ["", user]; const uid = parseInt(user) | 0;',
    },
  ],
  otherUsers,
);

/** A property of config.json, and what is no number for it. */
const WRONG: readonly (readonly [pointer: string, text: string, put: (config: Config, value: unknown) => void])[] = [
  ...["4294967296", "4294967295", "-1", "1.5", '"1"', '"1x"', "1e400", "18446744073709551616", "[1]", "true"].map(
    (text) =>
      [
        "process.user.uid",
        text,
        (config: Config, value: unknown) => (config.process.user.uid = value as number),
      ] as const,
  ),
  ...["4294967296", "-1", "0.5"].map(
    (text) =>
      [
        "process.user.gid",
        text,
        (config: Config, value: unknown) => (config.process.user.gid = value as number),
      ] as const,
  ),
  ["process.user.additionalGids", "4294967296", (c, value) => (c.process.user.additionalGids = [value as number])],
  ["process.user.umask", "4294967296", (c, value) => (c.process.user.umask = value as number)],
  ["process.user.umask", "-1", (c, value) => (c.process.user.umask = value as number)],
  ["process.oomScoreAdj", "1001", (c, value) => (c.process.oomScoreAdj = value as number)],
  ["process.oomScoreAdj", "0.5", (c, value) => (c.process.oomScoreAdj = value as number)],
  ...["18446744073709551616", "-1", "1.5", '"1"'].map(
    (text) =>
      [
        "process.rlimits[0].soft",
        text,
        (config: Config, value: unknown) =>
          (config.process.rlimits = [{ type: "RLIMIT_CORE", soft: value as number, hard: value as number }]),
      ] as const,
  ),
  [
    "hooks.prestart[0].timeout",
    "1.5",
    (c, value) => (c.hooks = { prestart: [{ path: "/bin/true", timeout: value as number }] }),
  ],
  [
    "hooks.prestart[0].timeout",
    '"1x"',
    (c, value) => (c.hooks = { prestart: [{ path: "/bin/true", timeout: value as number }] }),
  ],
  ["linux.uidMappings[0].size", "4294967296", (c, value) => map(c, value)],
  ["linux.uidMappings[0].size", "0.5", (c, value) => map(c, value)],
  ["linux.uidMappings[0].size", "-1", (c, value) => map(c, value)],
  [
    "linux.devices[0].major",
    "1.5",
    (c, value) => (c.linux.devices = [{ type: "c", path: "/dev/x", major: value as number, minor: 3 }]),
  ],
  [
    "linux.devices[0].minor",
    "9223372036854775808",
    (c, value) => (c.linux.devices = [{ type: "c", path: "/dev/x", major: 1, minor: value as number }]),
  ],
  ["linux.resources.memory.limit", "1.5", (c, value) => (c.linux.resources = { memory: { limit: value } })],
  ["linux.resources.pids.limit", '"1x"', (c, value) => (c.linux.resources = { pids: { limit: value } })],
  [
    "linux.resources.cpu.shares",
    "18446744073709551616",
    (c, value) => (c.linux.resources = { cpu: { shares: value } }),
  ],
];

function map(config: Config, size: unknown): void {
  config.linux.namespaces.push({ type: "user" });
  config.linux.uidMappings = [{ containerID: 0, hostID: 100_000, size: size as number }];
  config.linux.gidMappings = [{ containerID: 0, hostID: 100_000, size: 65536 }];
}

/** What JSON.stringify writes for it and JSON does not have. */
const PLACE = "the number";

const wrongInConfig: Attempt = (options) => {
  const b = bundle();
  return some(WRONG, options).flatMap(([property, text, put]) => {
    const config = structuredClone(b.config);
    config.process.args = ["/bin/sh", "-c", "id; grep -e . /proc/self/uid_map /proc/self/oom_score_adj"];
    put(config, PLACE);
    writeFileSync(`${b.dir}/config.json`, JSON.stringify(config).replaceAll(JSON.stringify(PLACE), text));
    const { status, stdout, stderr } = run(b, options);
    const isRefused = status === 1 && stdout === "" && !/panic|goroutine|undefined|NaN/.test(stderr);
    return isRefused ? [] : [`${property} ${text}: status ${status}, ${stdout}${stderr}`];
  });
};

attack(
  ["numbers"],
  "a property of config.json that is no number of its range is refused, whatever it would be with less digits",
  () => {
    // 4294967296 is 0 in 32 bits, and "1x" and 1.5 are 1 for many a parser: another user, another limit, another device.
    mustBe([], wrongInConfig({}));
  },
  { limit: 60_000 },
);

weakened(
  ["numbers"],
  "looking at the shape of config.json",
  [{ file: "spec/load.ts", from: "  let valid = kind.isValid(value);", to: "  let valid = true;" }],
  wrongInConfig,
);

type Command = (text: string, options: RunOptions) => Result;

const wrongInOptions: Attempt = (options) => {
  const b = started();
  const commands: readonly (readonly [string, Command])[] = [
    ["exec --preserve-fds", (text, o) => exec(b, ["/bin/true"], { ...o, flags: [`--preserve-fds=${text}`] })],
    ["exec --additional-gids", (text, o) => exec(b, ["/bin/true"], { ...o, flags: [`--additional-gids=${text}`] })],
    ["kill", (text, o) => runtime(["kill", b.id, text], o)],
    ["update --pids-limit", (text, o) => runtime(["update", `--pids-limit=${text}`, b.id], o)],
    ["update --memory", (text, o) => runtime(["update", `--memory=${text}`, b.id], o)],
  ];
  const texts = ["1x", "9x", "1.5", "4294967305", "18446744073709551625", "0x9", "1e1", " 9", "9 "];
  const refused = (name: string, text: string) =>
    // A size may have a fraction and a unit, and more than 32 bits.
    !(name === "update --memory" && ["1.5", "4294967305"].includes(text)) &&
    !(name === "update --pids-limit" && text === "4294967305");
  const taken = commands.flatMap(([name, act]) =>
    texts.filter((text) => refused(name, text) && act(text, options).status === 0).map((text) => `${name} ${text}`),
  );
  return status(b) === "running" ? taken : [...taken, "the container was killed"];
};

attack(
  ["numbers"],
  "an option that is no number of its range is refused",
  () => {
    // kill with "9x" would have been SIGKILL.
    mustBe([], wrongInOptions({}));
  },
  { limit: 60_000 },
);

/** 65,536 characters more than that path has: as many as a number of 16 bits has not. */
const WITHOUT_65536 = "/proc/self/ns/net";
const LONG_PATH = `${WITHOUT_65536}${"/.".repeat(32768)}`;

const longPath: Attempt = (options) => {
  const b = bundle((config) => {
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== "network");
    config.linux.namespaces.push({ type: "network", path: LONG_PATH });
    config.process.args = ["/bin/readlink", "/proc/self/ns/net"];
  });
  const { status, stdout, stderr } = run(b, options);
  const isRefused = status === 1 && stdout === "" && stderr.length < 2 * LONG_PATH.length;
  return isRefused ? [] : [`status ${status}: ${stdout}${stderr.slice(0, 1000)}`];
};

attack(["CVE-2021-43784"], "the path of a namespace, of 65,553 characters: no part of it is joined", () => {
  // Its length in 16 bits is 17: what is left of it is the network of the host.
  mustBe([], longPath({}));
});

weakened(
  ["CVE-2021-43784"],
  "more than 16 bits for a length",
  [
    {
      file: "plan/namespaces.ts",
      from: '{ call: "openat", args: [AT_FDCWD, path, O_RDONLY, 0], into: fd, what, pointer }',
      to: '{ call: "openat", args: [AT_FDCWD, path.slice(0, path.length & 0xffff), O_RDONLY, 0], into: fd, what, pointer }',
    },
  ],
  longPath,
);

attack(["CVE-2021-43784"], "70 KiB of mappings: refused, or taken as a whole", () => {
  // What does not fit would have been namespaces of the attacker's choice.
  const entries = Array.from({ length: 3600 }, (_, i) => ({ containerID: 2 * i, hostID: 100_000 + 2 * i, size: 1 }));
  const b = bundle((config) => {
    map(config, 1);
    config.linux.uidMappings = entries;
    config.linux.gidMappings = entries;
    config.process.args = ["/bin/wc", "-l", "/proc/self/uid_map"];
  });
  const { status, stdout } = run(b);
  mustBe(["status 1: "], [`status ${status}: ${stdout}`]);
});
