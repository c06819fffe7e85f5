import { expect } from "bun:test";
import { command } from "./helpers/command.ts";
import { closeDescriptor, terminal, unixSocket } from "./helpers/sockets.ts";
import { type Bundle, type Change, mustFail, mustSucceed, RUNTIME, suite } from "./helpers/suite.ts";

const { test, bundle, create, start, run, exec, started, after, root, home, untilStatus } = suite("terminal");

const withTerminal =
  (script: string, change?: Change): Change =>
  (config, at) => {
    config.process.terminal = true;
    config.process.args = ["/bin/sh", "-c", script];
    change?.(config, at);
  };

let sockets = 0;

/** Creates the container with a console socket and returns its terminal. */
function created(change: Change, flags: string[] = []): { b: Bundle; tty: ReturnType<typeof terminal>; text: string } {
  const b = bundle(change);
  const path = `${home}/tty${++sockets}`;
  const socket = unixSocket(path, "stream");
  after(() => socket.close());
  mustSucceed(create(b, { flags: ["--console-socket", path, ...flags] }));
  return { b, ...received(socket.accept()) };
}

function received(message: { text: string; fds: readonly number[] }) {
  expect(message.fds).toHaveLength(1);
  const tty = terminal(message.fds[0]!);
  after(() => tty.close());
  return { tty, text: message.text };
}

test("create sends one descriptor with a name that is not empty", () => {
  const { tty, text } = created(withTerminal("true"));
  expect(text.length).toBeGreaterThan(0);
  expect(text.length).toBeLessThan(4096);
  expect(Bun.spawnSync(["readlink", `/proc/${process.pid}/fd/${tty.fd}`]).stdout.toString()).toMatch(/ptmx/);
});

test("standard input, output and error are the terminal, and the controlling one", () => {
  const { b, tty } = created(
    withTerminal("test -t 0 -a -t 1 -a -t 2 && tty && cut -d' ' -f7 /proc/self/stat && echo over"),
  );
  mustSucceed(start(b));
  const lines = tty.readUntil("over").split("\r\n");
  expect(lines[0]).toBe("/dev/pts/0");
  expect(Number(lines[1])).toBeGreaterThan(0);
});

test("what is typed arrives", () => {
  const { b, tty } = created(withTerminal("read line; echo got $line"));
  mustSucceed(start(b));
  tty.type("hello\n");
  expect(tty.readUntil("got hello")).toContain("got hello");
});

test("/dev/console is the terminal", () => {
  const { b, tty } = created(
    withTerminal("stat -c '%F' /dev/console; echo through the console > /dev/console; echo over"),
  );
  mustSucceed(start(b));
  expect(tty.readUntil("over").split("\r\n").slice(0, 2)).toEqual(["character special file", "through the console"]);
});

test("consoleSize", () => {
  const { b, tty } = created(
    withTerminal("stty size; echo over", (config) => (config.process.consoleSize = { height: 33, width: 77 })),
  );
  mustSucceed(start(b));
  expect(tty.readUntil("over")).toStartWith("33 77\r\n");
});

test("the terminal belongs to the user", () => {
  const { b, tty } = created(
    withTerminal("stat -c %u $(tty); echo over", (config) => {
      config.process.user = { uid: 1000, gid: 1000 };
    }),
  );
  mustSucceed(start(b));
  expect(tty.readUntil("over")).toStartWith("1000\r\n");
});

test("control-C interrupts the program", () => {
  const { b, tty } = created(
    withTerminal("trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.05; done"),
  );
  mustSucceed(start(b));
  tty.readUntil("ready");
  tty.type("\u0003");
  expect(tty.readUntil("interrupted")).toContain("interrupted");
  untilStatus(b, "stopped");
});

test("the terminal hangs up when the container ends", () => {
  const { b, tty } = created(withTerminal("echo over"));
  mustSucceed(start(b));
  tty.readUntil("over");
  untilStatus(b, "stopped");
  expect(() => tty.readUntil("more", 1000)).toThrow(/has ended/);
});

test("exec --tty with a console socket", () => {
  const b = started();
  const path = `${home}/tty${++sockets}`;
  const socket = unixSocket(path, "stream");
  after(() => socket.close());
  const script = "test -t 0 -a -t 1 -a -t 2 && tty; echo over; sleep 0.3";
  mustSucceed(exec(b, ["/bin/sh", "-c", script], { flags: ["--tty", "--detach", "--console-socket", path] }));
  const { tty } = received(socket.accept());
  expect(tty.readUntil("over")).toStartWith("/dev/pts/");
});

/** Runs the runtime where its own standard input is a terminal. */
function inTerminal(args: readonly string[], size = "cols 91 rows 23") {
  const line = [RUNTIME, "--root", root, ...args].map((arg) => `'${arg}'`).join(" ");
  const argv = ["script", "--quiet", "--return", "--command", `stty ${size}; exec ${line}`, "/dev/null"];
  const result = command(argv);
  // script(1) types the end of its own input, which the terminal echoes.
  return { ...result, stdout: result.stdout.replaceAll("^@", "") };
}

test("run passes its own terminal through", () => {
  const b = bundle(withTerminal("test -t 0 -a -t 1 -a -t 2 && tty; echo done"));
  const result = inTerminal(["run", "--bundle", b.dir, b.id]);
  expect(result.stdout.split("\r\n")).toEqual(["/dev/pts/0", "done", ""]);
  expect(result.status).toBe(0);
});

test("run gives the container the size of its own terminal", () => {
  const b = bundle(withTerminal("sleep 0.2; stty size"));
  expect(inTerminal(["run", "--bundle", b.dir, b.id]).stdout).toBe("23 91\r\n");
});

test("run returns the status of a program in a terminal", () => {
  const b = bundle(withTerminal("exit 37"));
  expect(inTerminal(["run", "--bundle", b.dir, b.id]).status).toBe(37);
});

test("run leaves its own terminal as it was", () => {
  const b = bundle(withTerminal("stty raw -echo"));
  const line = `'${RUNTIME}' --root '${root}' run --bundle '${b.dir}' '${b.id}'`;
  const script = `stty -a > ${b.dir}/before; ${line}; stty -a > ${b.dir}/after`;
  command(["script", "--quiet", "--command", script, "/dev/null"]);
  const diff = command(["diff", `${b.dir}/before`, `${b.dir}/after`]);
  expect(diff.stdout).toBe("");
  expect(diff.status).toBe(0);
});

test("exec --tty passes its own terminal through", () => {
  const b = started();
  const result = inTerminal(["exec", "--tty", b.id, "/bin/sh", "-c", "test -t 0 && tty; exit 5"]);
  expect(result.stdout).toMatch(/^\/dev\/pts\/\d\r\n$/);
  expect(result.status).toBe(5);
});

test("100,000 lines arrive in order", () => {
  const { b, tty } = created(withTerminal("stty -onlcr; seq 1 100000; echo over"));
  mustSucceed(start(b));
  const lines = tty.readUntil("over").trimEnd().split("\n");
  expect(lines.slice(0, 3)).toEqual(["1", "2", "3"]);
  expect(lines.slice(-3)).toEqual(["99999", "100000", "over"]);
});

test("create without a console socket is refused", () => {
  const b = bundle(withTerminal("true"));
  mustFail(create(b), /cannot allocate tty .*console socket/);
});

test("create with a console socket and without a terminal is refused", () => {
  const b = bundle();
  mustFail(create(b, { flags: ["--console-socket", `${home}/none`] }), /cannot use console socket/);
});

test("a console socket where nobody listens is refused, nothing is left", () => {
  const b = bundle(withTerminal("true"));
  const result = create(b, { flags: ["--console-socket", `${home}/nobody`] });
  mustFail(result, /nobody/);
  mustFail(result, "no such file or directory");
});

test("run where standard input is no terminal is refused", () => {
  const b = bundle(withTerminal("true"));
  mustFail(run(b), /console|terminal|tty/i);
});

test("run --detach with a console socket", () => {
  const b = bundle(withTerminal("echo detached; sleep 0.2"));
  const path = `${home}/tty${++sockets}`;
  const socket = unixSocket(path, "stream");
  after(() => socket.close());
  mustSucceed(run(b, { flags: ["--detach", "--console-socket", path] }));
  const { tty } = received(socket.accept());
  expect(tty.readUntil("detached")).toContain("detached");
});

test("--pidfd-socket sends one descriptor of the container's process", () => {
  const b = bundle((config) => (config.process.args = ["/bin/sleep", "1000"]));
  const path = `${home}/pidfd${++sockets}`;
  const socket = unixSocket(path, "stream");
  after(() => socket.close());
  mustSucceed(create(b, { flags: ["--pidfd-socket", path] }));
  const message = socket.accept();
  expect(message.fds).toHaveLength(1);
  const info = command(["grep", "Pid:", `/proc/${process.pid}/fdinfo/${message.fds[0]}`]).stdout;
  closeDescriptor(message.fds[0]!);
  expect(message.text.length).toBeGreaterThan(0);
  expect(info).toMatch(/^Pid:\t[1-9]\d*$/m);
});

test("exec --pidfd-socket sends one descriptor of the new process", () => {
  const b = started();
  const path = `${home}/pidfd${++sockets}`;
  const socket = unixSocket(path, "stream");
  after(() => socket.close());
  mustSucceed(exec(b, ["/bin/sleep", "1000"], { flags: ["--detach", "--pidfd-socket", path] }));
  const message = socket.accept();
  expect(message.fds).toHaveLength(1);
  closeDescriptor(message.fds[0]!);
});
