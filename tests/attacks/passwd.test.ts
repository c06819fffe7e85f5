import { closeSync, constants, mkdirSync, openSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { command, describeResult, type Result } from "../helpers/command.ts";
import { mustSucceed, RUNTIME_NAME, type RunOptions } from "../helpers/suite.ts";
import { attacks, mustBe } from "./helpers/attack.ts";

const { attack, weakened, bundle, run, started, exec, after } = attacks("attack-passwd");

/** Makes /etc/passwd in the root file system, which has none. */
type Make = (path: string, rootfs: string) => void;

const ENVIRONMENT = ["/bin/cat", "/proc/self/environ"];
/** Milliseconds; the others would take for ever. */
const LIMIT = RUNTIME_NAME === "tsrun" ? 8000 : 2000;

/** The environment of a process that was given nothing but PATH; whatever else it has than a HOME of `expected`. */
function odd(result: Result, expected: readonly string[]): string[] {
  if (result.status !== 0) return [describeResult(result).slice(-400)];
  const wanted = expected.map((dir) => `PATH=/bin\0HOME=${dir}\0`);
  return wanted.includes(result.stdout) ? [] : [`its environment is ${JSON.stringify(result.stdout.slice(0, 200))}`];
}

function attempt(make: Make, expected: readonly string[], options: RunOptions = {}): string[] {
  const b = bundle((config, at) => {
    rmSync(`${at.rootfs}/etc/passwd`);
    make(`${at.rootfs}/etc/passwd`, at.rootfs);
    config.process.args = ENVIRONMENT;
    // Of an engine that leaves devices alone.
    config.linux.resources = { devices: [{ allow: true, access: "rwm" }] };
  });
  return odd(run(b, { limit: LIMIT, ...options }), expected);
}

/** The same for a process that exec adds: the file is changed when the container runs. */
function attemptExec(make: Make, expected: readonly string[]): string[] {
  const b = started((config) => {
    config.linux.resources = { devices: [{ allow: true, access: "rwm" }] };
  });
  rmSync(`${b.rootfs}/etc/passwd`);
  make(`${b.rootfs}/etc/passwd`, b.rootfs);
  return odd(exec(b, ENVIRONMENT, { limit: LIMIT }), expected);
}

const root = (dir: string): string => `root:x:0:0:root:${dir}:/bin/sh\n`;

/** Texts that are to bring more than one variable into the environment, or another user's home. */
const TEXTS: Readonly<Record<string, readonly [text: string | Uint8Array, home: readonly string[]]>> = {
  "a carriage return": [root("/a\rLD_PRELOAD=/evil.so"), ["/a\rLD_PRELOAD=/evil.so"]],
  "a NUL": [root("/a\0LD_PRELOAD=/evil.so"), ["/", "/a"]],
  "an equals sign": [root("=/a"), ["=/a"]],
  "ids that are the user's to those who read numbers carelessly": [
    `${["00", "0x0", "+0", "-0", " 0", "0 ", "4294967296", "0.0"].map((id) => `x:x:${id}:0::/evil:\n`).join("")}${root("/root")}`,
    ["/root"],
  ],
  "bytes that are no text": [
    new Uint8Array([...Buffer.from("root:x:0:0::/a"), 0xff, 0xfe, 0x0a]),
    ["/a\ufffd\ufffd", "/"],
  ],
};

attack(["CVE-2026-15809"], "a hostile /etc/passwd sets HOME and nothing else", () => {
  // A field would bring more than one variable into the environment, or another line be taken for the user's.
  for (const [text, homes] of Object.values(TEXTS)) {
    mustBe(
      [],
      attempt((path) => writeFileSync(path, text), homes),
    );
    mustBe(
      [],
      attemptExec((path) => writeFileSync(path, text), homes),
    );
  }
});

weakened(
  ["CVE-2026-15809"],
  "comparing ids as they are written",
  [{ file: "plan/passwd.ts", from: "fields[2] === String(uid)", to: "Number(fields[2]) === uid" }],
  (options) => {
    const [text, homes] = TEXTS["ids that are the user's to those who read numbers carelessly"]!;
    return attempt((path) => writeFileSync(path, text), homes, options);
  },
);

const device =
  (major: string, minor: string): Make =>
  (path) =>
    void mustSucceed(command(["mknod", "-m", "666", path, "c", major, minor]));

/** What is no file, or never ends. */
const FILES: Readonly<Record<string, readonly Make[]>> = {
  "a FIFO": [(path) => void mustSucceed(command(["mkfifo", path]))],
  "a FIFO that somebody has open to write": [
    (path) => {
      mustSucceed(command(["mkfifo", path]));
      const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
      after(() => closeSync(fd));
    },
  ],
  "a directory": [(path) => mkdirSync(path)],
  "a symlink that leads to no file": [
    (path) => symlinkSync("passwd", path),
    (path) => symlinkSync("/proc/self/fd/0", path),
  ],
  "a device": [device("1", "5"), device("5", "2"), device("10", "250")],
  "a file of 64 GiB": [
    (path) => {
      writeFileSync(path, "");
      truncateSync(path, 64 * 2 ** 30);
    },
  ],
  "a file of one line of 64 MiB": [(path) => writeFileSync(path, "x".repeat(64 << 20))],
};

for (const [kind, makes] of Object.entries(FILES)) {
  attack(
    ["CVE-2026-15809"],
    `whatever /etc/passwd is, HOME is found or is "/", at once: ${kind}`,
    () => {
      // The runtime would wait for ever, or read until its memory is used up.
      for (const make of makes) {
        mustBe([], attempt(make, ["/"]));
        mustBe([], attemptExec(make, ["/"]));
      }
    },
    { limit: 60_000 },
  );
}
