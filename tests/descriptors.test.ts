import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { PLAIN_ENV } from "./helpers/command.ts";
import { closeDescriptor, unixSocket } from "./helpers/sockets.ts";
import { type Change, mustSucceed, suite } from "./helpers/suite.ts";

const { test, see, run, bundle, started, exec, after, home, runtimeBeside, create, start, untilStatus } =
  suite("descriptors");

/** Opens descriptors 3, 4 and 5 of the caller, without close-on-exec. */
const THREE = ["sh", "-c", 'exec 3< /etc/passwd 4< /etc/group 5< /etc/hostname; exec "$@"', "sh"];
const ALL = "ls /proc/self/fd | tr '\\n' ' '"; // 3 is ls's own, of the directory.

test("none but the standard ones, however many the caller has", () => {
  expect(see(ALL, undefined, { through: THREE })).toBe("0 1 2 3");
  const much = ["sh", "-c", 'exec 7< /etc/passwd 9< /; exec "$@"', "sh"];
  expect(see(ALL, undefined, { through: much })).toBe("0 1 2 3");
});

test("--preserve-fds 2", () => {
  const seen = see(`${ALL}; echo; head -c 4 <&3; echo; head -c 4 <&4`, undefined, {
    through: THREE,
    flags: ["--preserve-fds", "2"],
  });
  expect(seen.split("\n")).toEqual(["0 1 2 3 4 5 ", "root", "root"]);
});

test("--preserve-fds of a descriptor that is not open is refused", () => {
  const b = bundle();
  const through = ["sh", "-c", 'exec 3< /etc/passwd 4<&-; exec "$@"', "sh"];
  expect(run(b, { through, flags: ["--preserve-fds", "2"] }).status).not.toBe(0);
});

test("exec has none but the standard ones", () => {
  const b = started();
  expect(mustSucceed(exec(b, ["/bin/sh", "-c", ALL], { through: THREE })).stdout).toBe("0 1 2 3 ");
});

test("exec --preserve-fds 1", () => {
  const b = started();
  const result = exec(b, ["/bin/sh", "-c", `${ALL}; head -c 4 <&3`], {
    through: THREE,
    flags: ["--preserve-fds", "1"],
  });
  expect(mustSucceed(result).stdout).toBe("0 1 2 3 4 root");
});

const listening = (pid: string, count: string): string[] => [
  "sh",
  "-c",
  `exec 3< /etc/passwd 4< /etc/group; export LISTEN_PID=${pid} LISTEN_FDS=${count} LISTEN_FDNAMES=one:two; exec "$@"`,
  "sh",
];

test("LISTEN_FDS: passed on, with LISTEN_PID 1", () => {
  const seen = see(`${ALL}; echo; echo $LISTEN_FDS $LISTEN_PID; head -c 4 <&3`, undefined, {
    through: listening("$$", "2"),
  });
  expect(seen.split("\n")).toEqual(["0 1 2 3 4 5 ", "2 1", "root"]);
});

test("LISTEN_FDS for another process: not passed on", () => {
  const seen = see(`${ALL}; echo; env | grep -c LISTEN_ || true`, undefined, { through: listening("1", "2") });
  expect(seen.split("\n")).toEqual(["0 1 2 3 ", "0"]);
});

test("LISTEN_FDS and --preserve-fds", () => {
  const seen = see(`${ALL}; head -c 4 <&4`, undefined, {
    through: listening("$$", "1"),
    flags: ["--preserve-fds", "1"],
  });
  expect(seen).toBe("0 1 2 3 4 5 root");
});

/** The host's programs inside: for what busybox cannot do. */
const hostPrograms: Change = (config) => {
  for (const path of ["/usr", "/lib", "/lib64"]) {
    config.mounts.push({ destination: path, type: "bind", source: path, options: ["rbind", "ro"] });
  }
};

const SEND_READY =
  'use Socket; socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die "socket $!"; ' +
  'send($s, "READY=1\\nSTATUS=up\\n", 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die "send $!"; sleep 1;';

test("NOTIFY_SOCKET: the container says that it is ready, its caller hears it, with the process id", async () => {
  const path = `${home}/notify`;
  const socket = unixSocket(path, "datagram");
  after(() => socket.close());
  const b = bundle((config, at) => {
    hostPrograms(config, at);
    config.process.args = ["/usr/bin/perl", "-e", SEND_READY];
  });
  const running = runtimeBeside(["run", "--bundle", b.dir, b.id], { env: { ...PLAIN_ENV, NOTIFY_SOCKET: path } });
  const messages: string[] = [];
  for (let round = 0; round < 2; round++) {
    const message = socket.receive();
    messages.push(message.text);
    for (const fd of message.fds) closeDescriptor(fd); // A barrier: the sender waits for this.
  }
  mustSucceed(await running.finish());
  expect(messages.join("\n")).toContain("READY=1");
  expect(messages.join("\n")).toMatch(/MAINPID=[1-9]\d*/);
});

test("NOTIFY_SOCKET: its name inside is not the caller's", () => {
  const path = `${home}/notify2`;
  const socket = unixSocket(path, "datagram");
  after(() => socket.close());
  const b = bundle((config) => {
    config.process.args = ["/bin/sh", "-c", 'echo $NOTIFY_SOCKET; test -S "$NOTIFY_SOCKET" && echo a socket'];
  });
  const env = { ...PLAIN_ENV, NOTIFY_SOCKET: path };
  const output = `${b.dir}/output`;
  mustSucceed(create(b, { env, through: ["sh", "-c", `exec "$@" > ${output}`, "sh"] }));
  mustSucceed(start(b, { env }));
  untilStatus(b, "stopped");
  expect(readFileSync(output, "utf8").split("\n")).toEqual(["/run/notify/notify.sock", "a socket", ""]);
});

test("a new session keyring, named after the container", () => {
  const b = bundle((config) => (config.process.args = ["/bin/cat", "/proc/keys"]));
  expect(mustSucceed(run(b)).stdout).toContain(`_ses.${b.id}`);
});

test("--no-new-keyring: none", () => {
  const b = bundle((config) => (config.process.args = ["/bin/cat", "/proc/keys"]));
  expect(mustSucceed(run(b, { flags: ["--no-new-keyring"] })).stdout).not.toContain(`_ses.${b.id}`);
});

test("exec joins the container's session keyring", () => {
  const b = started();
  expect(mustSucceed(exec(b, ["/bin/cat", "/proc/keys"])).stdout).toContain(`_ses.${b.id}`);
});

test("standard input reaches the program", () => {
  expect(see("cat", undefined, { stdin: "typed\n" })).toBe("typed");
});

test("exec: standard input reaches the program", () => {
  const b = started();
  expect(mustSucceed(exec(b, ["/bin/cat"], { stdin: "typed\n" })).stdout).toBe("typed\n");
});

test("standard output and error are kept apart", () => {
  const b = bundle((config) => (config.process.args = ["/bin/sh", "-c", "echo out; echo err >&2"]));
  const result = mustSucceed(run(b));
  expect([result.stdout, result.stderr]).toEqual(["out\n", "err\n"]);
});

test("closed standard descriptors are open on something inside", () => {
  const through = ["sh", "-c", 'exec <&- "$@"', "sh"];
  expect(see("ls /proc/self/fd | head -n 3 | tr '\\n' ' '", undefined, { through })).toBe("0 1 2");
});

test("the container's process has none but the standard ones, as exec sees it", () => {
  const b = started(undefined, { through: THREE });
  const seen = mustSucceed(exec(b, ["/bin/ls", "/proc/1/fd"])).stdout;
  expect(seen.trim().split("\n")).toEqual(["0", "1", "2"]);
});
