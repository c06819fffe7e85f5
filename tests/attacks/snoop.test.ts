import { expect } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { capabilityNames } from "../../src/abi/capability.ts";
import { command } from "../helpers/command.ts";
import { type Config, grant, unshare } from "../helpers/config.ts";
import { MANAGER_FLAGS } from "../helpers/manager.ts";
import { type Bundle, mustSucceed, RUNTIME, RUNTIME_NAME, type RunOptions } from "../helpers/suite.ts";
import { writeSyscallProgram } from "../helpers/syscall-program.ts";
import { type Attempt, attacks, mustBe, ROUNDS } from "./helpers/attack.ts";
import { writeKiller, writeSnooper } from "./helpers/snooper.ts";

const { attack, weakened, bundle, started, exec, state, root } = attacks("snoop");

const skip = process.arch === "x64" ? undefined : "the programs that are looked into are x86-64";
const options = { limit: 60_000 + ROUNDS * 700, skip };

const MANY = RUNTIME_NAME === "tsrun" ? ROUNDS : Math.min(ROUNDS, 50);
const FEWER = Math.ceil(MANY / 5);
const FEW = 10;

const MAPPED = 100_000;
const [SIGKILL, SIGSTOP] = [9, 19];
const POLL = 7;
/** A program without a descriptor of its own, that is there long enough to be seen. */
const writePrey = (path: string) => writeSyscallProgram(path, { number: POLL, args: [0n, 0n, 2n] });

/** Root of a user namespace, which may ptrace everyone in it that is dumpable. */
const mighty = (config: Config): void => {
  unshare(config, "user");
  config.linux.uidMappings = [{ containerID: 0, hostID: MAPPED, size: 65536 }];
  config.linux.gidMappings = [{ containerID: 0, hostID: MAPPED, size: 65536 }];
  grant(config, ...capabilityNames);
};

/** Root of the host, with as much power as it takes to choose process ids and no more. */
const meek = (config: Config): void => grant(config, "CAP_CHECKPOINT_RESTORE");

/** A container whose first process looks into whatever begins beside it, all the time. */
function snooper(change: (config: Config) => void): Bundle {
  return started((config, at) => {
    change(config);
    config.process.args = ["/snoop"];
    writePrey(`${at.rootfs}/prey`);
    writeSnooper(`${at.rootfs}/snoop`, "/log", `${at.dir}/config.json`);
    writeFileSync(`${at.rootfs}/log`, "");
    Bun.spawnSync(["chown", "-R", `${MAPPED}:${MAPPED}`, at.rootfs]);
    Bun.spawnSync(["chmod", "0666", `${at.rootfs}/log`]);
  });
}

/** Runs the runtime over and over, in one shell: the snooper has the other processor. */
function repeat(times: number, words: readonly string[], { through = [] }: RunOptions): void {
  const script = `i=0; while [ $i -lt ${times} ]; do "$@" || exit; i=$((i + 1)); done`;
  const runtime = [...through, RUNTIME, "--root", root, ...MANAGER_FLAGS, ...words];
  mustSucceed(command(["sh", "-c", script, "sh", ...runtime], { limit: 30_000 + times * 600 }));
}

/** What the snooper has seen of processes that were not yet the program that they were to be; it must have seen that. */
function finds(b: Bundle, program: string): string[] {
  const lines = readFileSync(`${b.rootfs}/log`, "latin1").split("\n");
  const own = [`exe: ${program}`, `traced: ${program}`, "environ: PATH=/bin\0HOME=/root\0"];
  expect(lines).toContain(own[0]!);
  const found = lines.filter((line) => /^(exe|traced|fd|root|cwd|mem|pidfd_getfd|maps|environ)\b/.test(line));
  const foreign = found.filter((line) => !own.includes(line) && !isMapOf(line, program));
  return [...new Set(foreign.map((line) => line.replaceAll(/\d{4,}/g, "N")))];
}

/** What is without a name, or the kernel's, tells nothing: a process that ends loses its program first. */
function isMapOf(line: string, program: string): boolean {
  const name = line.trim().split(/ +/)[6] ?? "";
  return line.startsWith("maps: ") && (name === program || name === "" || name.startsWith("["));
}

const looking =
  (times: number, change: (config: Config) => void): Attempt =>
  (options) => {
    const b = snooper(change);
    repeat(times, ["exec", b.id, "/prey"], options);
    return finds(b, "/prey");
  };

const LOOKERS = [
  ["all capabilities in a user namespace", mighty, MANY],
  ["the host's root without capabilities", meek, FEWER],
] as const;

for (const [who, change, times] of LOOKERS) {
  const title = `exec: nothing of the host is found in a process on its way in, by ${who}`;
  // The container would take the runtime's descriptors of the host, or write to the runtime's memory.
  attack(["CVE-2016-9962"], title, () => mustBe([], looking(times, change)({})), options);
}

const hide = (program: string): string =>
  `  add(${program}, { call: "prctl", args: [PR_SET_DUMPABLE, 0, 0, 0, 0], what: "hide the process from ptrace" });\n`;
// As long as a process has more capabilities than who looks it cannot be looked into anyway: then it gives them up.
const DUMPABLE = [
  { file: "plan/exec.ts", from: hide("join"), to: "" },
  { file: "plan/process.ts", from: hide("identity"), to: "" },
];
for (const [who, change] of LOOKERS) {
  weakened(["CVE-2016-9962"], `PR_SET_DUMPABLE at exec, by ${who}`, DUMPABLE, looking(FEW, change));
}

/** Containers that share the process ids of a hostile one, and its user namespace, as those of a pod may. */
const joining =
  (times: number): Attempt =>
  (options) => {
    const hostile = snooper(mighty);
    const { pid } = JSON.parse(mustSucceed(state(hostile)).stdout) as { pid: number };
    const victim = bundle((config, at) => {
      mighty(config);
      unshare(config, "user", `/proc/${pid}/ns/user`);
      unshare(config, "pid", `/proc/${pid}/ns/pid`);
      config.process.args = ["/prey"];
      writePrey(`${at.rootfs}/prey`);
      Bun.spawnSync(["chown", "-R", `${MAPPED}:${MAPPED}`, at.rootfs]);
    });
    repeat(times, ["run", "--bundle", victim.dir, victim.id], options);
    return finds(hostile, "/prey");
  };

attack(
  ["CVE-2016-9962"],
  "containers that join a hostile one's pid and user namespaces: nothing of the host is found in them",
  () => {
    // As long as a container is being made its root is the host's: it would be read and written with the id of its owner.
    mustBe([], joining(FEWER)({}));
  },
  options,
);

const HIDE_INIT = "  planHiding(context, namespaces);\n";
weakened(
  ["CVE-2016-9962"],
  "PR_SET_DUMPABLE at create",
  [{ file: "plan/namespaces.ts", from: HIDE_INIT, to: "" }],
  joining(FEW),
);

attack(
  ["kill"],
  "a container that kills whatever enters it: exec fails with an error, and waits for nobody",
  () => {
    // The runtime would have waited for an answer of a process that is gone.
    const b = started((config, at) => {
      grant(config, "CAP_CHECKPOINT_RESTORE");
      config.process.args = ["/kill"];
      writeKiller(`${at.rootfs}/kill`, SIGKILL);
      writePrey(`${at.rootfs}/prey`);
    });
    const late = Array.from({ length: FEW }, () => exec(b, ["/prey"], { limit: 8_000 })).filter(
      ({ status, stderr }) => {
        const isKilled =
          status === 128 + 9 ||
          (status > 0 &&
            /ended before it could run|reset by peer|broken pipe|EOF|exit status|signal|closed/i.test(stderr));
        return status !== 0 && !isKilled;
      },
    );
    mustBe(
      [],
      late.map(({ status, stderr }) => `status ${status}: ${stderr}`),
    );
  },
  { limit: 120_000, skip },
);

attack(
  ["kill"],
  "a container that stops whatever enters it: exec does not wait for ever",
  () => {
    // The engine would have waited for its runtime until it is asked to give up.
    const b = started((config, at) => {
      grant(config, "CAP_CHECKPOINT_RESTORE");
      config.process.args = ["/stop"];
      writeKiller(`${at.rootfs}/stop`, SIGSTOP);
      writePrey(`${at.rootfs}/prey`);
    });
    const { status, stderr } = exec(b, ["/prey"], { limit: 9_000 });
    mustBe(["status 255"], [`status ${status}`]);
    if (!/stopped by a signal/.test(stderr)) throw new Error(`should say what has happened: ${stderr}`);
  },
  { limit: 60_000, skip },
);
