import { writeFileSync } from "node:fs";
import type { PlannedStep } from "../helpers/strace.ts";
import { mustSucceed, RUNTIME_NAME, type RunOptions } from "../helpers/suite.ts";
import { attacks, mustBe } from "./helpers/attack.ts";

/** Rules that make whole kinds of attacks impossible, held against all that tsrun would do for one container. */

const { attack, weakened, bundle, runtime } = attacks("attack-rules");

const skip = RUNTIME_NAME === "tsrun" ? undefined : "only tsrun says what it is going to do";

interface Plan {
  readonly rootfs: string;
  /** Of the container's first process, in order; `before` those up to pivot_root(2). */
  readonly init: readonly PlannedStep[];
  readonly before: readonly PlannedStep[];
  readonly all: readonly PlannedStep[];
}

/** A container with something of everything that touches its file system. */
function plan(options: RunOptions = {}): Plan {
  const b = bundle((config, at) => {
    writeFileSync(`${at.dir}/file`, "");
    config.mounts.push(
      { destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro"] },
      { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro"] },
      { destination: "/data/deep", type: "bind", source: at.dir, options: ["rbind", "ro"] },
      { destination: "/etc/resolv.conf", type: "bind", source: `${at.dir}/file`, options: ["bind"] },
      { destination: "/run", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup"] },
    );
    config.process.terminal = true;
    config.linux.devices = [{ type: "c", path: "/dev/net/tun", major: 10, minor: 200 }];
    config.linux.sysctl = { "net.ipv4.ip_forward": "1" };
    config.linux.maskedPaths = ["/proc/kcore", "/proc/acpi", "/data/key"];
    config.linux.readonlyPaths = ["/proc/sys", "/data"];
    config.root.readonly = true;
  });
  const { stdout } = mustSucceed(runtime(["plan", "--json", "--bundle", b.dir], options));
  const all = JSON.parse(stdout) as PlannedStep[];
  const init = all.filter(({ process }) => process === "init");
  const pivot = init.findIndex(({ call }) => call === "pivot_root");
  return { rootfs: b.rootfs, init, before: init.slice(0, pivot + 1), all };
}

function text(step: PlannedStep): string {
  return `${step.call}(${step.args.join(", ")})`;
}

const PATH_CALLS = ["mount", "umount2", "pivot_root", "chdir", "chroot"];
const AT_CALLS = ["openat", "mkdirat", "mknodat", "symlinkat", "unlinkat", "fchownat", "fchmodat", "readlinkat"];

/** Everything below the root: by openat2 inside the root, or one component in a descriptor, without following it. */
function pathViolations({ before, rootfs }: Plan): string[] {
  const isWrong = ({ call, args }: PlannedStep): boolean => {
    const paths = args.filter((arg) => arg.startsWith('"')).map((arg) => JSON.parse(arg) as string);
    if (PATH_CALLS.includes(call)) return paths.some((path) => path !== "." && path !== "/");
    if (call === "openat2") return !/RESOLVE_IN_ROOT/.test(args[2]!) && !/NO_SYMLINKS\|RESOLVE_BENEATH/.test(args[2]!);
    if (args[0] === "AT_FDCWD") {
      const name = paths[0] ?? "";
      const isRoot = name === rootfs && args[2]?.includes("O_NOFOLLOW") === true;
      return name.startsWith(rootfs) && !isRoot;
    }
    if (!AT_CALLS.includes(call)) return false;
    const name = paths.at(call === "symlinkat" ? -1 : 0) ?? "";
    return name.includes("/") || name === ".." || (call === "openat" && !args[2]!.includes("O_NOFOLLOW"));
  };
  return before.filter(isWrong).map(text);
}

/** What is written in /proc goes to a procfs that is mounted nowhere, and through no mount. */
function procfsViolations({ init }: Plan): string[] {
  const opened = new Map(init.filter(({ into }) => into !== undefined).map((step) => [`<${step.into}>`, step]));
  const isPrivate = (step: PlannedStep | undefined): boolean =>
    step?.call === "openat2" && step.args[0] === "<private procfs>" && step.args[2]!.includes("RESOLVE_NO_XDEV");
  const writes = init.filter(({ call, args }) => call === "write" && args[0] !== "<socket>");
  if (writes.length === 0) return ["nothing is written: the plan is not what this test is about"];
  return writes.filter(({ args }) => !isPrivate(opened.get(args[0]!))).map(text);
}

/** The null device is the host's, and looked at; a terminal is asked of its other end, and never opened by a name. */
function deviceViolations({ init, before }: Plan): string[] {
  const nulls = init.filter(({ args }) => args.includes('"/dev/null"'));
  const lookedAt = before.some(({ call, args }) => call === "newfstatat" && args[0] === "<the host's /dev/null>");
  const byName = init.filter(({ args }) => args.some((arg) => /pts\/\d|"\/?dev\/(console|tty)/.test(arg)));
  const wrong = nulls.filter(
    (step) => step.call !== "openat" || !before.includes(step) || !step.args[2]!.includes("O_PATH"),
  );
  const asked = init.some(({ call, args }) => call === "ioctl" && args[1] === "TIOCGPTPEER");
  return [
    ...[...wrong, ...byName].map(text),
    ...(lookedAt ? [] : ["nobody looks at the null device"]),
    ...(asked ? [] : ["the terminal is not asked for"]),
  ];
}

const OPENERS = /^(openat2?|open_tree|fsopen|fsmount|fspick|socket|pidfd_open|dup)$/;

/** What is opened does not outlive execve(2); nobody inside can look at who opened it; nothing is left to close one by one. */
function descriptorViolations({ init }: Plan): string[] {
  const last = init.findIndex(({ call }) => call === "execve");
  const hidden = init.findIndex(
    ({ call, args }) => call === "prctl" && args.join() === "PR_SET_DUMPABLE,SUID_DUMP_DISABLE",
  );
  const firstOpened = init.findIndex(({ call }) => OPENERS.test(call));
  const closed = init.slice(0, last).findLast(({ call }) => call === "close_range");
  const open = init.filter(
    ({ call, args }) => /^(openat2?|open_tree|fsopen|fsmount)$/.test(call) && !/CLOEXEC/.test(args.join()),
  );
  return [
    ...open.map(text),
    ...(hidden >= 0 && hidden < firstOpened ? [] : ["it can be looked into when it opens something"]),
    ...(closed === undefined ? ["not everything is closed before execve"] : []),
  ];
}

attack(
  ["rule: paths"],
  "below the root file system nothing is done by a path that somebody else can change meanwhile",
  () => {
    // A component would be exchanged with a symlink between two looks at the path.
    mustBe([], pathViolations(plan()));
  },
  { skip },
);
weakened(
  ["rule: paths"],
  "resolving inside the root",
  [{ file: "plan/paths.ts", from: "const IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS", to: "const IN_ROOT = 0" }],
  (options) => pathViolations(plan(options)),
);

attack(
  ["rule: procfs"],
  "what is written to /proc is written to a procfs that nobody can mount anything over",
  () => {
    // It would be written to a file of the attacker's choice: nothing is confined, or the host is changed.
    mustBe([], procfsViolations(plan()));
  },
  { skip },
);
weakened(
  ["rule: procfs"],
  "refusing mounts on the way",
  [{ file: "plan/sysctl.ts", from: "RESOLVE_BENEATH | RESOLVE_NO_XDEV |", to: "RESOLVE_BENEATH |" }],
  (options) => procfsViolations(plan(options)),
);

attack(
  ["rule: devices"],
  "the null device is the host's and looked at, and no terminal is opened by its name",
  () => {
    // Something else would be mounted over what is to be hidden, or become the console.
    mustBe([], deviceViolations(plan()));
  },
  { skip },
);
weakened(
  ["rule: devices"],
  "looking at the null device",
  [
    {
      file: "plan/masked-paths.ts",
      from: '{ call: "newfstatat", args: [found, "", buffer, AT_EMPTY_PATH], ...origin },',
      to: "",
    },
  ],
  (options) => deviceViolations(plan(options)),
);

attack(
  ["rule: descriptors"],
  "no descriptor outlives execve, and nobody can look into the process before",
  () => {
    // A process inside would find a directory of the host in /proc/<pid>/fd.
    mustBe([], descriptorViolations(plan()));
  },
  { skip },
);
weakened(
  ["rule: descriptors"],
  "O_CLOEXEC",
  [{ file: "plan/paths.ts", from: "how.flags | O_CLOEXEC", to: "how.flags" }],
  (options) => descriptorViolations(plan(options)),
);
