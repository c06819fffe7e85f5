/**
 * dockerd runs containers through bin/tsrun as its default runtime, and another dockerd runs the same with runc: what its
 * users see must not differ. run.sh starts this; `RUNTIME=/path/to/another` tests that one in the place of bin/tsrun.
 */
import { expect } from "bun:test";
import { withoutLibcSignals } from "../../tests/helpers/signals.ts";
import { outcome, sh, sleep, success } from "../lib/commands.ts";
import { until } from "../lib/wait.ts";
import { IMAGE } from "./engine.ts";
import { docker, type Lane } from "./lanes.ts";

const { test } = docker();

test("tsrun is the default runtime", async ({ engine, docker, started, inspect, pidOf }) => {
  expect(success(await docker("info", "--format", "{{.DefaultRuntime}}")).stdout).toBe("tsrun\n");
  const id = await started(sleep);
  expect(success(await docker("inspect", "--format", "{{.HostConfig.Runtime}}", id)).stdout).toBe("tsrun\n");
  // Only the runtime that made it can tell.
  const root = `${engine.home}/exec/runtime-runc/moby`;
  const state = await engine.here([engine.runtime.path, "--root", root, "state", await inspect(id, "{{.Id}}")]);
  expect(JSON.parse(success(state).stdout)).toMatchObject({ pid: await pidOf(id), status: "running" });
});

test("the command of the image", async ({ run }) => {
  expect(outcome(await run([]))).toEqual({ status: 0, stdout: "the command of the image\n", stderr: "" });
});

test("a pipeline, standard error and the exit code", async ({ run }) => {
  const result = await run(sh("printf 'c\\na\\nb\\n' | sort | tr a-z A-Z; echo to standard error >&2; exit 3"));
  expect(outcome(result)).toEqual({ status: 3, stdout: "A\nB\nC\n", stderr: "to standard error\n" });
});

test("exit codes of the container's program", async ({ run }) => {
  const results = await Promise.all([0, 7, 137, 255].map((code) => run(sh(`exit ${code}`))));
  expect(results.map(({ status }) => status)).toEqual([0, 7, 137, 255]);
});

test("exit code 125: docker itself fails, or the runtime cannot make the container", async ({ run }) => {
  expect((await run(["true"], ["--no-such-flag"])).status).toBe(125);
  expect((await run(["true"], ["--runtime", "no-such-runtime"])).status).toBe(125);
  const noUser = await run(["true"], ["--user", "nobody-knows-them"]);
  expect(noUser.status).toBe(125);
  const taken = await run(["true"], ["--sysctl", "kernel.shmmax=not-a-number"]);
  expect(taken.status).toBe(125);
  expect(taken.stderr).toContain("invalid argument");
});

test("exit code 126: a program that may not be executed", async ({ run }) => {
  const result = await run(["/bin/not-executable"]);
  expect(result.status).toBe(126);
  expect(result.stderr).toContain('exec: "/bin/not-executable": permission denied');
  const directory = await run(["/etc"]);
  expect(directory.status).toBe(126);
});

test("exit code 127: a program that does not exist", async ({ run }) => {
  const byName = await run(["no-such-program"]);
  expect(byName.status).toBe(127);
  expect(byName.stderr).toContain('exec: "no-such-program": executable file not found in $PATH');
  const byPath = await run(["/bin/no-such-program"]);
  expect(byPath.status).toBe(127);
  expect(byPath.stderr).toContain("no such file or directory");
});

test("exit code 137: a container that is killed", async ({ started, docker, inspect }) => {
  const id = await started(sleep);
  success(await docker("kill", id));
  expect(success(await docker("wait", id)).stdout).toBe("137\n");
  expect(await inspect(id, "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}")).toBe("exited 137 false");
});

test("docker kill with a signal, docker stop, and a program that ignores it", async ({ started, docker, inspect }) => {
  const traps = sh("trap 'echo caught; exit 9' USR1; trap : TERM; echo ready; while :; do sleep 0.05; done");
  const [signalled, stopped] = await Promise.all([started(traps), started(traps)]);
  for (const id of [signalled, stopped]) await isReady(docker, id);
  success(await docker("kill", "--signal", "USR1", signalled));
  success(await docker("wait", signalled));
  expect(success(await docker("logs", signalled)).stdout).toBe("ready\ncaught\n");
  expect(await inspect(signalled, "{{.State.ExitCode}}")).toBe("9");
  success(await docker("stop", "--time", "1", stopped));
  expect(await inspect(stopped, "{{.State.ExitCode}}")).toBe("137");
});

test("standard input", async ({ run }) => {
  const result = await run(["tr", "a-z", "A-Z"], ["-i"], { stdin: "what is typed\n" });
  expect(outcome(result)).toEqual({ status: 0, stdout: "WHAT IS TYPED\n", stderr: "" });
});

test("standard output of a megabyte arrives whole", async ({ run }) => {
  const { status, stdout } = await run(sh("yes 0123456789 | head -c 1100000; echo end"));
  expect([status, stdout.length, stdout.endsWith("end\n")]).toEqual([0, 1_100_004, true]);
});

test("the life of a container: create, start, ps, exec, kill, start again, rm", async (lane) => {
  const { docker, exec, name, inspect } = lane;
  const id = name();
  success(await docker("create", "--network", "none", "--name", id, IMAGE, ...sh("echo once; exec sleep 1000")));
  expect(await inspect(id, "{{.State.Status}} {{.State.Pid}}")).toBe("created 0");
  success(await docker("start", id));
  expect(await inspect(id, "{{.State.Status}} {{.State.Running}}")).toBe("running true");
  expect(success(await docker("ps", "--format", "{{.Names}} {{.State}}")).stdout).toBe(`${id} running\n`);
  expect((await docker("rm", id)).status).toBe(1);
  expect(outcome(await exec(id, sh("echo in; echo err >&2; exit 5")))).toEqual({
    status: 5,
    stdout: "in\n",
    stderr: "err\n",
  });
  success(await docker("kill", id));
  success(await docker("wait", id));
  success(await docker("start", id));
  expect(await inspect(id, "{{.State.Status}} {{.RestartCount}}")).toBe("running 0");
  expect(success(await docker("logs", id)).stdout).toBe("once\nonce\n");
  success(await docker("restart", "--time", "0", id));
  expect(await inspect(id, "{{.State.Status}}")).toBe("running");
  success(await docker("rm", "--force", id));
  expect(success(await docker("ps", "--all", "--quiet")).stdout).toBe("");
});

test("run --rm leaves no container", async ({ run, docker }) => {
  success(await run(["true"]));
  expect((await run(["no-such-program"])).status).toBe(127);
  expect(success(await docker("ps", "--all", "--quiet")).stdout).toBe("");
});

test("exec: user, groups, directory, environment", async ({ started, exec }) => {
  const id = await started(sleep, ["--env", "FROM_RUN=too"]);
  expect(success(await exec(id, sh("id -u; id -g; pwd"))).stdout).toBe("0\n0\n/\n");
  const someone = await exec(id, sh("id -u; id -g; pwd; echo $FROM_IMAGE $FROM_RUN $MORE"), [
    ...["--user", "someone", "--workdir", "/tmp", "--env", "MORE=and this"],
  ]);
  expect(success(someone).stdout).toBe("1000\n1000\n/tmp\nyes too and this\n");
});

test("exec: its exit codes", async ({ started, exec, inspect }) => {
  const id = await started(sleep);
  const codes = await Promise.all([
    exec(id, sh("exit 5")),
    exec(id, ["/bin/not-executable"]),
    exec(id, ["no-such-program"]),
    exec(id, sh("kill -9 $$")),
  ]);
  expect(codes.map(({ status }) => status)).toEqual([5, 126, 126, 137]);
  expect(codes[2]!.stdout + codes[2]!.stderr).toContain("executable file not found in $PATH");
  expect(await inspect(id, "{{.State.Status}}")).toBe("running");
});

test("exec --detach, and exec with standard input", async ({ started, exec, engine }) => {
  const id = await started(sleep);
  success(await exec(id, sh("echo done > /tmp/done"), ["--detach"]));
  await until(async () => (await exec(id, ["test", "-s", "/tmp/done"])).status === 0);
  const piped = await engine.docker(["exec", "-i", id, "wc", "-c"], { stdin: "12345" });
  expect(success(piped).stdout.trim()).toBe("5");
});

test("exec is in the container's namespaces and cgroup", async ({ started, exec }) => {
  const id = await started(sleep);
  const namespaces = sh(
    "for n in mnt pid net ipc uts cgroup; do test $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) && echo $n; done",
  );
  expect(success(await exec(id, namespaces)).stdout).toBe("mnt\npid\nnet\nipc\nuts\ncgroup\n");
  expect(success(await exec(id, sh("cmp /proc/self/cgroup /proc/1/cgroup && echo same"))).stdout).toBe("same\n");
});

test("-it: a terminal, what is typed, its new size and the exit code", async ({ runLine, typed }) => {
  const script = `test -t 0 && test -t 1 && tty
    until [ "$(stty size)" = "31 91" ]; do sleep 0.05; done
    echo its size is known; read line; echo got $line
    until [ "$(stty size)" = "40 120" ]; do sleep 0.05; done
    echo its new size is known; exit 9`;
  const { code, text } = await typed(runLine(sh(script), ["--rm", "-it"]), [
    [/its size is known\n/, "hello\r"],
    [/got hello\n/, [120, 40]],
  ]);
  expect(text).toContain("/dev/pts/0\n");
  expect(text).toContain("got hello\n");
  expect(text).toEndWith("its new size is known\n");
  expect(code).toBe(9);
});

test("exec -it: a terminal, its new size and the exit code", async ({ started, typed }) => {
  const id = await started(sleep);
  const script = sh(`tty; read line; echo got $line
    until [ "$(stty size)" = "33 77" ]; do sleep 0.05; done; exit 4`);
  const { code, text } = await typed(
    ["exec", "-it", id, ...script],
    [
      [/\/dev\/pts\/\d+\n/, "typed\r"],
      [/got typed\n/, [77, 33]],
    ],
  );
  expect(text).toContain("got typed\n");
  expect(code).toBe(4);
});

test("ctrl-c in a terminal reaches the program; ctrl-p ctrl-q leaves it alone", async (lane) => {
  const { runLine, typed, name, inspect, docker } = lane;
  const script = sh("trap 'echo interrupted; exit 6' INT; echo ready; while :; do sleep 0.1; done");
  const interrupted = await typed(runLine(script, ["--rm", "-it"]), [[/ready\n/, "\x03"]]);
  expect(interrupted.text).toContain("interrupted");
  expect(interrupted.code).toBe(6);
  const id = name();
  const left = await typed(runLine(script, ["--name", id, "-it"]), [[/ready\n/, "\x10\x11"]]);
  expect([left.code, await inspect(id, "{{.State.Status}}")]).toEqual([0, "running"]);
  success(await docker("kill", "--signal", "INT", id));
  expect(success(await docker("wait", id)).stdout).toBe("6\n");
});

test("--init: a process that reaps", async ({ started, exec, output }) => {
  expect(await output(sh("cat /proc/1/comm; echo $$"), ["--init"])).toMatch(/^(docker-init|tini)\n[2-9]\n$/);
  // Whose parent has ended, is adopted by the first process, which has to wait for its end.
  const id = await started(sh("sh -c 'sleep 0.1 & echo $! > /tmp/orphan'; exec sleep 1000"), ["--init"]);
  await until(
    async () => (await exec(id, sh("test -s /tmp/orphan && ! test -e /proc/$(cat /tmp/orphan)"))).status === 0,
  );
});

test("pause stops the container's processes, unpause lets them go on", async ({ started, exec, docker, inspect }) => {
  const id = await started(sh("while :; do echo again; sleep 0.02; done"));
  const lines = async () => success(await docker("logs", id)).stdout.length;
  await until(async () => (await lines()) > 0);
  success(await docker("pause", id));
  expect(await inspect(id, "{{.State.Status}} {{.State.Paused}}")).toBe("paused true");
  expect((await exec(id, ["true"])).stderr).toContain("is paused");
  await Bun.sleep(100);
  const before = await lines();
  await Bun.sleep(150);
  expect(await lines()).toBe(before);
  success(await docker("unpause", id));
  expect(await inspect(id, "{{.State.Status}}")).toBe("running");
  await until(async () => (await lines()) > before);
  success(await docker("pause", id));
  success(await docker("rm", "--force", id));
});

test("top lists the container's processes", async ({ started, docker, engine, pidOf }) => {
  const id = await started(sh("sleep 1000 & exec sleep 1001"));
  const commands = async () => {
    const { stdout } = success(await docker("top", id, "-eo", "pid,args"));
    return stdout.trim().split("\n").slice(1);
  };
  await until(async () => (await commands()).some((line) => line.endsWith("sleep 1001")));
  const lines = (await commands()).map((line) => line.trim().split(/\s+/));
  expect(lines.map(([, ...words]) => words.join(" ")).toSorted()).toEqual(["sleep 1000", "sleep 1001"]);
  expect(lines.map(([pid]) => Number(pid))).toContain(await pidOf(id));
  expect(engine.runtime.name).toBeOneOf(["runc", "tsrun"]);
});

test("events of a container's life", async ({ run, docker, note }) => {
  const since = Date.now() / 1000;
  await run(sh("exit 3"));
  await run(["no-such-program"]);
  const until = Date.now() / 1000 + 0.001;
  const format = "{{.Type}} {{.Action}} {{.Actor.Attributes.exitCode}}";
  const events = await docker("events", "--since", `${since}`, "--until", `${until}`, "--format", format);
  note("events", success(events).stdout);
  expect(events.stdout).toContain("container die 3\n");
});

test("cp, diff, commit, export, attach", async ({ docker, started, name, run, exec, engine, note, output }) => {
  const id = await started(sh("echo mine > /tmp/mine; exec sleep 1000"));
  await until(async () => (await exec(id, ["test", "-s", "/tmp/mine"])).status === 0);
  success(await docker("cp", `${id}:/tmp/mine`, `${engine.home}/copied`));
  success(await docker("cp", `${engine.home}/copied`, `${id}:/root/back`));
  expect(success(await exec(id, ["cat", "/root/back"])).stdout).toBe("mine\n");
  note(
    "diff",
    success(await docker("diff", id))
      .stdout.split("\n")
      .toSorted(),
  );
  const image = `image-of-${id}`;
  success(await docker("commit", id, image));
  expect(success(await docker("run", "--rm", "--network", "none", image, "cat", "/tmp/mine")).stdout).toBe("mine\n");
  success(await docker("rmi", image));
  const beside = engine.dockerBeside([
    "run",
    "--rm",
    "--network",
    "none",
    "--name",
    name(),
    IMAGE,
    ...sh("echo beside"),
  ]);
  expect((await beside.finish()).stdout).toBe("beside\n");
  expect((await run(["true"])).status).toBe(0);
  expect(await output(["cat", "/etc/hostname"], ["--hostname", "chosen"])).toBe("chosen\n");
});

test("what a container is given: capabilities, limits, descriptors, mounts, devices", async ({ output, note }) => {
  const seen = await output(
    sh(
      "grep -E '^(Cap|NoNewPrivs|Seccomp:|Sig[PBIC])' /proc/self/status; ulimit -n; ls /proc/1/fd; umask;" +
        "echo; ls -l /dev | tr -s ' ' | cut -d' ' -f1,3-6,9-;" +
        "sed -E 's/[^ ]* ([^ ]*) [^ ]* (r.).*/\\1 \\2/; /cgroup/d' /proc/mounts | sort;" +
        "cat /proc/self/oom_score_adj; for n in user time cgroup; do ls /proc/self/ns/$n; done",
    ),
    ["--hostname", "same"],
  );
  note(
    "given",
    withoutLibcSignals(seen).replaceAll(/t\d+-(runc|tsrun)-\w+|[0-9a-f]{26,}|size=\d+k|[A-Z0-9]{26}/g, "…"),
  );
  expect(seen).toContain("CapEff");
});

test("the container's namespaces: its own, the host's, another container's", async ({ started, output, exec }) => {
  const all = sh("for n in mnt pid net ipc uts; do readlink /proc/self/ns/$n; done");
  const host = ["mnt", "pid", "net", "ipc", "uts"].map((name) =>
    Bun.spawnSync(["readlink", `/proc/self/ns/${name}`]).stdout.toString(),
  );
  const own = (await output(all)).trimEnd().split("\n");
  expect(own.filter((line, at) => `${line}\n` === host[at])).toEqual([]);
  const shared = (await output(all, ["--pid", "host", "--ipc", "host", "--uts", "host"])).trimEnd().split("\n");
  expect([shared[1], shared[3], shared[4]].map((line) => `${line}\n`)).toEqual([host[1]!, host[3]!, host[4]!]);
  const id = await started(sleep, ["--ipc", "shareable"]);
  const its = success(await exec(id, all))
    .stdout.trimEnd()
    .split("\n");
  const joined = (await output(all, ["--pid", `container:${id}`, "--ipc", `container:${id}`])).trimEnd().split("\n");
  expect([joined[1], joined[3], joined[4] === its[4]]).toEqual([its[1], its[3], false]);
});

test("four containers at a time", async ({ run }) => {
  const results = await Promise.all([0, 1, 2, 3].map((at) => run(sh(`echo ${at}; exit ${at}`))));
  expect(results.map(({ status, stdout }) => [status, stdout])).toEqual(results.map((_, at) => [at, `${at}\n`]));
});

async function isReady(docker: Lane["docker"], id: string): Promise<void> {
  await until(async () => success(await docker("logs", id)).stdout.includes("ready"));
}
