import { expect } from "bun:test";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { command } from "./helpers/command.ts";
import { unshare, waiting } from "./helpers/config.ts";
import { mustFail, mustSucceed, RUNTIME, suite } from "./helpers/suite.ts";
import { slow } from "./helpers/time.ts";

const {
  test,
  bundle,
  create,
  start,
  state,
  kill,
  remove,
  run,
  started,
  status,
  untilStatus,
  runtime,
  runtimeBeside,
  exec,
  root,
  home,
} = suite("lifecycle");

interface State {
  readonly ociVersion: string;
  readonly id: string;
  readonly status: string;
  readonly pid: number;
  readonly bundle: string;
  readonly rootfs: string;
  readonly created: string;
  readonly annotations?: Record<string, string>;
}

const stateOf = (b: Parameters<typeof state>[0]): State => JSON.parse(mustSucceed(state(b)).stdout) as State;

test("created, running, stopped, gone", () => {
  const b = bundle(waiting);
  mustSucceed(create(b));
  expect(status(b)).toBe("created");
  mustSucceed(start(b));
  expect(status(b)).toBe("running");
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  mustSucceed(remove(b));
  mustFail(state(b), "does not exist");
});

test("nothing of the program runs before start", () => {
  const b = bundle((config) => (config.process.args = ["/bin/touch", "/ran"]));
  mustSucceed(create(b));
  Bun.sleepSync(100);
  expect(existsSync(`${b.rootfs}/ran`)).toBe(false);
  mustSucceed(start(b));
  untilStatus(b, "stopped");
  expect(existsSync(`${b.rootfs}/ran`)).toBe(true);
});

test("a config.json changed after create changes nothing", () => {
  const b = bundle((config) => (config.process.args = ["/bin/touch", "/first"]));
  mustSucceed(create(b));
  b.config.process.args = ["/bin/touch", "/second"];
  writeFileSync(`${b.dir}/config.json`, JSON.stringify(b.config));
  mustSucceed(start(b));
  untilStatus(b, "stopped");
  expect([existsSync(`${b.rootfs}/first`), existsSync(`${b.rootfs}/second`)]).toEqual([true, false]);
});

test("exec after config.json has changed, or gone, uses the config of create", () => {
  const b = started((config) => config.process.env.push("A=of create"));
  writeFileSync(`${b.dir}/config.json`, "{}");
  expect(mustSucceed(exec(b, ["/bin/sh", "-c", "echo $A"])).stdout).toBe("of create\n");
});

test("state: the fields", () => {
  const b = bundle((config) => {
    waiting(config);
    config.annotations = { "an.annotation": "its value", other: "" };
  });
  mustSucceed(create(b));
  const result = mustSucceed(state(b));
  expect(result.stderr).toBe("");
  const seen = JSON.parse(result.stdout) as State;
  expect(seen).toMatchObject({ id: b.id, status: "created", bundle: b.dir, rootfs: b.rootfs });
  expect(seen.annotations).toEqual({ "an.annotation": "its value", other: "" });
  expect(seen.ociVersion).toMatch(/^1\.\d+\.\d+/);
  expect(seen.created).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
  expect(Math.abs(Date.parse(seen.created) - Date.now())).toBeLessThan(slow(20_000));
  expect(readFileSync(`/proc/${seen.pid}/cgroup`, "utf8")).toContain(b.id);
});

test("state of a stopped container: pid 0, or none", () => {
  const b = started();
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  expect(stateOf(b).pid ?? 0).toBe(0);
});

test("the process of the state is the program", () => {
  const b = started();
  expect(readFileSync(`/proc/${stateOf(b).pid}/cmdline`, "utf8")).toBe("/bin/sleep\u00001000\u0000");
});

test("pid file: digits, nothing else, of the container's process", () => {
  const b = bundle(waiting);
  const file = `${b.dir}/pid`;
  mustSucceed(create(b, { flags: ["--pid-file", file] }));
  expect(readFileSync(file, "utf8")).toMatch(/^[1-9]\d*$/);
  expect(Number(readFileSync(file, "utf8"))).toBe(stateOf(b).pid);
});

test("pid file: a relative name is relative to the caller", () => {
  const b = bundle(waiting);
  mustSucceed(create(b, { flags: ["--pid-file", "the-pid"], cwd: b.dir }));
  expect(readFileSync(`${b.dir}/the-pid`, "utf8")).toMatch(/^[1-9]\d*$/);
});

test("pid file: one that is there is replaced", () => {
  const b = bundle(waiting);
  writeFileSync(`${b.dir}/pid`, "something old and long\n");
  mustSucceed(create(b, { flags: ["--pid-file", `${b.dir}/pid`] }));
  expect(readFileSync(`${b.dir}/pid`, "utf8")).toMatch(/^[1-9]\d*$/);
});

test("pid file: where it cannot be written, create fails and leaves nothing", () => {
  const b = bundle(waiting);
  mustFail(create(b, { flags: ["--pid-file", `${b.dir}/no/such/directory/pid`] }), "no such file or directory");
  expect(existsSync(`${root}/${b.id}`)).toBe(false);
});

test("pid file: none when create fails", () => {
  const b = bundle((config) => (config.process.args = ["/no/such/program"]));
  expect(create(b, { flags: ["--pid-file", `${b.dir}/pid`] }).status).toBe(1);
  expect(existsSync(`${b.dir}/pid`)).toBe(false);
});

test("the bundle is the current directory where none is given", () => {
  const b = bundle(waiting);
  mustSucceed(runtime(["create", b.id], { cwd: b.dir }));
  expect(stateOf(b).bundle).toBe(b.dir);
});

test("a bundle given by a relative path", () => {
  const b = bundle(waiting);
  mustSucceed(runtime(["create", "-b", b.id, b.id], { cwd: home }));
  expect(stateOf(b).bundle).toBe(b.dir);
});

test("create, with an id that is there", () => {
  const b = started();
  mustFail(create(b), "container with given ID already exists");
  expect(status(b)).toBe("running");
});

test("create, with an id that has stopped", () => {
  const b = started();
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  mustFail(create(b), "container with given ID already exists");
  expect(status(b)).toBe("stopped");
});

test("the same id again, after delete", () => {
  const b = bundle();
  mustSucceed(run(b));
  mustSucceed(run(b));
});

test("start twice", () => {
  const b = started();
  mustFail(start(b), "cannot start an already running container");
  expect(status(b)).toBe("running");
});

test("start of one that has stopped", () => {
  const b = started();
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  mustFail(start(b), "cannot start a container that has stopped");
});

for (const name of ["start", "state", "kill", "delete"]) {
  test(`${name} of an unknown id`, () => {
    mustFail(runtime([name, "no-such-container"]), "does not exist");
  });
}

test("exec in an unknown id", () => {
  const result = runtime(["exec", "no-such-container", "/bin/true"]);
  expect(result.stderr).toContain("does not exist");
  expect([1, 255]).toContain(result.status);
});

test("delete of one that runs is refused, and it goes on", () => {
  const b = started();
  mustFail(remove(b), `cannot delete container ${b.id} that is not stopped: running`);
  expect(status(b)).toBe("running");
});

test("delete of one that is only created ends it", () => {
  const b = bundle(waiting);
  mustSucceed(create(b));
  const pid = stateOf(b).pid;
  mustSucceed(remove(b));
  expect(existsSync(`${root}/${b.id}`)).toBe(false);
  expect(existsSync(`/proc/${pid}`) && !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))).toBe(false);
});

test("delete --force of one that runs", () => {
  const b = started();
  mustSucceed(remove(b, { flags: ["--force"] }));
  mustFail(state(b), "does not exist");
});

test("delete --force of an unknown id succeeds, silently", () => {
  const result = mustSucceed(runtime(["delete", "--force", "no-such-container"]));
  expect([result.stdout, result.stderr]).toEqual(["", ""]);
});

test("delete -f, and the flag's other spellings", () => {
  for (const flag of ["-f", "--force=true", "-force"]) mustSucceed(runtime(["delete", flag, "no-such-container"]));
});

test("delete --force ends every process of a container without its own pid namespace", () => {
  const b = started((config) => {
    config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== "pid");
    config.process.args = ["/bin/sh", "-c", "sleep 1000 & sleep 1000 & exec sleep 1000"];
  });
  mustSucceed(remove(b, { flags: ["--force"] }));
  expect(existsSync(`${root}/${b.id}`)).toBe(false);
});

test("delete when the bundle has gone", () => {
  const b = started();
  mustSucceed(command(["rm", "-rf", `${b.dir}/rootfs`, `${b.dir}/config.json`]));
  mustSucceed(remove(b, { flags: ["--force"] }));
});

test("what create and start say: nothing", () => {
  const b = bundle(waiting);
  for (const result of [create(b), start(b), kill(b, "KILL")]) {
    expect([result.status, result.stdout, result.stderr]).toEqual([0, "", ""]);
  }
  untilStatus(b, "stopped");
  const last = remove(b);
  expect([last.status, last.stdout, last.stderr]).toEqual([0, "", ""]);
});

/** exit status of the program → of run. */
for (const code of [0, 1, 2, 125, 126, 127, 128, 137, 255]) {
  test(`run returns ${code}`, () => {
    expect(run(bundle((config) => (config.process.args = ["/bin/sh", "-c", `exit ${code}`]))).status).toBe(code);
  });
}

for (const [name, number] of [
  ["KILL", 9],
  ["TERM", 15],
  ["SEGV", 11],
] as const) {
  test(`run returns 128 + ${number} when SIG${name} ends the program`, async () => {
    // The first process of a pid namespace does not get its own signals: a shell without one kills itself.
    const b = bundle((config) => {
      config.linux.namespaces = config.linux.namespaces.filter(({ type }) => type !== "pid");
      config.process.args = ["/bin/sh", "-c", `kill -${name} $$`];
    });
    expect(run(b).status).toBe(128 + number);
  });
}

test("run --detach returns at once, and the container is there", () => {
  const b = bundle(waiting);
  mustSucceed(run(b, { flags: ["--detach", "--pid-file", `${b.dir}/pid`] }));
  expect(status(b)).toBe("running");
  expect(Number(readFileSync(`${b.dir}/pid`, "utf8"))).toBe(stateOf(b).pid);
});

test("run deletes the container when it has ended", () => {
  const b = bundle();
  mustSucceed(run(b));
  mustFail(state(b), "does not exist");
});

test("run --keep does not", () => {
  const b = bundle();
  mustSucceed(run(b, { flags: ["--keep"] }));
  expect(status(b)).toBe("stopped");
});

for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"] as const) {
  test(`run passes ${signal} on to the program`, async () => {
    const b = bundle((config) => {
      const trap = `trap 'echo got; exit 7' ${signal.slice(3)}; echo ready > /ready; while :; do sleep 0.02; done`;
      config.process.args = ["/bin/sh", "-c", trap];
    });
    const running = runtimeBeside(["run", "--bundle", b.dir, b.id]);
    for (let round = 0; round < 200 && !existsSync(`${b.rootfs}/ready`); round++) await Bun.sleep(10);
    running.kill(signal);
    const result = await running.finish();
    expect([result.status, result.stdout]).toEqual([7, "got\n"]);
  });
}

test("orphans in a container that is gone are gone", () => {
  const b = bundle((config) => (config.process.args = ["/bin/sh", "-c", "sleep 1000 & sleep 1000 & exit 0"]));
  mustSucceed(run(b));
});

test("the state directory is the owner's only", () => {
  const b = started();
  expect(statSync(`${root}/${b.id}`).mode & 0o022).toBe(0);
});

test("--root may not be /", () => {
  mustFail(command([RUNTIME, "--root", "/", "list"]), /root/);
});

test("a state root that does not exist is made, several levels deep", () => {
  const b = bundle(waiting);
  const deep = `${b.dir}/a/b/state`;
  const base = [RUNTIME, "--root", deep];
  mustSucceed(command([...base, "create", "--bundle", b.dir, b.id]));
  expect(existsSync(`${deep}/${b.id}`)).toBe(true);
  mustSucceed(command([...base, "delete", "--force", b.id]));
});

test("two state roots do not know each other's containers", () => {
  const b = started();
  mkdirSync(`${b.dir}/other`);
  mustFail(command([RUNTIME, "--root", `${b.dir}/other`, "state", b.id]), "does not exist");
});

test("a container in a new cgroup namespace and one without live side by side", () => {
  const first = started((config) => unshare(config, "cgroup"));
  const second = started();
  expect([status(first), status(second)]).toEqual(["running", "running"]);
});

test("delete --regex: the failure of one does not spare the others, and is an error", () => {
  const [stopped, runs] = [bundle(waiting), started()];
  mustSucceed(create(stopped));
  const result = mustFail(command([RUNTIME, "--root", root, "delete", "--regex", "x$"]), "delete");
  expect(result.stderr).toMatch(new RegExp(`${runs.id}.*not stopped[\\s\\S]*^cannot delete 1 of 2 containers`, "m"));
  expect([status(stopped), status(runs)]).toEqual([undefined, "running"]);
});
