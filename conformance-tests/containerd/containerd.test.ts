/**
 * containerd runs containers through bin/tsrun, and the same tests run with runc: what an engine sees must not differ.
 * run.sh starts this; `RUNTIME=/path/to/another` tests that one in the place of bin/tsrun.
 */
import { test as bunTest, expect } from "bun:test";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { command } from "../../tests/helpers/command.ts";
import { withoutLibcSignals } from "../../tests/helpers/signals.ts";
import { outcome, sh, success } from "../lib/commands.ts";
import { SHIM_SOCKETS, shimSockets } from "../lib/containerd.ts";
import { V2_ONLY } from "../lib/runtimes.ts";
import { snippet } from "../lib/snippet.ts";
import { inTerminal } from "../lib/terminal.ts";
import { containerd } from "./lanes.ts";

const { engine, test, same, taskOf } = containerd();

bunTest("containerd reads what docs/engines.md tells to write", () => {
  const file = `${engine().home}/snippet.toml`;
  writeFileSync(file, snippet("/etc/containerd/config.toml"));
  const { stdout } = success(command(["containerd", "--config", file, "config", "dump"]));
  const runtimes = "containerd.runtimes.tsrun";
  const [, section] = stdout.split(`${runtimes}]\n`);
  expect(section).toContain('runtime_type = "io.containerd.runc.v2"');
  const [, options] = stdout.split(`${runtimes}.options]\n`);
  expect(options!.split("[")[0]).toContain('BinaryName = "/usr/local/bin/tsrun"');
});

test("the command of the image", ({ run }) => {
  expect(outcome(run([]))).toEqual({ status: 0, stdout: "the command of the image\n", stderr: "" });
});

test("a pipeline, standard error and the exit code", ({ run }) => {
  const result = run(sh("printf 'c\\na\\nb\\n' | sort | tr a-z A-Z; echo to standard error >&2; exit 3"));
  expect(outcome(result)).toEqual({ status: 3, stdout: "A\nB\nC\n", stderr: "to standard error\n" });
});

test("exit codes", ({ run }) => {
  expect([0, 7, 137, 255].map((code) => run(sh(`exit ${code}`)).status)).toEqual([0, 7, 137, 255]);
});

test("standard output of a megabyte arrives whole", ({ run }) => {
  const { status, stdout } = run(sh("yes 0123456789 | head -c 1100000; echo end"));
  expect([status, stdout.length, stdout.endsWith("end\n")]).toEqual([0, 1_100_004, true]);
});

test("a signal from task kill ends the container with 128 + its number", async ({ runLine, name, status, exec }) => {
  for (const [signal, code] of [
    ["SIGKILL", 137],
    ["SIGTERM", 143],
  ] as const) {
    const id = name();
    const beside = engine().ctrBeside(
      runLine(["--rm"], sh("trap 'exit 143' TERM; touch /ready; while :; do sleep 0.05; done"), id),
    );
    for (let round = 0; round < 100 && status(id) !== "RUNNING"; round++) await Bun.sleep(50);
    for (let round = 0; round < 100 && exec(id, ["test", "-e", "/ready"]).status !== 0; round++) await Bun.sleep(50);
    success(engine().ctr(["task", "kill", "--signal", signal, id]));
    expect((await beside.finish(20_000)).status).toBe(code);
  }
});

test("the life of a detached container: ls, exec, kill, rm", async ({ started, exec, status, ended }) => {
  const id = started(["sleep", "1000"]);
  expect(status(id)).toBe("RUNNING");
  expect(outcome(exec(id, sh("echo in; echo err >&2; exit 5")))).toEqual({
    status: 5,
    stdout: "in\n",
    stderr: "err\n",
  });
  expect(engine().ctr(["task", "rm", id]).status).toBe(1);
  success(engine().ctr(["task", "kill", "-s", "9", id]));
  await ended(id);
  expect(status(id)).toBe("STOPPED");
  success(engine().ctr(["task", "rm", id]));
  expect(status(id)).toBeUndefined();
  success(engine().ctr(["container", "rm", id]));
});

test("task start a second time, after the task was removed", async ({ started, status, ended }) => {
  const id = started(["sleep", "1000"]);
  success(engine().ctr(["task", "kill", "-s", "KILL", id]));
  await ended(id);
  engine().ctr(["task", "rm", id]);
  success(engine().ctr(["task", "start", "-d", id]));
  expect(status(id)).toBe("RUNNING");
  success(engine().ctr(["task", "rm", "--force", id]));
});

test("task kill --all reaches every process", async ({ started, exec, ended }) => {
  const id = started(sh("sleep 1000 & sleep 1000 & trap : TERM; wait; wait"));
  const other = exec(id, sh("sleep 1000 >/dev/null 2>&1 & echo $!"));
  expect(other.status).toBe(0);
  success(engine().ctr(["task", "kill", "--all", "-s", "KILL", id]));
  await ended(id);
});

test("exec: user, groups, directory, environment", ({ started, exec }) => {
  const id = started(["sleep", "1000"], ["--env", "FROM_CTR=too"]);
  expect(success(exec(id, sh("id -u; id -g; pwd"))).stdout).toBe("0\n0\n/\n");
  expect(success(exec(id, sh("id -u; id -g; pwd"), ["--user", "1000:1000", "--cwd", "/tmp"])).stdout).toBe(
    "1000\n1000\n/tmp\n",
  );
  expect(success(exec(id, sh("id -u"), ["--user", "someone"])).stdout).toBe("1000\n");
  expect(success(exec(id, sh("echo $FROM_IMAGE $FROM_CTR; hostname; cat /proc/1/comm"))).stdout).toMatch(
    /^yes too\n.*\nsleep\n$/,
  );
});

test("exec -d", async ({ started, exec }) => {
  const id = started(["sleep", "1000"]);
  success(exec(id, sh("echo done > /tmp/done"), ["--detach"]));
  for (let round = 0; round < 50 && exec(id, ["test", "-s", "/tmp/done"]).status !== 0; round++) await Bun.sleep(50);
  expect(success(exec(id, ["cat", "/tmp/done"])).stdout).toBe("done\n");
});

test("exec is in the container's namespaces and cgroup", ({ started, exec }) => {
  const id = started(["sleep", "1000"]);
  const namespaces = sh(
    "for n in mnt pid net ipc uts; do test $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) && echo $n; done",
  );
  expect(success(exec(id, namespaces)).stdout).toBe("mnt\npid\nnet\nipc\nuts\n");
  expect(success(exec(id, sh("cmp /proc/self/cgroup /proc/1/cgroup && echo same"))).stdout).toBe("same\n");
});

test("a container's program that does not exist", ({ run }) => {
  const result = run(["no-such-program"]);
  expect(result.status).toBe(1);
  expect(result.stderr).toContain('exec: "no-such-program": executable file not found in $PATH');
});

test("a container's program that does not exist, by its path", ({ run }) => {
  const result = run(["/bin/no-such-program"]);
  expect(result.status).toBe(1);
  expect(result.stderr).toContain('exec: "/bin/no-such-program": stat /bin/no-such-program: no such file or directory');
});

test("a container's program that may not be executed", ({ run }) => {
  const result = run(["/bin/not-executable"]);
  expect(result.status).toBe(1);
  expect(result.stderr).toContain('exec: "/bin/not-executable": permission denied');
});

test("exec of a program that does not exist, and the container goes on", ({ started, exec, status }) => {
  const id = started(["sleep", "1000"]);
  const result = exec(id, ["no-such-program"]);
  expect(result.status).toBe(1);
  expect(result.stderr).toContain('exec: "no-such-program": executable file not found in $PATH');
  expect(success(exec(id, ["echo", "still here"])).stdout).toBe("still here\n");
  expect(status(id)).toBe("RUNNING");
});

test("a mount whose source does not exist", ({ run }) => {
  const result = run(["true"], ["--mount", "type=bind,src=/no-such-source,dst=/mnt,options=rbind"]);
  expect(result.status).toBe(1);
  expect(result.stderr).toContain("/no-such-source");
  expect(result.stderr).toContain("no such file or directory");
});

test("environment and directory", ({ run }) => {
  const result = run(sh("pwd; echo $GREETING $PATH"), ["--env", "GREETING=two words", "--cwd", "/tmp"]);
  expect(outcome(result)).toEqual({ status: 0, stdout: "/tmp\ntwo words /usr/bin:/bin\n", stderr: "" });
});

test("bind mounts, writable and read-only", ({ run }) => {
  const shared = `${engine().home}/shared-${Bun.nanoseconds()}`;
  mkdirSync(shared);
  writeFileSync(`${shared}/from-host`, "hello\n");
  const writable = `type=bind,src=${shared},dst=/mnt,options=rbind:rw`;
  const readonly = `type=bind,src=${shared},dst=/made/for/it,options=rbind:ro`;
  const result = run(
    sh(
      "cat /mnt/from-host; echo world > /mnt/from-container; echo x > /made/for/it/x || cat /made/for/it/from-container",
    ),
    ["--mount", writable, "--mount", readonly],
  );
  expect(result.stdout).toBe("hello\nworld\n");
  expect(result.stderr).toContain("Read-only file system");
  expect(readFileSync(`${shared}/from-container`, "utf8")).toBe("world\n");
  expect(existsSync(`${shared}/x`)).toBe(false);
});

test("tmpfs mount", ({ run }) => {
  const result = run(sh("df -m /new | tail -1 | tr -s ' ' | cut -d' ' -f1,2; stat -c %a /new"), [
    "--mount",
    "type=tmpfs,src=tmpfs,dst=/new,options=size=8m:mode=700",
  ]);
  expect(success(result).stdout).toBe("tmpfs 8\n700\n");
});

test("read-only root", ({ run }) => {
  const result = run(sh("touch /file; touch /run/file && echo but /run is not"), ["--read-only"]);
  expect(result.stdout).toBe("but /run is not\n");
  expect(result.stderr).toContain("Read-only file system");
});

test("masked and read-only paths of the default specification", ({ run }) => {
  const masked = ["/proc/kcore", "/proc/keys", "/proc/timer_list"].filter((path) => existsSync(path));
  expect(masked).not.toEqual([]);
  const result = run(
    sh(`cat ${masked.join(" ")} | wc -c; ls /sys/firmware | wc -l; echo x > /proc/sys/kernel/hostname`),
  );
  expect(result.stdout).toBe("0\n0\n");
  expect(result.stderr).toContain("Read-only file system");
});

test("what a container is given: capabilities, limits, descriptors, mounts", ({ run }) => {
  const result = run(
    sh(
      "grep -E '^(Cap|NoNewPrivs|Seccomp:|Sig[PBIC])' /proc/self/status; ulimit -n; ls /proc/1/fd; umask;" +
        "echo; ls /dev; cut -d' ' -f2 /proc/mounts | sort; cat /proc/self/oom_score_adj",
    ),
  );
  same("given", withoutLibcSignals(success(result).stdout));
});

test("the container has its own namespaces, and none that was not asked for", ({ run }) => {
  const own = success(run(sh("for n in mnt pid net ipc uts user time; do readlink /proc/self/ns/$n; done"))).stdout;
  const host = success(engine().ctr(["version"])) && ["mnt", "pid", "net", "ipc", "uts", "user", "time"];
  const lines = own.trim().split("\n");
  const shared = host.filter(
    (name, at) =>
      Bun.spawnSync(["readlink", `/proc/self/ns/${name}`])
        .stdout.toString()
        .trim() === lines[at],
  );
  expect(shared).toEqual(["user", "time"]);
});

test("the host's network with --net-host", ({ run }) => {
  const result = run(sh("readlink /proc/self/ns/net"), ["--net-host"]);
  expect(success(result).stdout).toBe(Bun.spawnSync(["readlink", "/proc/self/ns/net"]).stdout.toString());
});

test("a namespace that exists with --with-ns", ({ started, run }) => {
  const id = started(["sleep", "1000"]);
  const { pid } = taskOf(id);
  const joined = run(sh("readlink /proc/self/ns/net; readlink /proc/self/ns/uts"), [
    ...["--with-ns", `network:/proc/${pid}/ns/net`, "--with-ns", `uts:/proc/${pid}/ns/uts`],
  ]);
  const wanted = Bun.spawnSync(["readlink", `/proc/${pid}/ns/net`, `/proc/${pid}/ns/uts`]).stdout.toString();
  expect(success(joined).stdout).toBe(wanted);
});

test("capabilities added and taken away", ({ run }) => {
  const flags = ["--cap-add", "CAP_SYS_ADMIN", "--cap-drop", "CAP_CHOWN"];
  const result = run(sh("grep Cap /proc/self/status; mount -t tmpfs x /mnt && touch /f && ! chown 1 /f"), flags);
  expect(result.stderr).toContain("Operation not permitted");
  same("capabilities", `${result.status} ${result.stdout}`);
});

test("a device with --device", ({ run }) => {
  const result = run(sh("stat -c '%F %t %T' /dev/fuse"), ["--device", "/dev/fuse"]);
  expect(success(result).stdout).toBe("character special file a e5\n");
});

test("privileged", ({ run }) => {
  const result = run(
    sh("echo privileged > /proc/sys/kernel/hostname && hostname; ls /dev/fuse; grep CapEff /proc/self/status"),
    ["--privileged"],
  );
  expect(success(result).stdout).toStartWith("privileged\n/dev/fuse\n");
  same("privileged", result.stdout);
});

test("without pivot_root", ({ run }) => {
  expect(success(run(sh("ls / | head -2; wc -l < /proc/mounts"), ["--no-pivot"])).stdout).toMatch(/^bin\ndev\n\d+\n$/);
});

test("the container's cgroup is where containerd looks for its metrics", ({ started }) => {
  const id = started(["sleep", "1000"]);
  const { stdout } = success(engine().ctr(["task", "metrics", "--format", "json", id]));
  const metrics = JSON.parse(stdout) as object;
  same("metrics", Object.keys(metrics).toSorted().join());
  // Where cgroup v2 has no controllers there are no figures.
  if (!V2_ONLY)
    expect(metrics).toMatchObject({ pids: { current: 1 }, memory: { usage: { usage: expect.any(Number) } } });
});

test("output to a file with --log-uri", async ({ started }) => {
  const log = `${engine().home}/log-${Bun.nanoseconds()}`;
  started(sh("echo to the log; echo and this >&2; sleep 1000"), ["--log-uri", `file://${log}`]);
  // The shim copies what it has read in its own time; what is left when the container ends may be lost.
  const lines = () => (existsSync(log) ? readFileSync(log, "utf8") : "").split("\n").toSorted();
  for (let round = 0; round < 100 && lines().length < 3; round++) await Bun.sleep(20);
  expect(lines()).toEqual(["", "and this", "to the log"]);
});

test("a shim that is killed: containerd lets the runtime clean up", async ({ started, status }) => {
  const before = shimSockets();
  const id = started(["sleep", "1000"]);
  const sockets = shimSockets().filter((name) => !before.includes(name));
  const { pid, shim } = taskOf(id);
  process.kill(shim, "SIGKILL");
  for (let round = 0; round < 200 && (existsSync(`/proc/${pid}/root/bin`) || status(id) === "RUNNING"); round++) {
    await Bun.sleep(50);
  }
  expect(existsSync(`/proc/${pid}/root/bin`)).toBe(false);
  expect(status(id)).not.toBe("RUNNING");
  // containerd 1.6 leaves the socket of a shim that was killed.
  for (const name of sockets) rmSync(`${SHIM_SOCKETS}/${name}`);
});

test("a user namespace with its maps", ({ run }) => {
  const result = run(sh("cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; id -u; touch /tmp/mine && echo ok"), [
    ...["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536"],
  ]);
  expect(success(result).stdout).toBe(" 0 100000 65536\n 0 100000 65536\n0\nok\n");
});

for (const snapshotter of ["overlayfs", "native"]) {
  test(`the snapshotter ${snapshotter}: what a container writes, another one does not see`, ({
    run,
    started,
    exec,
  }) => {
    const options = ["--snapshotter", snapshotter];
    const id = started(["sleep", "1000"], options);
    success(exec(id, ["sh", "-c", "echo mine > /bin/mine && rm /bin/sleep && cat /bin/mine"]));
    const { stdout } = success(
      run(sh("ls /bin/mine /bin/sleep 2>/dev/null; grep ' / / ' /proc/self/mountinfo | wc -l"), options),
    );
    expect(stdout).toBe(`/bin/sleep\n${snapshotter === "overlayfs" ? 1 : 0}\n`);
  });
}

test("a terminal: its size, what is typed, and its exit code", async ({ runLine, name }) => {
  // ctr sets the size after the start.
  const script = `test -t 0 && test -t 1 && tty
    until [ "$(stty size 2>/dev/null)" = "31 91" ]; do sleep 0.05; done
    echo its size is known; read line; echo got $line; exit 9`;
  const { code, text } = await inTerminal(engine().commandLine(runLine(["--rm", "--tty"], sh(script), name())), [
    [/is known\n/, "hello\r"],
  ]);
  expect(text).toContain("/dev/pts/0\n");
  expect(text).toContain("got hello\n");
  expect(code).toBe(9);
});

test("a terminal for exec", async ({ started }) => {
  const id = started(["sleep", "1000"]);
  const { code, text } = await inTerminal(
    engine().commandLine([
      "task",
      "exec",
      "--tty",
      "--exec-id",
      "tty",
      id,
      ...sh("tty; read line; echo got $line; exit 4"),
    ]),
    [[/\/dev\/pts\/\d+\n/, "typed\r"]],
  );
  expect(text).toContain("got typed\n");
  expect(code).toBe(4);
});

test("ctrl-c in a terminal reaches the program", async ({ runLine, name }) => {
  const { code, text } = await inTerminal(
    engine().commandLine(
      runLine(
        ["--rm", "--tty"],
        sh("trap 'echo interrupted; exit 6' INT; echo ready; while :; do sleep 0.1; done"),
        name(),
      ),
    ),
    [[/ready\n/, "\x03"]],
  );
  expect(text).toContain("interrupted");
  expect(code).toBe(6);
});

test("eight containers at a time", async ({ runLine, name }) => {
  const running = Array.from({ length: 8 }, (_, at) =>
    engine()
      .ctrBeside(runLine(["--rm"], sh(`echo ${at}; exit ${at}`), name()))
      .finish(60_000),
  );
  const results = await Promise.all(running);
  expect(results.map(({ status, stdout }) => [status, stdout])).toEqual(results.map((_, at) => [at, `${at}\n`]));
});
