import { expect } from "bun:test";
import { existsSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import type { Config, Hook, HookKind } from "./helpers/config.ts";
import { type Bundle, type Change, mustFail, mustSucceed, suite } from "./helpers/suite.ts";
import { slow } from "./helpers/time.ts";

const { test, bundle, create, start, run, remove, kill, status, untilStatus, refusal } = suite("hooks");

const KINDS: readonly HookKind[] = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
];

/** A hook that runs a script; the bundle is at the same path outside and inside, so that every hook can write there. */
const script = (text: string, more: Partial<Hook> = {}): Hook => ({
  path: "/bin/sh",
  args: ["sh", "-c", text],
  ...more,
});

type Where = Parameters<Change>[1];

const hooked =
  (make: (at: Where) => Config["hooks"]): Change =>
  (config, at) => {
    mkdirSync(`${at.dir}/log`);
    config.mounts.push({ destination: `${at.dir}/log`, type: "bind", source: `${at.dir}/log`, options: ["bind"] });
    config.hooks = make(at)!;
    config.process.args = ["/bin/sleep", "1000"];
  };

const every = (make: (kind: HookKind) => Hook[]): Config["hooks"] =>
  Object.fromEntries(KINDS.map((kind) => [kind, make(kind)]));

const logged = (b: Bundle, name = "log"): string => readFileSync(`${b.dir}/log/${name}`, "utf8");

/** create, start, kill, delete. */
function live(b: Bundle): void {
  mustSucceed(create(b));
  mustSucceed(start(b));
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  mustSucceed(remove(b));
}

test("all six kinds, in order, twice each", () => {
  const b = bundle(
    hooked((at) => every((kind) => [1, 2].map((n) => script(`echo ${kind} ${n} >> ${at.dir}/log/log`)))),
  );
  mustSucceed(create(b));
  expect(logged(b).trim().split("\n")).toEqual([
    "prestart 1",
    "prestart 2",
    "createRuntime 1",
    "createRuntime 2",
    "createContainer 1",
    "createContainer 2",
  ]);
  mustSucceed(start(b));
  expect(logged(b).trim().split("\n").slice(6)).toEqual([
    "startContainer 1",
    "startContainer 2",
    "poststart 1",
    "poststart 2",
  ]);
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  mustSucceed(remove(b));
  expect(logged(b).trim().split("\n").slice(10)).toEqual(["poststop 1", "poststop 2"]);
});

const STATUS = new Map<HookKind, string>([
  ["prestart", "created"],
  ["createRuntime", "creating"],
  ["createContainer", "creating"],
  ["startContainer", "created"],
  ["poststart", "running"],
  ["poststop", "stopped"],
]);

for (const kind of KINDS) {
  test(`${kind}: the state on standard input`, () => {
    const b = bundle((config, at) => {
      hooked(() => ({ [kind]: [script(`cat > ${at.dir}/log/state`)] }))(config, at);
      config.annotations = { "a.key": "a value", __proto__x: "y" };
    });
    live(b);
    const state = JSON.parse(logged(b, "state")) as Record<string, unknown>;
    expect(state.id).toBe(b.id);
    expect(state.bundle).toBe(b.dir);
    expect(state.status).toBe(STATUS.get(kind)!);
    expect(state.annotations).toMatchObject({ "a.key": "a value" });
    expect(state.ociVersion).toMatch(/^1\.\d+\.\d+/);
    if (kind === "createRuntime" || kind === "poststart") expect(state.pid).toBeGreaterThan(1);
  });

  test(`${kind}: its own environment and arguments only`, () => {
    const b = bundle(
      hooked((at) => {
        const text = `tr '\\0' '\\n' < /proc/self/environ > ${at.dir}/log/env; echo "$0 $1" > ${at.dir}/log/args`;
        const env = ["A=1", "B=two words", "PATH=/bin:/usr/bin"];
        return { [kind]: [script("", { args: ["sh", "-c", text, "zero", "one two"], env })] };
      }),
    );
    live(b);
    const found = logged(b, "env")
      .trim()
      .split("\n")
      .filter((line) => !/^(OLD)?PWD=|^SHLVL=/.test(line));
    expect(found.sort()).toEqual(["A=1", "B=two words", "PATH=/bin:/usr/bin"]);
    expect(logged(b, "args")).toBe("zero one two\n");
  });
}

test("createRuntime and poststart get the process id that the host sees", () => {
  const b = bundle(
    hooked((at) => ({
      createRuntime: [script(`cat > ${at.dir}/log/first`)],
      poststart: [
        script(
          `cat > ${at.dir}/log/second; p=$(sed 's/.*"pid": *\\([0-9]*\\).*/\\1/' ${at.dir}/log/second); cat /proc/$p/comm > ${at.dir}/log/comm`,
        ),
      ],
    })),
  );
  live(b);
  const pid = (name: string): number => (JSON.parse(logged(b, name)) as { pid: number }).pid;
  expect(pid("first")).toBe(pid("second"));
});

test("poststart runs when the program has been executed", () => {
  const b = bundle(
    hooked((at) => ({
      poststart: [
        script(
          `cat > ${at.dir}/log/s; p=$(tr -d ' \\n' < ${at.dir}/log/s | sed 's/.*"pid":\\([0-9]*\\).*/\\1/'); tr '\\0' ' ' < /proc/$p/cmdline > ${at.dir}/log/cmdline`,
        ),
      ],
    })),
  );
  live(b);
  expect(logged(b, "cmdline")).toBe("/bin/sleep 1000 ");
});

test("createRuntime runs in the caller's namespaces", () => {
  const b = bundle(
    hooked((at) => ({ createRuntime: [script(`readlink /proc/self/ns/mnt /proc/self/ns/uts > ${at.dir}/log/ns`)] })),
  );
  live(b);
  expect(logged(b, "ns").trim().split("\n")).toEqual(
    ["mnt", "uts"].map((name) => readlinkSync(`/proc/self/ns/${name}`)),
  );
});

test("createRuntime runs in the bundle, with the caller's limit of descriptors", () => {
  const b = bundle(
    hooked((at) => ({ createRuntime: [script(`pwd > ${at.dir}/log/where; ulimit -Sn >> ${at.dir}/log/where`)] })),
  );
  mustSucceed(create(b, { through: ["sh", "-c", 'ulimit -Sn 1234; exec "$@"', "sh"] }));
  mustSucceed(remove(b, { flags: ["--force"] }));
  expect(logged(b, "where")).toBe(`${b.dir}\n1234\n`);
});

test("createContainer runs in the container's namespaces, before its root is in place", () => {
  const b = bundle(
    hooked((at) => ({
      createContainer: [
        script(
          `readlink /proc/self/ns/uts > ${at.dir}/log/ns; test -e ${at.dir}/config.json && echo outside >> ${at.dir}/log/ns`,
        ),
      ],
    })),
  );
  live(b);
  const [uts, where] = logged(b, "ns").trim().split("\n");
  expect(uts).not.toBe(readlinkSync("/proc/self/ns/uts"));
  expect(where).toBe("outside");
});

test("startContainer runs inside", () => {
  const b = bundle(
    hooked((at) => ({
      startContainer: [
        script(
          `hostname > ${at.dir}/log/in; ls / | head -n 1 >> ${at.dir}/log/in; test -e ${at.dir}/config.json || echo inside >> ${at.dir}/log/in`,
        ),
      ],
    })),
  );
  live(b);
  expect(logged(b, "in").trim().split("\n")).toEqual(["container", "bin", "inside"]);
});

for (const kind of ["prestart", "createRuntime", "createContainer"] as const) {
  test(`${kind}: a failure fails create, with status and output in the error`, () => {
    const b = bundle(
      hooked((at) => ({
        [kind]: [script("echo to output; echo to error >&2; exit 3")],
        poststop: [script(`echo ran >> ${at.dir}/log/log`)],
      })),
    );
    const result = create(b);
    mustFail(result, /hook/);
    mustFail(result, "exit status 3");
    mustFail(result, "to error");
    mustFail(result, "to output");
    expect(status(b)).toBeUndefined();
  });

  test(`${kind}: after a failure the next one does not run`, () => {
    const b = bundle(hooked((at) => ({ [kind]: [script("exit 1"), script(`echo ran >> ${at.dir}/log/log`)] })));
    mustFail(create(b), /hook/);
    expect(existsSync(`${b.dir}/log/log`)).toBe(false);
  });
}

test("startContainer: a failure fails start, and the program never runs", () => {
  const b = bundle((config, at) => {
    hooked(() => ({ startContainer: [script("echo to error >&2; exit 3")] }))(config, at);
    config.process.args = ["/bin/sh", "-c", `echo ran > ${at.dir}/log/log`];
  });
  mustSucceed(create(b));
  const result = start(b);
  mustFail(result, /hook/);
  mustFail(result, "exit status 3");
  expect(existsSync(`${b.dir}/log/log`)).toBe(false);
});

test("poststart: a failure fails start and stops the container", () => {
  const b = bundle(hooked(() => ({ poststart: [script("echo to error >&2; exit 3")] })));
  mustSucceed(create(b));
  const result = start(b);
  mustFail(result, /hook/);
  mustFail(result, "exit status 3");
  expect([undefined, "stopped"]).toContain(status(b));
});

test("poststop: a failure is a warning, and the next one runs", () => {
  const b = bundle(hooked((at) => ({ poststop: [script("exit 3"), script(`echo ran > ${at.dir}/log/log`)] })));
  mustSucceed(create(b));
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  const result = mustSucceed(remove(b));
  expect(result.stderr).toMatch(/warn/i);
  expect(result.stderr).toContain("exit status 3");
  expect(logged(b)).toBe("ran\n");
});

test("a hook that is killed: the signal in the error", () => {
  const b = bundle(hooked(() => ({ createRuntime: [script("kill -9 $$")] })));
  mustFail(create(b), /signal:? (killed|9)|SIGKILL/);
});

for (const kind of ["createRuntime", "createContainer"] as const) {
  test(`${kind}: a hook that takes longer than its timeout is killed`, () => {
    const b = bundle(hooked(() => ({ [kind]: [script("exec sleep 1000", { timeout: 1 })] })));
    const before = Date.now();
    mustFail(create(b), /hook ran past specified timeout of/);
    expect(Date.now() - before).toBeLessThan(slow(4000));
    expect(Date.now() - before).toBeGreaterThan(900);
  });
}

test("startContainer: a hook that takes longer than its timeout is killed", () => {
  const b = bundle(hooked(() => ({ startContainer: [script("exec sleep 1000", { timeout: 1 })] })));
  mustSucceed(create(b));
  mustFail(start(b), /hook ran past specified timeout of/);
});

test("a hook within its timeout is left alone", () => {
  const b = bundle(
    hooked((at) => ({ createRuntime: [script(`sleep 0.2; echo ran > ${at.dir}/log/log`, { timeout: 5 })] })),
  );
  live(b);
  expect(logged(b)).toBe("ran\n");
});

test("a hook that never reads its standard input", () => {
  const b = bundle((config, at) => {
    hooked(() => ({ createRuntime: [script("exit 0")] }))(config, at);
    config.annotations = { long: "x".repeat(200_000) };
  });
  live(b);
});

test("a hook that writes much", () => {
  const b = bundle(
    hooked(() => ({
      createRuntime: [script("head -c 300000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2")],
    })),
  );
  live(b);
});

test("a hook that leaves a process in the background does not hold create up", () => {
  const b = bundle(
    hooked(() => ({ createRuntime: [script(`sleep ${slow(900) / 1000} > /dev/null 2>&1 < /dev/null & exit 0`)] })),
  );
  const before = Date.now();
  mustSucceed(create(b));
  expect(Date.now() - before).toBeLessThan(slow(800));
});

test("a hook without args has its path as the name", () => {
  const b = bundle((config, at) => {
    const tool = `${at.dir}/tool`;
    writeFileSync(tool, `#!/bin/sh\necho "$0 $#" > ${at.dir}/log/log\n`, { mode: 0o755 });
    hooked(() => ({ createRuntime: [{ path: tool }] }))(config, at);
  });
  live(b);
  expect(logged(b)).toBe(`${b.dir}/tool 0\n`);
});

test("a relative path is refused", () => {
  expect(refusal((config) => (config.hooks = { createRuntime: [{ path: "bin/sh" }] }))).toMatch(/hook|path/i);
});

test("a path that does not exist is refused by name", () => {
  const stderr = refusal((config) => (config.hooks = { createRuntime: [{ path: "/no/such/hook" }] }));
  expect(stderr).toContain("/no/such/hook");
  expect(stderr).toContain("no such file or directory");
});

test("run runs all six", () => {
  const b = bundle((config, at) => {
    hooked(() => every((kind) => [script(`echo ${kind} >> ${at.dir}/log/log`)]))(config, at);
    config.process.args = ["/bin/true"];
  });
  mustSucceed(run(b));
  expect(logged(b).trim().split("\n")).toEqual([...KINDS]);
});
