/** Containers of pods: what they run and as whom, what they see of the machine, and how they are followed and changed. */
import { expect } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { command } from "../../tests/helpers/command.ts";
import { sh, sleep } from "../lib/commands.ts";
import { V2_ONLY } from "../lib/runtimes.ts";
import { until } from "../lib/wait.ts";
import { IMAGE } from "./engine.ts";
import { cri } from "./lanes.ts";

const { test, skip } = cri();

const GRACE = 2;

test("the image from the registry: found, and one that is not there", async ({ call, fails }) => {
  const { images } = await call<{ images: { repo_tags: string[] }[] }>("ImageService/ListImages", {});
  expect(images.flatMap((image) => image.repo_tags)).toContain(IMAGE);
  const missing = { image: { image: "registry.example/nothing:latest" } };
  expect(await fails(call("ImageService/PullImage", missing))).toContain("not found");
});

test("command, arguments, directory, environment, and the image's own", async ({ pod, output }) => {
  const at = await pod();
  const config = { args: ["one two"], working_dir: "/tmp", envs: [{ key: "GREETING", value: "two words" }] };
  expect(await output(at, ["sh", "-c", 'pwd; echo "$GREETING $FROM_IMAGE $0"'], { config })).toBe(
    "/tmp\ntwo words yes one two\n",
  );
  expect(await output(at, [])).toBe("the command of the image\n");
});

test("life: created, running, exited, with its status, its logs and its removal", async ({
  pod,
  created,
  start,
  status,
  ended,
  logged,
  call,
}) => {
  const at = await pod();
  const id = await created(at, sh("echo out; echo err >&2; until test -e /tmp/go; do sleep 0.1; done; exit 42"));
  expect((await status(id)).state).toBe("CONTAINER_CREATED");
  await start(id);
  expect((await status(id)).state).toBe("CONTAINER_RUNNING");
  await call("RuntimeService/ExecSync", { container_id: id, cmd: ["touch", "/tmp/go"] });
  expect(await ended(id)).toMatchObject({ exit_code: 42, reason: "Error" });
  expect([await logged(id), await logged(id, "stderr")]).toEqual(["out\n", "err\n"]);
  await call("RuntimeService/RemoveContainer", { container_id: id });
  const { containers } = await call<{ containers: unknown[] }>("RuntimeService/ListContainers", {});
  expect(containers).toEqual([]);
});

test("stopped in time, and killed when that takes too long", async ({ pod, started, exec, ended, call }) => {
  const at = await pod();
  const trap = (action: string) => sh(`trap '${action}' TERM; touch /ready; while :; do sleep 0.1; done`);
  for (const [action, code] of [
    ["exit 5", 5],
    [":", 137],
  ] as const) {
    const id = await started(at, trap(action));
    await until(async () => (await exec(id, ["test", "-e", "/ready"])).status === 0);
    await call("RuntimeService/StopContainer", { container_id: id, timeout: GRACE });
    expect((await ended(id)).exit_code).toBe(code);
  }
});

test("what cannot be started", async ({ pod, started, fails, note }) => {
  const at = await pod();
  const reasons = [
    await fails(started(at, ["no-such-program"])),
    await fails(started(at, ["/bin/not-executable"])),
    await fails(started(at, ["true"], { config: { working_dir: "/etc/passwd" } })),
  ];
  expect(reasons[0]).toContain('exec: "no-such-program": executable file not found in $PATH');
  expect(reasons[1]).toContain('exec: "/bin/not-executable": permission denied');
  expect(reasons[2]).toContain("not a directory");
  note(
    "codes",
    reasons.map((reason) => /code = \w+/.exec(reason)?.[0]),
  );
});

test("exec: output, status, standard error, and a time limit", async ({ pod, started, exec, fails }) => {
  const id = await started(await pod(), sleep);
  expect(await exec(id, sh("echo in; echo err >&2; exit 5"))).toEqual({ status: 5, stdout: "in\n", stderr: "err\n" });
  expect(await fails(exec(id, sleep, 1))).toContain("timeout 1s exceeded");
  expect(await fails(exec(id, ["no-such-program"]))).toContain("executable file not found in $PATH");
  expect((await exec(id, sh("ps | grep -c '[s]leep 1000'"))).stdout).toBe("1\n");
});

test("exec with streams: what is typed, both outputs, and the status", async ({ pod, started, stream }) => {
  const id = await started(await pod(), sleep);
  const request = { container_id: id, cmd: sh("echo ready; read line; echo got $line; echo err >&2; exit 3") };
  const { stdout, stderr, status } = await stream(
    "Exec",
    { ...request, stdin: true, stdout: true, stderr: true },
    { answers: [["ready\n", "typed\n"]] },
  );
  expect([stdout, stderr]).toEqual(["ready\ngot typed\n", "err\n"]);
  expect(status.details?.causes?.[0]?.message).toBe("3");
});

test("exec with a terminal, and its size", async ({ pod, started, stream }) => {
  const id = await started(await pod(), sleep);
  const script =
    'tty; until [ "$(stty size 2>/dev/null)" = "31 91" ]; do sleep 0.05; done; echo sized; read line; echo got $line';
  const { stdout, status } = await stream(
    "Exec",
    { container_id: id, cmd: sh(script), stdin: true, stdout: true, tty: true },
    { size: { Width: 91, Height: 31 }, answers: [["sized", "typed\r"]] },
  );
  expect(stdout.replaceAll("\r", "")).toMatch(/^\/dev\/pts\/\d+\nsized\ntyped\ngot typed\n$/);
  expect(status.status).toBe("Success");
});

test("attach: what a container that runs writes and reads", async ({ pod, started, stream, ended }) => {
  const config = { stdin: true, log_path: "attached.log" };
  // At its end containerd at times loses what was written last.
  const script =
    "while ! test -e /tmp/stop; do echo waiting; sleep 0.2; read -t 1 line && echo got $line && sleep 2 && exit 4; done";
  const id = await started(await pod(), sh(script), { config });
  const { stdout } = await stream(
    "Attach",
    { container_id: id, stdin: true, stdout: true, stderr: true },
    { answers: [["waiting", "typed\n"]], until: "got typed" },
  );
  expect(stdout).toContain("got typed\n");
  expect((await ended(id)).exit_code).toBe(4);
});

test("attach to a terminal", async ({ pod, started, stream, ended }) => {
  const script = "until read -t 1 line; do echo waiting; done; tty; echo got $line; exit 6";
  const id = await started(await pod(), sh(script), { config: { stdin: true, tty: true } });
  const { stdout } = await stream(
    "Attach",
    { container_id: id, stdin: true, stdout: true, tty: true },
    { answers: [["waiting", "typed\r"]], until: "got typed" },
  );
  expect(stdout.replaceAll("\r", "")).toContain("/dev/pts/0\ngot typed");
  expect((await ended(id)).exit_code).toBe(6);
});

test("users and groups, by number and by name", async ({ pod, output }) => {
  const at = await pod();
  const who = sh("id -u; id -g; id -G");
  const security = { run_as_user: { value: 1000 }, run_as_group: { value: 2000 }, supplemental_groups: [3000, 4000] };
  expect(await output(at, who, { security })).toBe("1000\n2000\n2000 3000 4000\n");
  expect(await output(at, who, { security: { run_as_username: "someone" } })).toBe("1000\n1000\n1000\n");
});

test("capabilities added and dropped", async ({ pod, output, note }) => {
  const at = await pod();
  const sets = ["grep", "^Cap", "/proc/self/status"];
  note("default", await output(at, sets));
  const capabilities = { add_capabilities: ["NET_ADMIN", "SYS_PTRACE"], drop_capabilities: ["CHOWN", "CAP_MKNOD"] };
  note("changed", await output(at, sets, { security: { capabilities } }));
  note("none", await output(at, sets, { security: { capabilities: { drop_capabilities: ["ALL"] } } }));
  expect(await output(at, sets, { security: { capabilities: { drop_capabilities: ["ALL"] } } })).toContain(
    "CapEff:\t0000000000000000",
  );
  note("of a user", await output(at, sets, { security: { run_as_user: { value: 1000 } } }));
});

test("seccomp: the runtime's profile, one of one's own, and none", async ({ pod, output, run, engine }) => {
  const at = await pod();
  const mode = ["grep", "-E", "^Seccomp:", "/proc/self/status"];
  const profile = (seccomp: object) => ({ security: { seccomp } });
  expect(await output(at, mode, profile({ profile_type: "RuntimeDefault" }))).toBe("Seccomp:\t2\n");
  expect(await output(at, mode, profile({ profile_type: "Unconfined" }))).toBe("Seccomp:\t0\n");
  const file = `${engine.home}/seccomp/no-mkdir.json`;
  const rule = { names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 95 };
  writeFileSync(file, JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [rule] }));
  const own = profile({ profile_type: "Localhost", localhost_ref: file });
  expect((await run(at, ["mkdir", "/tmp/x"], own)).stderr).toContain("Operation not supported");
});

test("no new privileges", async ({ pod, output }) => {
  const at = await pod();
  const flag = ["grep", "NoNewPrivs", "/proc/self/status"];
  expect(await output(at, flag, { security: { no_new_privs: true } })).toBe("NoNewPrivs:\t1\n");
  expect(await output(at, flag)).toBe("NoNewPrivs:\t0\n");
});

test("a read-only root, and one that is not", async ({ pod, run, output }) => {
  const at = await pod();
  const { stderr } = await run(at, ["touch", "/file"], { security: { readonly_rootfs: true } });
  expect(stderr).toContain("Read-only file system");
  expect(await output(at, sh("touch /file && echo written"))).toBe("written\n");
});

test("masked and read-only paths: what is usual, others, and none", async ({ pod, output }) => {
  const at = await pod();
  const look = sh(
    "wc -c </proc/keys; ls /sys/firmware | wc -l; echo 1 2>/dev/null >/proc/sys/vm/drop_caches || echo read-only",
  );
  const usual = { masked_paths: ["/proc/keys", "/sys/firmware"], readonly_paths: ["/proc/sys"] };
  expect(await output(at, look, { security: usual })).toBe("0\n0\nread-only\n");
  const others = { masked_paths: ["/etc/passwd"], readonly_paths: ["/tmp"] };
  expect(
    await output(at, sh("wc -c </etc/passwd; touch /tmp/x 2>/dev/null || echo read-only"), { security: others }),
  ).toBe("0\nread-only\n");
});

test("privileged", async ({ pod, output, note }) => {
  const at = await pod({
    security: { namespace_options: { network: "NODE", pid: "CONTAINER", ipc: "POD" }, privileged: true },
  });
  const look = sh(
    "grep -E '^(CapEff|Seccomp:)' /proc/self/status; mount -t tmpfs none /mnt && echo mounts; ls /dev | sort",
  );
  const seen = await output(at, look, { security: { privileged: true } });
  note("privileged", seen);
  expect(seen).toContain("Seccomp:\t0\nmounts\n");
  expect(seen).toContain("\nfuse\n");
});

test("mounts: writable, read-only, of a file, and one that is missing", async ({
  pod,
  output,
  run,
  engine,
  fails,
  started,
}) => {
  const at = await pod();
  const shared = `${engine.home}/shared-${Bun.nanoseconds()}`;
  mkdirSync(shared);
  writeFileSync(`${shared}/from-node`, "hello\n");
  const mount = (container_path: string, host_path: string, readonly = false) => ({
    container_path,
    host_path,
    readonly,
  });
  const config = {
    mounts: [mount("/mnt", shared), mount("/ro", shared, true), mount("/tmp/f", `${shared}/from-node`)],
  };
  const look = sh("cat /mnt/from-node /tmp/f; echo world >/mnt/from-container; touch /ro/x || cat /ro/from-container");
  const { stdout, stderr } = await run(at, look, { config });
  expect(stdout).toBe("hello\nhello\nworld\n");
  expect(stderr).toContain("Read-only file system");
  expect(readFileSync(`${shared}/from-container`, "utf8")).toBe("world\n");
  expect(existsSync(`${shared}/x`)).toBe(false);
  // The CRI makes a directory of the node where there is none; below a file it cannot.
  const missing = { mounts: [mount("/mnt", `${shared}/from-node/below`)] };
  expect(await fails(started(at, ["true"], { config: missing }))).toContain("not a directory");
  expect(await output(at, ["ls", "/mnt"])).toBe("");
});

test("mounts on the node that reach the container, and the other way round", async ({ pod, started, exec, engine }) => {
  const shared = `${engine.home}/propagated-${Bun.nanoseconds()}`;
  mkdirSync(`${shared}/of-node`, { recursive: true });
  mkdirSync(`${shared}/of-container`);
  const inNode = (...argv: readonly string[]) => command(["nsenter", `--mount=/proc/${engine.pid}/ns/mnt`, ...argv]);
  expect(inNode("mount", "--bind", shared, shared).status).toBe(0);
  try {
    expect(inNode("mount", "--make-rshared", shared).status).toBe(0);
    const at = await pod({
      security: { namespace_options: { network: "NODE", pid: "CONTAINER", ipc: "POD" }, privileged: true },
    });
    const ids: string[] = [];
    for (const propagation of ["PRIVATE", "HOST_TO_CONTAINER", "BIDIRECTIONAL"]) {
      const mount = { container_path: "/mnt", host_path: shared, propagation: `PROPAGATION_${propagation}` };
      ids.push(await started(at, sleep, { security: { privileged: true }, config: { mounts: [mount] } }));
    }
    const seen = async (): Promise<number[]> => {
      const counted = await Promise.all(ids.map((id) => exec(id, ["grep", "-c", "^of-", "/proc/mounts"])));
      return counted.map(({ stdout }) => Number(stdout));
    };
    inNode("mount", "-t", "tmpfs", "of-node", `${shared}/of-node`);
    expect(await seen()).toEqual([0, 1, 1]);
    await exec(ids[2]!, ["mount", "-t", "tmpfs", "of-container", "/mnt/of-container"]);
    expect(await seen()).toEqual([0, 2, 2]);
    expect(inNode("grep", "-c", `of-.* ${shared}/`, "/proc/mounts").stdout).toBe("2\n");
  } finally {
    inNode("umount", "-R", "-l", shared);
  }
});

skip("recursive read-only mounts", "containerd 1.6 of Debian 12 does not know them");

test("devices", async ({ pod, output, run }) => {
  const at = await pod();
  const device = { container_path: "/dev/mine", host_path: "/dev/fuse", permissions: "rw" };
  expect(await output(at, ["stat", "-c", "%F %t %T", "/dev/mine"], { config: { devices: [device] } })).toBe(
    "character special file a e5\n",
  );
  const made = await run(at, sh("mknod /tmp/fuse c 10 229 && cat /tmp/fuse"));
  expect(made.stderr).toContain("Operation not permitted");
});

if (V2_ONLY) skip("limits, their change, and statistics", "cgroup v2 is without controllers on this machine");
else {
  const MB = 1024 * 1024;
  const resources = { memory_limit_in_bytes: 64 * MB, cpu_quota: 20_000, cpu_period: 100_000, cpu_shares: 512 };
  const v1 = (engine: { readonly mark: string }, id: string, file: string): string =>
    readFileSync(`/sys/fs/cgroup/${file.split(".")[0]}/${engine.mark}/${id}/${file}`, "utf8").trim();

  test("limits, and their change", async ({ pod, started, call, engine }) => {
    const id = await started(await pod(), sleep, { resources });
    const limits = () =>
      ["memory.limit_in_bytes", "cpu.cfs_quota_us", "cpu.shares"].map((file) => v1(engine, id, file));
    expect(limits()).toEqual([String(64 * MB), "20000", "512"]);
    const linux = { ...resources, memory_limit_in_bytes: 96 * MB, cpu_quota: 50_000 };
    await call("RuntimeService/UpdateContainerResources", { container_id: id, linux });
    expect(limits()).toEqual([String(96 * MB), "50000", "512"]);
  });

  test("a container that needs more memory than it may have", async ({ pod, started, ended }) => {
    const hungry = sh("x=0123456789abcdef; while :; do x=$x$x; done");
    const id = await started(await pod(), hungry, { resources: { memory_limit_in_bytes: 16 * MB } });
    expect(await ended(id)).toMatchObject({ exit_code: 137, reason: "OOMKilled" });
  });

  test("statistics", async ({ pod, started, call }) => {
    const id = await started(await pod(), sleep);
    interface Stats {
      cpu: { usage_core_nano_seconds: { value: string } };
      memory: { working_set_bytes: { value: string } };
    }
    const { stats } = await call<{ stats: Stats }>("RuntimeService/ContainerStats", { container_id: id });
    expect(Number(stats.cpu.usage_core_nano_seconds.value)).toBeGreaterThan(0);
    expect(Number(stats.memory.working_set_bytes.value)).toBeGreaterThan(0);
  });
}
