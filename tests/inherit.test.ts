import { expect } from "bun:test";
import { command, PLAIN_ENV, type Result } from "./helpers/command.ts";
import { withoutLibcSignals } from "./helpers/signals.ts";
import { type Bundle, type Change, mustSucceed, RUNTIME, type RunOptions, suite } from "./helpers/suite.ts";

const { test, bundle, home } = suite("inherit");

const runc = Bun.which("runc");
const skip = runc === null && "runc is not there to compare with";

/** Lines of /proc/self/status that say what the process is, not which one it is or how much it has used. */
const STATUS =
  "grep -E '^(Umask|TracerPid|Uid|Gid|Groups|CoreDumping|THP_enabled|Threads|Sig(Pnd|Blk|Ign|Cgt)|Shd|Cap|NoNewPrivs|Seccomp|Speculation|Cpus_allowed|Mems_allowed|NSpid)' /proc/self/status | grep -v -e ^NSpid";

/** What of a container's surroundings a script can see → a name for it. */
const VIEWS: readonly (readonly [title: string, script: string])[] = [
  ["/proc/self/status", STATUS],
  ["/proc/1/status", STATUS.replaceAll("self", "1")],
  ["limits", "cat /proc/1/limits | grep -v 'Max open files'"],
  ["environment", "tr '\\0' '\\n' < /proc/1/environ | sort"],
  ["descriptors", "for f in /proc/1/fd/*; do echo $f; done"],
  ["working directory and root", "readlink /proc/1/cwd; readlink /proc/1/root"],
  ["process group, session, terminal", "cut -d' ' -f 5-7 /proc/1/stat"],
  ["nice value, policy, real-time priority", "cut -d' ' -f 19,40,41 /proc/1/stat"],
  [
    "oom, core filter, timer slack, autogroup, personality",
    "cd /proc/1; cat oom_score_adj coredump_filter timerslack_ns personality",
  ],
  ["i/o priority", "ionice -p 1"],
  ["mounts", "cut -d' ' -f 4- /proc/1/mountinfo"],
  ["devices", "ls -l /dev | awk '{print $1,$3,$4,$5,$6,$NF}' | grep -v -e core -e total"],
  ["hostname, addresses, routes", "hostname; ip addr show lo | grep -v valid_lft; ip route"],
  ["umask of a new file", "touch /tmp/x; stat -c '%a %u:%g' /tmp/x"],
  ["process names", "cat /proc/1/comm; tr '\\0' ' ' < /proc/1/cmdline | cut -c 1-20"],
];

const CONFIGS: readonly (readonly [title: string, change: Change, options: RunOptions])[] = [
  ["as it is", () => {}, {}],
  [
    "another user with groups and no new privileges",
    (config) => {
      config.process.user = { uid: 1000, gid: 1001, additionalGids: [5, 77] };
      config.process.noNewPrivileges = true;
    },
    {},
  ],
  [
    "limits, one more mount, a read-only root",
    (config) => {
      config.process.rlimits = [{ type: "RLIMIT_CORE", soft: 0, hard: 0 }];
      config.mounts.push({ destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["mode=1777"] });
      config.root.readonly = true;
    },
    {},
  ],
  [
    "a caller with limits of its own",
    () => {},
    { through: ["sh", "-c", 'ulimit -Sn 1234; ulimit -Sc 0; umask 077; exec "$@"', "sh"] },
  ],
  [
    "a caller that ignores signals",
    () => {},
    { through: ["sh", "-c", "trap '' PIPE HUP INT QUIT TERM USR1; exec \"$@\"", "sh"] },
  ],
  [
    "a caller with an environment and descriptors",
    () => {},
    {
      env: { ...PLAIN_ENV, LEAKED: "yes", BUN_OPTIONS: "", NODE_OPTIONS: "--x" },
      through: ["sh", "-c", 'exec 3< /etc/passwd 9< / 8< /etc/group; exec "$@"', "sh"],
    },
  ],
  ["a caller with a nice value", () => {}, { through: ["nice", "-n", "5"] }],
];

function runWith(runtime: string, b: Bundle, options: RunOptions): Result {
  const argv = [...(options.through ?? []), runtime, "--root", `${home}/inherit-state`, "run", "--bundle", b.dir, b.id];
  return mustSucceed(command(argv, options));
}

for (const [configTitle, change, options] of CONFIGS) {
  for (const [title, script] of VIEWS) {
    test(
      `${title}, ${configTitle}: line by line what runc gives`,
      () => {
        const b = bundle((config, at) => {
          change(config, at);
          config.process.args = ["/bin/sh", "-c", script];
        });
        const seen = withoutLibcSignals(runWith(RUNTIME, b, options).stdout).split("\n");
        Bun.spawnSync(["rm", "-f", `${b.rootfs}/tmp/x`]);
        expect(seen).toEqual(withoutLibcSignals(runWith(runc!, b, options).stdout).split("\n"));
      },
      { skip },
    );
  }
}

test("a caller that blocks signals: the container's program has none blocked", () => {
  const block = "sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGUSR2, SIGPIPE, SIGTERM)); exec @ARGV";
  const b = bundle((config) => (config.process.args = ["/bin/grep", "^SigBlk", "/proc/self/status"]));
  const seen = runWith(RUNTIME, b, { through: ["perl", "-MPOSIX", "-e", block] }).stdout;
  expect(seen).toBe("SigBlk:\t0000000000000000\n");
});

test("a caller with a soft limit of open files: the container has it, not the hard one", () => {
  const through = ["sh", "-c", 'ulimit -Sn 1234; exec "$@"', "sh"];
  const b = bundle((config) => (config.process.args = ["/bin/sh", "-c", "ulimit -Sn; ulimit -Hn"]));
  const hard = command(["sh", "-c", "ulimit -Hn"]).stdout.trim();
  expect(runWith(RUNTIME, b, { through }).stdout.trim().split("\n")).toEqual(["1234", hard]);
});
