import { expect } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { command } from "./helpers/command.ts";
import { baseConfig } from "./helpers/config.ts";
import { removeLeaks } from "./helpers/leaks.ts";
import { mustFail, mustSucceed, RUNTIME, suite } from "./helpers/suite.ts";
import { slow } from "./helpers/time.ts";

const { test, bundle, create, run, runtime, started, remove, after, root, home } = suite("errors");

interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly time: string;
}

const logLines = (file: string): LogLine[] =>
  readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as LogLine);

test("--log-format json: exactly one object, whose message is on standard error too", () => {
  const b = bundle((config) => (config.process.args = ["/no/such/program"]));
  const log = `${b.dir}/log.json`;
  const result = create(b, { global: ["--log", log, "--log-format", "json"] });
  expect(result.status).toBe(1);
  const lines = logLines(log);
  expect(lines).toHaveLength(1);
  expect(lines[0]!.level).toBe("error");
  expect(lines[0]!.msg).toContain("no such file or directory");
  expect(lines[0]!.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/);
  expect(Math.abs(Date.parse(lines[0]!.time) - Date.now())).toBeLessThan(slow(20_000));
  expect(result.stderr).toContain(lines[0]!.msg);
});

for (const version of ["invalid", "1.0", ""]) {
  test(`an ociVersion that is none is refused, and nothing is made: ${JSON.stringify(version)}`, () => {
    const b = bundle((config) => (config.ociVersion = version));
    mustFail(create(b), /version/i);
    expect(existsSync(`${root}/${b.id}`)).toBe(false);
  });
}

test("--log: made, and empty when nothing went wrong", () => {
  const b = bundle();
  const log = `${b.dir}/log.json`;
  mustSucceed(run(b, { global: ["--log", log, "--log-format", "json"] }));
  expect(readFileSync(log, "utf8")).toBe("");
});

const unknownCapability = ["CAP_NO_SUCH"];

test("--log: a warning of a command that succeeds is a line of its own", () => {
  const b = bundle((config) => (config.process.capabilities!.bounding = unknownCapability));
  const log = `${b.dir}/log.json`;
  mustSucceed(run(b, { global: ["--log", log, "--log-format", "json"] }));
  const warnings = logLines(log).filter(({ msg }) => msg.includes("CAP_NO_SUCH"));
  expect(warnings.map(({ level }) => level)).toEqual(["warning"]);
});

test("--log: a failure is one object all the same, with the warnings in it", () => {
  const b = bundle((config) => {
    config.process.capabilities!.bounding = unknownCapability;
    config.process.args = ["/no/such/program"];
  });
  const log = `${b.dir}/log.json`;
  mustFail(create(b, { global: ["--log", log, "--log-format", "json"] }), "/no/such/program");
  const lines = logLines(log);
  expect(lines.map(({ level }) => level)).toEqual(["error"]);
  expect(JSON.stringify(lines[0])).toContain("CAP_NO_SUCH");
});

test("--log: appended to", () => {
  const b = bundle();
  const log = `${b.dir}/log.json`;
  for (let i = 0; i < 2; i++) runtime(["state", "no-such-container"], { global: ["--log", log, "--log-format=json"] });
  expect(logLines(log).map(({ level }) => level)).toEqual(["error", "error"]);
});

test("--log as text", () => {
  const b = bundle();
  runtime(["state", "no-such-container"], { global: ["--log", `${b.dir}/log`] });
  expect(readFileSync(`${b.dir}/log`, "utf8")).toMatch(/level=error/);
});

test("--log where it cannot be written is refused by name", () => {
  mustFail(runtime(["list"], { global: ["--log", "/no/such/directory/log"] }), "/no/such/directory/log");
});

test("--log-format of an unknown kind is refused by name", () => {
  mustFail(runtime(["list"], { global: ["--log-format", "xml"] }), "xml");
});

for (const id of ["..", ".", "/", "a/b", "../x", "a b", "", "é", "a\nb", "$(id)", "x".repeat(5000), "%n"]) {
  test(`an id ${id.length > 50 ? "of 5,000 characters" : JSON.stringify(id)} is refused by every command`, () => {
    const b = bundle();
    const before = existsSync(root) ? readdirSync(root) : [];
    for (const args of [
      ["create", "--bundle", b.dir, id],
      ["run", "--bundle", b.dir, id],
    ]) {
      const result = runtime(args);
      expect([args[0], result.status]).toEqual([args[0], 1]);
      expect(result.stderr).toMatch(/id|name too long/i);
    }
    for (const name of ["state", "start", "kill", "delete"]) {
      expect([name, runtime([name, id]).status]).toEqual([name, 1]);
    }
    expect(existsSync(root) ? readdirSync(root) : []).toEqual(before);
  });
}

for (const id of ["a", "A-Z_0.9+x", "x".repeat(200)]) {
  test(`an id ${id.length > 50 ? "of 200 characters" : id} is taken`, () => {
    const b = bundle();
    mustSucceed(runtime(["run", "--bundle", b.dir, id]));
  });
}

test("a bundle that does not exist is refused by name", () => {
  const result = runtime(["create", "--bundle", "/no/such/bundle", "x"]);
  mustFail(result, "no such file or directory");
  mustFail(result, /\/no\/such\/bundle|config\.json/);
});

test("a bundle without config.json is refused by name", () => {
  const b = bundle();
  rmSync(`${b.dir}/config.json`);
  mustFail(create(b), "config.json");
});

test("a config.json that is a directory is refused", () => {
  const b = bundle();
  rmSync(`${b.dir}/config.json`);
  mkdirSync(`${b.dir}/config.json`);
  mustFail(create(b), /is a directory/);
});

const nested = (depth: number): string =>
  `{"ociVersion":"1.0.2","annotations":${"[".repeat(depth)}${"]".repeat(depth)}}`;

/** contents of config.json → what the message should speak of. */
const CONTENTS: readonly (readonly [title: string, text: () => string, says: RegExp])[] = [
  ["empty", () => "", /config\.json|EOF|JSON/i],
  ["blank", () => " \n\n ", /config\.json|EOF|JSON/i],
  ["null", () => "null", /config|null|object/i],
  ["a number", () => "42", /config|object|number/i],
  ["a list", () => "[]", /config|object|array/i],
  ["an empty object", () => "{}", /process|ociVersion|root/],
  [
    "cut off in the middle",
    () => JSON.stringify(baseConfig("x"), null, 2).slice(0, 300),
    /config|JSON|EOF|unexpected/i,
  ],
  ["without a comma", () => JSON.stringify(baseConfig("x"), null, 2).replace(",", ""), /config|JSON|invalid|line/i],
  ["100,000 levels deep", () => nested(100_000), /config|nest|deep|depth|annotations|JSON/i],
  ["one level short of a stack", () => nested(9_000), /config|nest|deep|depth|annotations|JSON/i],
  ["binary", () => "\u0000\u0001\u0002\ufffd", /config|JSON|invalid/i],
  ["with a byte order mark", () => `\ufeff{`, /config|JSON|invalid/i],
];

for (const [title, text, says] of CONTENTS) {
  test(`a config.json that is ${title} is refused`, () => {
    const b = bundle();
    writeFileSync(`${b.dir}/config.json`, text());
    const result = create(b);
    mustFail(result, says);
    expect(result.stderr.length).toBeLessThan(5000);
    expect(existsSync(`${root}/${b.id}`)).toBe(false);
  });
}

test(
  "a config.json of 100 MB is refused, or read, in reasonable time",
  () => {
    const b = bundle();
    const config = { ...b.config, annotations: { long: "x".repeat(100_000_000) } };
    writeFileSync(`${b.dir}/config.json`, JSON.stringify(config));
    const before = Date.now();
    const result = create(b, { limit: 30_000 });
    expect(Date.now() - before).toBeLessThan(slow(15_000));
    expect([0, 1]).toContain(result.status);
    if (result.status === 1) expect(result.stderr).not.toBe("");
  },
  { limit: 60_000 },
);

test("a config.json that is a pipe that nobody writes to does not hang for ever", () => {
  const b = bundle();
  rmSync(`${b.dir}/config.json`);
  mustSucceed(command(["mkfifo", `${b.dir}/config.json`]));
  const result = create(b, { limit: 3000 });
  expect([1, -1]).toContain(result.status);
});

const POINTERS: readonly (readonly [pointer: string, wrong: readonly unknown[]])[] = [
  ["/ociVersion", [1, null, {}, "2.0.0", "x"]],
  ["/process", [1, "x", []]],
  ["/process/args", ["x", {}, [1], [null]]],
  ["/process/env", ["x", {}, [1]]],
  ["/process/cwd", [1, {}, [], null]],
  ["/process/user", [1, "root", []]],
  ["/process/user/uid", ["0", -1, 1.5, 1e20]],
  ["/process/terminal", [1, "yes"]],
  ["/process/capabilities", [1, ["CAP_KILL"]]],
  ["/process/capabilities/bounding", [1, "CAP_KILL", [1]]],
  ["/process/rlimits", [{}, [1], [{ type: 1, soft: 1, hard: 1 }], [{ type: "RLIMIT_CORE", soft: -1, hard: 1 }]]],
  ["/process/oomScoreAdj", ["1", 1.5]],
  ["/root", [1, "rootfs", []]],
  ["/root/path", [1, {}, []]],
  ["/root/readonly", [1, "true"]],
  ["/hostname", [1, {}, []]],
  ["/mounts", [1, {}, "x", [1], [{ destination: 1 }], [{ destination: "/mnt", options: "ro" }]]],
  ["/hooks", [1, "x", []]],
  ["/hooks/createRuntime", [1, {}, [1], [{ path: 1 }], [{ path: "/bin/true", timeout: "1" }]]],
  ["/linux", [1, "x", []]],
  ["/linux/namespaces", [1, {}, ["pid"], [{ type: 1 }]]],
  ["/linux/uidMappings", [1, {}, [1], [{ containerID: "0", hostID: 0, size: 1 }]]],
  ["/linux/devices", [1, {}, [1], [{ type: "c", path: 1 }]]],
  ["/linux/sysctl", [1, [1], { "net.ipv4.ip_forward": 1 }]],
  ["/linux/maskedPaths", [1, "x", [1]]],
  ["/linux/readonlyPaths", [1, {}, [1]]],
  ["/linux/cgroupsPath", [1, {}, []]],
  ["/linux/rootfsPropagation", [1, {}, []]],
  ["/annotations", [1, [1], { a: 1 }]],
];

for (const [pointer, values] of POINTERS) {
  test(`a wrong type at ${pointer} is refused, and named`, () => {
    const name = pointer.split("/").at(-1)!;
    for (const value of values) {
      const b = bundle();
      const config = JSON.parse(readFileSync(`${b.dir}/config.json`, "utf8")) as Record<string, unknown>;
      put(config, pointer.split("/").slice(1), value);
      writeFileSync(`${b.dir}/config.json`, JSON.stringify(config));
      const result = create(b);
      expect([value, result.status]).toEqual([value, 1]);
      expect(result.stderr).toContain(name);
      expect(existsSync(`${root}/${b.id}`)).toBe(false);
    }
  });
}

function put(target: Record<string, unknown>, [first, ...rest]: string[], value: unknown): void {
  if (rest.length === 0) target[first!] = value;
  else {
    target[first!] ??= {};
    put(target[first!] as Record<string, unknown>, rest, value);
  }
}

test("__proto__ in config.json does nothing", () => {
  const b = bundle((config) => (config.process.args = ["/bin/echo", "ran"]));
  const text = readFileSync(`${b.dir}/config.json`, "utf8");
  const evil =
    '"__proto__":{"root":{"path":"/"},"process":{"args":["/bin/echo","evil"]}},"constructor":{"prototype":{"x":1}},';
  writeFileSync(
    `${b.dir}/config.json`,
    text.replace("{", `{${evil}"annotations":{"__proto__":"x","constructor":"y"},`),
  );
  expect(mustSucceed(run(b)).stdout).toBe("ran\n");
});

test("unknown properties are ignored", () => {
  const b = bundle();
  const text = readFileSync(`${b.dir}/config.json`, "utf8");
  writeFileSync(`${b.dir}/config.json`, text.replace("{", '{"aPropertyOfTheFuture":{"x":[1]},'));
  mustSucceed(run(b));
});

test("no process at all is refused by name", () => {
  const b = bundle();
  const config = JSON.parse(readFileSync(`${b.dir}/config.json`, "utf8")) as Record<string, unknown>;
  delete config.process;
  writeFileSync(`${b.dir}/config.json`, JSON.stringify(config));
  mustFail(run(b), "process");
});

test("without a process there is a container, which stops when start has refused it", () => {
  const b = bundle();
  const config = JSON.parse(readFileSync(`${b.dir}/config.json`, "utf8")) as Record<string, unknown>;
  delete config.process;
  writeFileSync(`${b.dir}/config.json`, JSON.stringify(config));
  mustSucceed(create(b));
  mustFail(runtime(["start", b.id]), "cannot start a container without a process (process)");
  expect(JSON.parse(mustSucceed(runtime(["state", b.id])).stdout)).toMatchObject({ status: "stopped" });
  mustSucceed(remove(b));
});

for (const [title, text] of [
  ["empty", ""],
  ["no JSON", "{"],
  ["null", "null"],
  ["a list", "[]"],
  ["an empty object", "{}"],
  ["of wrong types", '{"id":1,"init_process_pid":"x"}'],
] as const) {
  test(`a state.json that is ${title}: a clear error, and delete --force repairs it`, () => {
    const b = started();
    after(() => removeLeaks(b.id)); // Nobody can know any more what it had.
    writeFileSync(`${root}/${b.id}/state.json`, text);
    for (const args of [
      ["state", b.id],
      ["start", b.id],
      ["kill", b.id, "TERM"],
      ["exec", b.id, "/bin/true"],
    ]) {
      const result = runtime(args);
      expect([args[0], result.status === 0]).toEqual([args[0], false]);
      expect(result.stderr).not.toMatch(/TypeError|undefined|\bat .*:\d+:\d+|panic|goroutine/);
      expect(result.stderr).not.toBe("");
    }
    mustSucceed(remove(b, { flags: ["--force"] }));
    expect(existsSync(`${root}/${b.id}`)).toBe(false);
  });
}

test("a state.json that is missing: a clear error, and delete --force repairs it", () => {
  const b = started();
  after(() => removeLeaks(b.id));
  rmSync(`${root}/${b.id}/state.json`, { force: true });
  expect(runtime(["state", b.id]).status).toBe(1);
  mustSucceed(remove(b, { flags: ["--force"] }));
  expect(existsSync(`${root}/${b.id}`)).toBe(false);
});

test("an unknown command is refused by name", () => {
  const result = command([RUNTIME, "no-such-command"]);
  expect(result.status).not.toBe(0);
  expect(result.stdout + result.stderr).toContain("no-such-command");
});

for (const args of [["create"], ["start"], ["state"], ["kill"], ["delete"], ["state", "a", "b"], ["start", "a", "b"]]) {
  test(`${args.join(" ")}: a wrong number of arguments is refused`, () => {
    const result = runtime(args);
    expect(result.status).toBe(1);
    expect(result.stdout + result.stderr).toMatch(/argument/i);
  });
}

test("an unknown flag is refused by name", () => {
  const b = bundle();
  const result = create(b, { flags: ["--no-such-flag"] });
  expect(result.status).toBe(1);
  expect(result.stdout + result.stderr).toContain("no-such-flag");
});

test("files of the caller's directory are not read", () => {
  const dir = `${home}/hostile`;
  mkdirSync(dir);
  writeFileSync(`${dir}/.env`, "PATH=/nowhere\n");
  writeFileSync(`${dir}/bunfig.toml`, 'preload = ["./evil.ts"]\n');
  writeFileSync(`${dir}/evil.ts`, 'require("fs").writeFileSync("ran", "");\n');
  writeFileSync(`${dir}/package.json`, "{");
  writeFileSync(`${dir}/tsconfig.json`, "{");
  mustSucceed(runtime(["list"], { cwd: dir }));
  expect(existsSync(`${dir}/ran`)).toBe(false);
});

test("features: JSON on standard output, nothing on standard error", () => {
  const result = command([RUNTIME, "features"]);
  mustSucceed(result);
  expect(result.stderr).toBe("");
  const features = JSON.parse(result.stdout) as {
    ociVersionMin: string;
    ociVersionMax: string;
    mountOptions: string[];
    hooks: string[];
  };
  expect(features.ociVersionMin).toBe("1.0.0");
  expect(features.ociVersionMax).toMatch(/^1\./);
  expect(features.mountOptions).toContain("rro");
  expect(features.hooks.sort()).toEqual([
    "createContainer",
    "createRuntime",
    "poststart",
    "poststop",
    "prestart",
    "startContainer",
  ]);
});

for (const flag of ["--version", "-v"]) {
  test(`${flag}: a first line that says version, nothing on standard error`, () => {
    const result = mustSucceed(command([RUNTIME, flag]));
    expect(result.stderr).toBe("");
    expect(result.stdout.split("\n")[0]).toMatch(/^\w+ version \d+\.\d+/);
    expect(result.stdout).toMatch(/^spec: 1\./m);
  });
}

test("spec: a config.json that runs", () => {
  const b = bundle();
  rmSync(`${b.dir}/config.json`);
  mustSucceed(runtime(["spec", "--bundle", b.dir]));
  const config = JSON.parse(readFileSync(`${b.dir}/config.json`, "utf8")) as {
    process: { terminal: boolean; args: string[] };
  };
  config.process.terminal = false;
  config.process.args = ["/bin/echo", "ran"];
  writeFileSync(`${b.dir}/config.json`, JSON.stringify(config));
  expect(mustSucceed(run(b)).stdout).toBe("ran\n");
});

test("spec: a config.json that is there is not overwritten", () => {
  const b = bundle();
  mustFail(runtime(["spec", "--bundle", b.dir]), /exists/);
});
