import { expect } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { waiting } from "./helpers/config.ts";
import { mustFail, mustSucceed, suite, until } from "./helpers/suite.ts";

const { test, started, exec, bundle, create, kill, untilStatus, state, runtime, runtimeBeside } = suite("exec");

for (const code of [0, 1, 42, 255]) {
  test(`returns ${code}`, () => {
    expect(exec(started(), ["/bin/sh", "-c", `exit ${code}`]).status).toBe(code);
  });
}

test("returns 128 + the signal", () => {
  expect(exec(started(), ["/bin/sh", "-c", "kill -9 $$"]).status).toBe(137);
});

test("flags after the id belong to the program", () => {
  const b = started();
  expect(mustSucceed(exec(b, ["/bin/echo", "-n", "--user", "-l", "--", "x"])).stdout).toBe("--user -l -- x");
});

test("in a container that is only created", () => {
  const b = bundle(waiting);
  mustSucceed(create(b));
  expect(mustSucceed(exec(b, ["/bin/echo", "hello"])).stdout).toBe("hello\n");
});

test("in one that has stopped", () => {
  const b = started();
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  mustFail(exec(b, ["/bin/true"]), "cannot exec in a stopped container", 255);
});

test("it is in the container's cgroup", () => {
  const b = started();
  const seen = mustSucceed(exec(b, ["/bin/cat", "/proc/self/cgroup"])).stdout;
  expect(seen).toContain(`0::/${b.id}\n`);
});

test("it sees the container's processes, and they see it", () => {
  const b = started();
  const seen = mustSucceed(exec(b, ["/bin/ps", "-o", "pid,args"])).stdout;
  expect(seen).toMatch(/^ +1 \/bin\/sleep 1000$/m);
});

test("twenty at once", async () => {
  const b = started();
  const all = Array.from({ length: 20 }, (_, i) =>
    runtimeBeside(["exec", b.id, "/bin/sh", "-c", `sleep 0.1; exit ${i}`]),
  );
  const statuses = await Promise.all(all.map(async (one) => (await one.finish()).status));
  expect(statuses).toEqual(Array.from({ length: 20 }, (_, i) => i));
});

test("--detach returns at once; the pid file holds digits only, of a process of the container", () => {
  const b = started();
  const file = `${b.dir}/exec-pid`;
  mustSucceed(exec(b, ["/bin/sleep", "777"], { flags: ["--detach", "--pid-file", file] }));
  const pid = readFileSync(file, "utf8");
  expect(pid).toMatch(/^[1-9]\d*$/);
  const program = () => readFileSync(`/proc/${pid}/cmdline`, "utf8") === "/bin/sleep\u0000777\u0000";
  until(program, "the program to run: runc and crun return before it does", 2000);
  expect(readFileSync(`/proc/${pid}/cgroup`, "utf8")).toContain(b.id);
});

test("--pid-file is not written when the program is not found", () => {
  const b = started();
  const file = `${b.dir}/exec-pid`;
  expect(exec(b, ["/no/such/program"], { flags: ["--detach", "--pid-file", file] }).status).toBe(255);
  expect(existsSync(file)).toBe(false);
});

const PROCESS = {
  terminal: false,
  user: { uid: 1000, gid: 1000, additionalGids: [77], umask: 0o027 },
  args: [
    "/bin/sh",
    "-c",
    "id -u; id -G; umask; pwd; echo $A; ulimit -Hn; for n in CapEff NoNewPrivs; do grep ^$n /proc/self/status; done",
  ],
  env: ["PATH=/bin", "A=of the file"],
  cwd: "/home/someone",
  capabilities: {
    bounding: ["CAP_KILL"],
    permitted: ["CAP_KILL"],
    effective: ["CAP_KILL"],
    inheritable: ["CAP_KILL"],
    ambient: ["CAP_KILL"],
  },
  rlimits: [{ type: "RLIMIT_NOFILE", soft: 99, hard: 99 }],
  noNewPrivileges: true,
};

test("--process: everything from a file", () => {
  const b = started();
  const file = `${b.dir}/process.json`;
  writeFileSync(file, JSON.stringify(PROCESS));
  const seen = mustSucceed(runtime(["exec", "--process", file, b.id]))
    .stdout.trim()
    .split("\n");
  expect(seen).toEqual([
    "1000",
    "1000 77",
    "0027",
    "/home/someone",
    "of the file",
    "99",
    "CapEff:\t0000000000000020",
    "NoNewPrivs:\t1",
  ]);
});

test("-p is --process, and needs no command", () => {
  const b = started();
  const file = `${b.dir}/process.json`;
  writeFileSync(file, JSON.stringify({ ...PROCESS, args: ["/bin/echo", "from the file"] }));
  expect(mustSucceed(runtime(["exec", "-p", file, b.id])).stdout).toBe("from the file\n");
});

for (const [title, text] of [
  ["that does not exist", undefined],
  ["that is empty", ""],
  ["that is no JSON", "{"],
  ["without args", JSON.stringify({ ...PROCESS, args: [] })],
  ["with a wrong type", JSON.stringify({ ...PROCESS, args: "/bin/true" })],
  ["that is null", "null"],
] as const) {
  test(`--process of a file ${title} is refused`, () => {
    const b = started();
    const file = `${b.dir}/process.json`;
    if (text !== undefined) writeFileSync(file, text);
    const result = runtime(["exec", "--process", file, b.id]);
    expect(result.status).not.toBe(0);
    expect(result.stderr).not.toBe("");
    expect(result.stdout).toBe("");
  });
}

test("without a command", () => {
  const b = started();
  const result = runtime(["exec", b.id]);
  expect(result.status).not.toBe(0);
  expect(result.stderr).not.toBe("");
});

/** program → what the engines look for in the message. */
const FAILURES: readonly (readonly [title: string, program: string, text: string])[] = [
  ["a name that is nowhere in PATH", "no-such-name", "executable file not found in $PATH"],
  ["a path that does not exist", "/no/such/path", "no such file or directory"],
  ["a file that is not executable", "/etc/passwd", "permission denied"],
  ["a directory", "/etc", "is a directory"],
  ["a path through a file", "/etc/passwd/x", "not a directory"],
];

for (const [title, program, text] of FAILURES) {
  test(`${title}: exec fails with 255`, () => {
    const result = exec(started(), [program]);
    mustFail(result, text, 255);
    mustFail(result, program, 255);
  });

  test(`${title}: create fails, and leaves nothing`, () => {
    const b = bundle((config) => (config.process.args = [program]));
    const result = create(b);
    mustFail(result, text);
    mustFail(result, program);
    mustFail(state(b), "does not exist");
  });
}

test("a file that is no program", () => {
  const b = started((_config, at) => writeFileSync(`${at.rootfs}/garbage`, "\u0001\u0002", { mode: 0o755 }));
  mustFail(exec(b, ["/garbage"]), "exec format error", 255);
});

test("a script whose interpreter does not exist", () => {
  const b = started((_config, at) => writeFileSync(`${at.rootfs}/script`, "#!/no/such/shell\n", { mode: 0o755 }));
  mustFail(exec(b, ["/script"]), "no such file or directory", 255);
});

test("an empty PATH entry is the current directory, a directory of the name is passed over", () => {
  const b = started((config, at) => {
    config.process.env = ["PATH=/tmp:/bin"];
    mkdirSync(`${at.rootfs}/tmp/echo`);
  });
  expect(mustSucceed(exec(b, ["echo", "found"])).stdout).toBe("found\n");
});

test("it does not outlive the container", () => {
  const b = started();
  mustSucceed(exec(b, ["/bin/sleep", "1000"], { flags: ["--detach"] }));
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
});

test("a signal to the runtime reaches the program", async () => {
  const b = started();
  const script = "trap 'echo got; exit 9' TERM; echo > /ready; while :; do sleep 0.02; done";
  const running = runtimeBeside(["exec", b.id, "/bin/sh", "-c", script]);
  for (let round = 0; round < 200 && !existsSync(`${b.rootfs}/ready`); round++) await Bun.sleep(10);
  running.kill("SIGTERM");
  const result = await running.finish();
  expect([result.status, result.stdout]).toEqual([9, "got\n"]);
});
