/** What containers do with root's podman and with a user's alike. */
import { expect } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { withoutLibcSignals } from "../../tests/helpers/signals.ts";
import { outcome, sh, sleep, success } from "../lib/commands.ts";
import { until } from "../lib/wait.ts";
import { IMAGE } from "./engine.ts";
import type { Lane } from "./lanes.ts";

type Test = (title: string, action: (lane: Lane) => Promise<void>) => void;

export function commonTests(test: Test): void {
  running(test);
  lifeCycle(test);
  given(test);
  files(test);
  building(test);
  groups(test);
}

function running(test: Test): void {
  test("the command of the image", async ({ run }) => {
    expect(outcome(await run([]))).toEqual({ status: 0, stdout: "the command of the image\n", stderr: "" });
  });

  test("output, errors, input and the exit code", async ({ run }) => {
    const script = "read line; echo got $line; echo to standard error >&2; exit 3";
    expect(outcome(await run(sh(script), ["-i"], { stdin: "a line\n" }))).toEqual({
      status: 3,
      stdout: "got a line\n",
      stderr: "to standard error\n",
    });
  });

  test("programs that cannot be run: 126, 127, and why", async ({ run, note }) => {
    const missing = await run(["no-such-program"]);
    expect([missing.status, missing.stdout]).toEqual([127, ""]);
    expect(missing.stderr).toContain("executable file not found in $PATH");
    const denied = await run(["/bin/not-executable"]);
    expect(denied.status).toBe(126);
    expect(denied.stderr).toMatch(/permission denied/i);
    const directory = await run(["true"], ["--workdir", "/etc/passwd"]);
    note("a working directory that is a file", directory.status);
  });

  test("a terminal: its size, what is typed, and its exit code", async ({ typed, runLine, name }) => {
    const script = `test -t 0 && test -t 1 && tty
      until [ "$(stty size 2>/dev/null)" = "31 91" ]; do sleep 0.05; done
      echo its size is known; read line; echo got $line; exit 9`;
    const { code, text } = await typed(runLine(sh(script), ["--rm", "-it", "--name", name()]), [
      [/is known\n/, "hello\r"],
    ]);
    expect(text).toContain("/dev/pts/0\n");
    expect(text).toContain("got hello\n");
    expect(code).toBe(9);
  });
}

function lifeCycle(test: Test): void {
  test("exec: user, directory, environment, exit codes, a program that is not there", async ({ started, exec }) => {
    const id = await started(sleep);
    const flags = ["--user", "1000", "--workdir", "/tmp", "--env", "A=b c"];
    expect(outcome(await exec(id, sh('id -u; pwd; echo "$A"; exit 7'), flags))).toMatchObject({
      status: 7,
      stdout: "1000\n/tmp\nb c\n",
    });
    const missing = await exec(id, ["no-such-program"]);
    expect(missing.status).toBe(127);
    expect(missing.stderr).toContain("executable file not found in $PATH");
  });

  test("exec with a terminal", async ({ started, typed }) => {
    const id = await started(sleep);
    const { code, text } = await typed(
      ["exec", "-it", id, ...sh("tty; read line; echo got $line; exit 4")],
      [[/\/dev\/pts\/\d+\n/, "typed\r"]],
    );
    expect(text).toContain("got typed\n");
    expect(code).toBe(4);
  });

  test("stop, start, restart, logs, wait, kill", async ({ started, podman, inspect }) => {
    const id = await started(sh("trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done"));
    await until(async () => (await podman("logs", id)).stdout === "up\n");
    success(await podman("stop", id));
    expect(await inspect(id, "{{.State.Status}} {{.State.ExitCode}}")).toBe("exited 5");
    success(await podman("start", id));
    await until(async () => (await podman("logs", id)).stdout === "up\nup\n");
    success(await podman("restart", id));
    expect(await inspect(id, "{{.State.Status}}")).toBe("running");
    success(await podman("kill", "--signal", "KILL", id));
    expect(success(await podman("wait", id)).stdout).toBe("137\n");
  });

  test("top", async ({ started, podman }) => {
    const id = await started(sh("sleep 1000 & exec sleep 1001"));
    await until(async () => (await podman("top", id, "args")).stdout.includes("sleep 1001"));
    const lines = success(await podman("top", id, "pid", "user", "args"))
      .stdout.trim()
      .split("\n")
      .slice(1);
    const fields = lines.map((line) => line.trim().split(/\s+/).join(" ")).toSorted();
    expect(fields).toEqual(["1 root sleep 1001", expect.stringMatching(/^\d+ root sleep 1000$/)]);
  });

  test("cp, diff, commit", async ({ started, podman, engine, output, exec }) => {
    const id = await started(sleep);
    writeFileSync(`${engine.home}/tmp/file`, "from the host\n", { mode: 0o644 });
    success(await podman("cp", `${engine.home}/tmp/file`, `${id}:/mnt/file`));
    expect(success(await exec(id, ["cat", "/mnt/file"])).stdout).toBe("from the host\n");
    expect(success(await podman("diff", id)).stdout).toContain("A /mnt/file");
    success(await podman("commit", "--quiet", id, "localhost/committed"));
    const ran = await podman("run", "--rm", "--network", "none", "localhost/committed", "cat", "/mnt/file");
    expect(success(ran).stdout).toBe("from the host\n");
    success(await podman("rmi", "--force", "localhost/committed"));
    expect(await output(["true"])).toBe("");
  });

  test("--init reaps, and passes signals on", async ({ output }) => {
    expect(await output(sh("cat /proc/1/comm"), ["--init"])).toBe("podman-init\n");
  });
}

function given(test: Test): void {
  test("what a container is given: capabilities, limits, descriptors, devices, mounts", async ({ output, note }) => {
    const script = `grep -E '^(Cap|NoNewPrivs|Seccomp:|Sig[PBIC]|Groups)' /proc/self/status; ulimit -n; ulimit -u
      ls /proc/1/fd; umask; ls -l /dev | awk '{print $1, $3, $4, $NF}'; cat /proc/self/oom_score_adj
      cut -d' ' -f2 /proc/mounts | sort; sed 's/ [0-9]* / /' /proc/self/limits; pwd; env | sort`;
    const seen = withoutLibcSignals(await output(sh(script), ["--hostname", "given"]));
    // Of cgroups there is a test of its own.
    const text = seen.replaceAll(/^\/sys\/fs\/cgroup\/.*\n/gm, "");
    note("given", text.replaceAll(/^(container_uuid|HOSTNAME)=.*$/gm, ""));
  });

  test("--privileged", async ({ output, note }) => {
    const script =
      "grep -E '^(Cap|Seccomp:)' /proc/self/status; ls /dev | wc -l; mount -t tmpfs none /mnt && echo mounted";
    const text = await output(sh(script), ["--privileged"]);
    expect(text).toEndWith("mounted\n");
    note("privileged", text);
  });

  test("--user, --group-add, --cap-add, --cap-drop, no-new-privileges", async ({ output, note }) => {
    const script = "id -u; id -g; grep -E '^(Groups|CapEff|CapBnd|NoNewPrivs)' /proc/self/status";
    const flags = ["--cap-drop", "ALL", "--cap-add", "CHOWN", "--security-opt", "no-new-privileges"];
    note("flags", await output(sh(script), ["--user", "1000:1001", "--group-add", "50", ...flags]));
    note("root", await output(sh(script), flags));
  });

  test("seccomp: the profile of podman, none, and one's own", async ({ output, run, engine }) => {
    const filters = sh("grep ^Seccomp: /proc/self/status");
    expect(await output(filters)).toBe("Seccomp:\t2\n");
    expect(await output(filters, ["--security-opt", "seccomp=unconfined"])).toBe("Seccomp:\t0\n");
    const rule = { names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 13 };
    writeFileSync(
      `${engine.home}/tmp/seccomp.json`,
      JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [rule] }),
    );
    const own = await run(["mkdir", "/tmp/x"], ["--security-opt", `seccomp=${engine.home}/tmp/seccomp.json`]);
    expect([own.status, own.stderr]).toEqual([1, "mkdir: can't create directory '/tmp/x': Permission denied\n"]);
  });

  test("namespaces of the host: --pid, --uts", async ({ output }) => {
    for (const [flag, name] of [
      ["--pid", "pid"],
      ["--uts", "uts"],
    ] as const) {
      const seen = await output(sh(`readlink /proc/self/ns/${name}`), [flag, "host"]);
      expect(seen.trim()).toBe(
        Bun.spawnSync(["readlink", `/proc/self/ns/${name}`])
          .stdout.toString()
          .trim(),
      );
    }
  });

  test("--oom-score-adj and --ulimit", async ({ output }) => {
    const flags = [
      "--oom-score-adj",
      "500",
      "--ulimit",
      "core=100:200",
      "--ulimit",
      "nproc=1000:2000",
      "--ulimit",
      "nofile=1000",
    ];
    expect(await output(sh("cat /proc/self/oom_score_adj; ulimit -c; ulimit -u"), flags)).toBe("500\n0\n1000\n");
  });
}

function files(test: Test): void {
  test("volumes, bind mounts, tmpfs and --read-only", async ({ output, run, engine }) => {
    const shared = `${engine.home}/tmp/shared`;
    mkdirSync(shared, { mode: 0o777 });
    writeFileSync(`${shared}/from-host`, "hello\n", { mode: 0o666 });
    const flags = ["--volume", `${shared}:/mnt:ro`, "--volume", "named:/data", "--tmpfs", "/scratch:size=1m,mode=700"];
    const script = `cat /mnt/from-host; echo x > /data/kept; touch /mnt/x 2>/dev/null || echo read-only
      touch /x 2>/dev/null || echo too; stat -c %a /scratch; touch /scratch/x`;
    expect(await output(sh(script), [...flags, "--read-only"])).toBe("hello\nread-only\ntoo\n700\n");
    expect(await output(["cat", "/data/kept"], ["--volume", "named:/data"])).toBe("x\n");
    const missing = await run(["true"], ["--volume", "/no/such/source:/mnt"]);
    expect(missing.status).toBe(125);
  });

  test("--device and --device-cgroup-rule", async ({ output }) => {
    expect(await output(sh("stat -c '%F %t:%T' /dev/mine"), ["--device", "/dev/full:/dev/mine"])).toBe(
      "character special file 1:7\n",
    );
  });

  test("build: each command of the file runs in a container", async ({ podman, engine }) => {
    const context = `${engine.home}/tmp/context`;
    mkdirSync(context);
    const lines = [
      `FROM ${IMAGE}`,
      "RUN id -u > /built && mkdir /more",
      "USER 1000",
      "RUN id -u > /tmp/other",
      "CMD cat /built /tmp/other",
    ];
    writeFileSync(`${context}/Containerfile`, `${lines.join("\n")}\n`);
    const runtime = ["--runtime", engine.runtime.path, "--isolation", "oci"];
    success(await podman("build", "--quiet", "--network", "none", ...runtime, "--tag", "localhost/built", context));
    expect(success(await podman("run", "--rm", "--network", "none", "localhost/built")).stdout).toBe("0\n1000\n");
    success(await podman("rmi", "--force", "localhost/built"));
  });
}

function building(test: Test): void {
  test("buildah: a command in a working container, with its exit code, and the image of it", async ({ engine }) => {
    const buildah = (...args: string[]) => engine.buildah(args);
    const id = success(await buildah("from", "--isolation", "oci", IMAGE)).stdout.trim();
    const run = (argv: readonly string[]) =>
      buildah("run", "--isolation", "oci", "--runtime", engine.runtime.path, "--network", "none", id, "--", ...argv);
    expect(success(await run(sh("echo built > /made; id -u; cat /made"))).stdout).toBe("0\nbuilt\n");
    expect((await run(sh("exit 7"))).status).toBe(7);
    success(await buildah("config", "--cmd", "cat /made", id));
    success(await buildah("commit", "--quiet", id, "localhost/by-buildah"));
    success(await buildah("rm", id));
    const ran = await engine.podman(["run", "--rm", "--network", "none", "localhost/by-buildah"]);
    expect(success(ran).stdout).toBe("built\n");
    success(await engine.podman(["rmi", "--force", "localhost/by-buildah"]));
  });
}

function groups(test: Test): void {
  test("a pod: its containers share network, ipc and host name, and end together", async ({ podman, name, exec }) => {
    const pod = name();
    success(await podman("pod", "create", "--network", "none", "--name", pod));
    const [one, two] = [name(), name()];
    for (const id of [one, two]) success(await podman("run", "-d", "--pod", pod, "--name", id, IMAGE, ...sleep));
    const namespaces = sh("for name in net ipc uts pid; do readlink /proc/self/ns/$name; done");
    const [a, b] = [success(await exec(one, namespaces)).stdout, success(await exec(two, namespaces)).stdout];
    expect(a.split("\n").slice(0, 3)).toEqual(b.split("\n").slice(0, 3));
    expect(a.split("\n")[3]).not.toBe(b.split("\n")[3]);
    success(await podman("pod", "stop", "--time", "1", pod));
    expect(success(await podman("pod", "inspect", "--format", "{{.State}}", pod)).stdout).toBe("Exited\n");
    success(await podman("pod", "start", pod));
    expect(success(await podman("pod", "inspect", "--format", "{{.State}}", pod)).stdout).toBe("Running\n");
  });

  test("play kube, and generate kube from what it made", async ({ podman, name, engine }) => {
    const pod = name();
    const file = `${engine.home}/tmp/pod.yaml`;
    const args = JSON.stringify(["sh", "-c", "echo $GREETING; exec sleep 1000"]);
    writeFileSync(
      file,
      `apiVersion: v1
kind: Pod
metadata:
  name: ${pod}
spec:
  containers:
    - name: main
      image: ${IMAGE}
      command: ${args}
      env:
        - name: GREETING
          value: hello
      securityContext:
        runAsUser: 1000
        capabilities:
          drop: [ALL]
`,
    );
    success(await podman("play", "kube", "--network", "none", file));
    const id = `${pod}-main`;
    await until(async () => (await podman("logs", id)).stdout === "hello\n");
    expect(success(await podman("exec", id, "id", "-u")).stdout).toBe("1000\n");
    expect(success(await podman("generate", "kube", pod)).stdout).toContain("value: hello");
    success(await podman("play", "kube", "--down", file));
  });
}
