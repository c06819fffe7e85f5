import { expect } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { type CommandOptions, command, commandBeside, PLAIN_ENV, type Result } from "./helpers/command.ts";
import { findLeaks, removeLeaks } from "./helpers/leaks.ts";
import { asUser, NONE, ownDirectory, type UserOptions } from "./helpers/ordinary-user.ts";
import { mustFail, mustSucceed, RUNTIME, RUNTIME_NAME, suite, until } from "./helpers/suite.ts";
import { slow } from "./helpers/time.ts";

const { test: anyTest, home, mark, mountHere, after } = suite("try");

const NOBODY = 65534;
let number = 0;

/** Only tsrun has this command. */
function test(title: string, action: () => void | Promise<void>, skip?: string | false): void {
  anyTest(title, action, { skip: skip || (RUNTIME_NAME !== "tsrun" && `${RUNTIME_NAME} has no such command`) });
}

interface Trial extends CommandOptions {
  /** As a user who is not root. */
  readonly unprivileged?: boolean;
  /** A command that runs tsrun. */
  readonly through?: readonly string[];
}

/** The state root of the caller, and the command line. The id carries the mark that leaks are found by. */
function line(flags: readonly string[], argv: readonly string[], options: Trial) {
  const id = `${mark}${++number}`;
  const root = `${home}/${options.unprivileged ? "nobody" : "state"}`;
  if (options.unprivileged && !existsSync(root)) {
    mkdirSync(root, { mode: 0o700 });
    chownSync(root, NOBODY, NOBODY);
  }
  const drop = ["/usr/bin/setpriv", "--reuid", `${NOBODY}`, "--regid", `${NOBODY}`, "--clear-groups"];
  const through = [...(options.through ?? []), ...(options.unprivileged ? drop : [])];
  return { id, root, words: [...through, RUNTIME, "--root", root, "try", "--name", id, ...flags, "--", ...argv] };
}

/** Runs `tsrun try` to its end; nothing may be left of it. */
function tried(flags: readonly string[], argv: readonly string[], options: Trial = {}): Result {
  const { id, root, words } = line(flags, argv, options);
  const result = command(words, options);
  mustBeGone(id, root);
  return result;
}

function mustBeGone(id: string, root: string): void {
  until(() => findLeaks(id).length === 0 && !existsSync(`${root}/${id}`), "", 3000);
  const leaks = findLeaks(id);
  if (existsSync(`${root}/${id}`)) leaks.push(`state ${root}/${id}`);
  removeLeaks(id);
  rmSync(`${root}/${id}`, { recursive: true, force: true });
  expect(leaks).toEqual([]);
}

/** What `script` prints. */
function see(script: string, flags: readonly string[] = [], options: Trial = {}): string {
  return mustSucceed(tried(flags, ["sh", "-c", script], options)).stdout.trimEnd();
}

/** A directory of the host's root file system, which a container's overlay shows; `home` is below /tmp, which it hides. */
function shownDirectory(): string {
  const path = mkdtempSync(`/var/tmp/${mark}`);
  chmodSync(path, 0o755);
  after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A path that does not exist, where anyone may make a directory. */
function keepDirectory(): string {
  const parent = shownDirectory();
  chownSync(parent, NOBODY, NOBODY);
  return `${parent}/keep`;
}

const asRootAndNot = [
  ["as root", {}],
  ["without root", { unprivileged: true }],
] as const;

for (const [who, as] of asRootAndNot) {
  test(`${who}: the host's files are there, and what is written does not reach them`, () => {
    const dir = shownDirectory();
    writeFileSync(`${dir}/old`, "host's");
    if (who === "without root") chownSync(dir, NOBODY, NOBODY);
    if (who === "without root") chownSync(`${dir}/old`, NOBODY, NOBODY);
    const script = `cat ${dir}/old; echo changed > ${dir}/old; echo x > ${dir}/new; cat ${dir}/old`;
    expect(see(script, [], { ...as, cwd: dir })).toBe("host'schanged");
    expect(readFileSync(`${dir}/old`, "utf8")).toBe("host's");
    expect(readdirSync(dir)).toEqual(["old"]);
  });

  test(`${who}: nothing of the host is left below the container's mounts`, () => {
    const mounts = see("cat /proc/self/mountinfo", [], as).split("\n");
    const root = mounts.filter((mount) => mount.split(" ")[4] === "/");
    expect(root).toHaveLength(1);
    expect(root[0]).toMatch(/ - (overlay|tmpfs) tsrun /);
    const host = mounts.filter((mount) => mount.includes(" /sys/fs/cgroup ") && !/ - (tmpfs|cgroup2) /.test(mount));
    expect(host).toEqual([]);
  });

  test(`${who}: own processes, host name and network with a loopback that is up`, () => {
    const script =
      'echo $$; hostname; ls /sys/class/net; cat /sys/class/net/lo/operstate; cut -d" " -f4 /proc/net/route';
    expect(see(script, [], as).split("\n").slice(0, 4)).toEqual(["1", "try", "lo", "unknown"]);
    expect(hostname()).not.toBe("try");
  });

  test(`${who}: 127.0.0.1 answers`, () => {
    expect(see("ip -4 -o address show lo 2>/dev/null || echo 127.0.0.1", [], as)).toContain("127.0.0.1");
  });

  test(`${who}: --network host`, () => {
    const names = readdirSync("/sys/class/net").sort();
    expect(see("ls /sys/class/net", ["--network", "host"], as).split("\n").sort()).toEqual(names);
  });

  test(`${who}: --hostname, --env, --workdir`, () => {
    const flags = ["--hostname", "other", "--env", "A=b c", "-e", "A=last", "--workdir", "/usr/lib"];
    expect(see('hostname; echo "$A"; pwd', flags, as)).toBe("other\nlast\n/usr/lib");
  });

  test(`${who}: the environment is clean, the working directory the caller's`, () => {
    const env = { PATH: "/nowhere", SECRET: "x", HOME: "/root" };
    expect(see('pwd; echo "$PATH:$SECRET"', [], { ...as, cwd: "/usr/share", env })).toBe(
      "/usr/share\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:",
    );
    expect(see("pwd", [], { ...as, cwd: "/tmp" })).toBe("/");
  });

  test(`${who}: --read-only`, () => {
    const script =
      "for d in / /usr /etc /var/tmp; do touch $d/x 2>/dev/null && echo $d; done; touch /tmp/x && echo tmp";
    expect(see(script, ["--read-only"], as)).toBe("tmp");
  });

  test(`${who}: --mount, writable and read-only`, () => {
    const [shown, kept] = [shownDirectory(), shownDirectory()];
    for (const dir of [shown, kept]) chownSync(dir, NOBODY, NOBODY);
    const script = "echo x > /mnt/rw/file; touch /mnt/ro/file 2>/dev/null || echo refused; cat /mnt/ro/given";
    writeFileSync(`${kept}/given`, "given");
    expect(see(script, ["--mount", `${shown}:/mnt/rw`, "--mount", `${kept}:/mnt/ro:ro`], as)).toBe("refused\ngiven");
    expect(readdirSync(shown)).toEqual(["file"]);
    expect(readdirSync(kept)).toEqual(["given"]);
  });

  test(`${who}: exit statuses`, () => {
    expect(tried([], ["true"], as).status).toBe(0);
    expect(tried([], ["sh", "-c", "exit 42"], as).status).toBe(42);
    mustFail(tried([], ["no-such-program"], as), 'exec: "no-such-program": executable file not found in $PATH');
  });

  test(`${who}: --keep lists exactly what changed, and keeps that`, () => {
    const dir = shownDirectory();
    for (const name of ["replaced", "stays", "gone"]) {
      mkdirSync(`${dir}/${name}`);
      writeFileSync(`${dir}/${name}/file`, "host's");
      chownSync(`${dir}/${name}`, NOBODY, NOBODY);
    }
    for (const name of ["changed", "deleted"]) writeFileSync(`${dir}/${name}`, "host's");
    for (const name of ["", "changed", "deleted", "stays/file"]) chownSync(`${dir}/${name}`, NOBODY, NOBODY);
    const keep = keepDirectory();
    const script = `cd ${dir} && echo x > changed && rm deleted && mkdir -p new/inner && echo y > new/inner/file &&
      rm -r replaced gone && mkdir replaced && echo z > replaced/other && echo top > /${mark}top && cat stays/file`;
    const flags = ["--keep", keep, "--mount", "/usr:/mnt/made/for/this", "--workdir", "/made/for/that"];
    const result = mustSucceed(tried(flags, ["sh", "-c", script], { ...as, env: { ...PLAIN_ENV, HOME: dir } }));
    expect(result.stdout).toBe("host's");
    const listed = [
      `A /${mark}top`,
      `C ${dir}/changed`,
      `D ${dir}/deleted`,
      `D ${dir}/gone`,
      `A ${dir}/new`,
      `A ${dir}/new/inner`,
      `A ${dir}/new/inner/file`,
      `C ${dir}/replaced`,
      `D ${dir}/replaced/file`,
      `A ${dir}/replaced/other`,
    ];
    expect(result.stderr.trimEnd().split("\n")).toEqual(listed);
    expect(readdirSync(keep).sort()).toEqual([`${mark}top`, "var"]);
    expect(readFileSync(`${keep}${dir}/new/inner/file`, "utf8")).toBe("y\n");
    expect(lstatSync(`${keep}${dir}/deleted`).isCharacterDevice()).toBe(true);
    expect(readdirSync(dir).sort()).toEqual(["changed", "deleted", "gone", "replaced", "stays"]);
  });

  test(`${who}: --keep of a command that changes nothing`, () => {
    const keep = keepDirectory();
    const result = mustSucceed(tried(["--keep", keep], ["sh", "-c", "echo x > /tmp/x; ls / > /dev/null"], as));
    expect(result.stderr).toBe("");
    expect(readdirSync(keep)).toEqual([]);
  });

  test(`${who}: a failure leaves no trace of --keep`, () => {
    const keep = keepDirectory();
    mustFail(tried(["--keep", keep], ["no-such-program"], as), "no-such-program");
    expect(existsSync(keep)).toBe(false);
  });

  test(`${who}: after kill -9 of tsrun nothing is left`, async () => {
    const { id, root, words } = line([], ["sleep", SLEEP], as);
    const running = commandBeside(words);
    until(() => sleepers().length === 1, "the container to run");
    running.kill("SIGKILL");
    await running.finish();
    until(() => sleepers().length === 0, "the container to end");
    mustBeGone(id, root);
  });
}

/** A time that nobody else's sleep has. */
const SLEEP = `10${process.pid}`;

/** The containers of `sleep SLEEP`, as the first processes that they are. */
function sleepers(): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      return readFileSync(`/proc/${pid}/cmdline`, "utf8") === `sleep\0${SLEEP}\0` && /^NSpid:.*\t1$/m.test(status);
    } catch {
      return false; // No process, or one that has ended meanwhile.
    }
  });
}

test("a directory that is not empty is no place to keep changes in", () => {
  const keep = shownDirectory();
  writeFileSync(`${keep}/mine`, "");
  mustFail(tried(["--keep", keep], ["true"]), `cannot keep changes in "${keep}": directory not empty (--keep)`);
  expect(readdirSync(keep)).toEqual(["mine"]);
});

test("another file system gets a layer of its own", () => {
  const dir = shownDirectory();
  mkdirSync(`${dir}/a/b`, { recursive: true });
  mountHere("-t", "tmpfs", "-o", "nosuid", "tmpfs", `${dir}/a`);
  mkdirSync(`${dir}/a/b`);
  mountHere("-t", "tmpfs", "tmpfs", `${dir}/a/b`);
  writeFileSync(`${dir}/a/one`, "1");
  writeFileSync(`${dir}/a/b/two`, "2");
  const keep = `${shownDirectory()}/keep`;
  const script = `cat ${dir}/a/one ${dir}/a/b/two; rm ${dir}/a/one; echo x > ${dir}/a/b/new; ls ${dir}/a ${dir}/a/b`;
  const result = mustSucceed(tried(["--keep", keep], ["sh", "-c", script]));
  expect(result.stdout.split("\n").slice(0, 3)).toEqual([`12${dir}/a:`, "b", ""]);
  expect(result.stderr).toBe(`A ${dir}/a/b/new\nD ${dir}/a/one\n`);
  expect(readdirSync(`${dir}/a`).sort()).toEqual(["b", "one"]);
  expect(readdirSync(`${dir}/a/b`)).toEqual(["two"]);
});

test("without root, directories with mounts below them are shown all the same", () => {
  const dir = shownDirectory();
  mkdirSync(`${dir}/in`);
  mountHere("-t", "tmpfs", "-o", "mode=777", "tmpfs", `${dir}/in`);
  writeFileSync(`${dir}/in/file`, "inner");
  writeFileSync(`${dir}/beside`, "beside");
  const script = `cat ${dir}/in/file ${dir}/beside; echo x > ${dir}/in/new; readlink /bin; cat /etc/hostname > /dev/null`;
  expect(see(script, [], { unprivileged: true })).toBe("innerbesideusr/bin");
  expect(readdirSync(`${dir}/in`)).toEqual(["file"]);
});

test("--user", () => {
  expect(see("id -u; id -g; grep CapEff /proc/self/status", ["--user", "1234:99"])).toBe(
    "1234\n99\nCapEff:\t0000000000000000",
  );
  mustFail(tried(["--user", "12x"], ["true"]), '"12x" is not UID or UID:GID in digits');
  mustFail(tried(["--user", "5"], ["true"], { unprivileged: true }), "without root the container has one user only");
});

/** As a user with subordinate ids, see ordinary-user.ts, or with something of that missing. */
function asSomeone(flags: readonly string[], argv: readonly string[], who: UserOptions = {}): Result {
  const id = `${mark}${++number}`;
  const root = `${home}/someone`;
  if (!existsSync(root)) ownDirectory(root);
  const result = command([...asUser(home, who), RUNTIME, "--root", root, "try", "--name", id, ...flags, "--", ...argv]);
  mustBeGone(id, root);
  return result;
}

test("with subordinate ids: the container has other users, who can have files", () => {
  const script =
    "id -u; id -G; cat /proc/self/setgroups; touch /tmp/x && stat -c %u:%g /tmp/x; wc -l < /proc/self/uid_map";
  const result = mustSucceed(asSomeone(["--user", "1000:50"], ["sh", "-c", script]));
  expect(result.stdout).toBe("1000\n50\nallow\n1000:50\n2\n");
});

test("with subordinate ids: root of the container is the caller, and can give files away", () => {
  const script =
    "id -u; touch /tmp/x; chown 65536:7 /tmp/x && stat -c %u:%g /tmp/x; echo x > /etc/tsrun-try; ls /root 2>&1";
  const result = asSomeone([], ["sh", "-c", script]);
  expect(result.stdout).toStartWith("0\n65536:7\n");
  expect(existsSync("/etc/tsrun-try")).toBeFalse();
});

test("with subordinate ids: a user beyond them is refused", () => {
  mustFail(
    asSomeone(["--user", "65537"], ["true"]),
    "cannot run as user 65537: the container has ids 0 to 65536 (--user)",
  );
});

for (const [title, who, expected] of [
  [
    "subordinate ids",
    { grants: NONE },
    /user "tsrun-user" has no subordinate user ids in \/etc\/subuid .*\n.*usermod --add-subuids/,
  ],
  ["newuidmap's set-uid bit", { setpriv: ["--no-new-privs"] }, /no_new_privs/],
] as const) {
  test(`without ${title}: the caller is alone, and another user is refused with what is missing`, () => {
    expect(mustSucceed(asSomeone([], ["sh", "-c", "wc -l < /proc/self/uid_map"], who)).stdout).toBe("1\n");
    mustFail(asSomeone(["--user", "5"], ["true"], who), expected);
  });
}

test("with subordinate ids: what is kept is the caller's alone", () => {
  const keep = `${ownDirectory(`${home}/kept`)}/changes`;
  mustSucceed(asSomeone(["--keep", keep], ["sh", "-c", "touch /kept; wc -l < /proc/self/uid_map"]));
  mustFail(asSomeone(["--keep", `${keep}2`, "--user", "5"], ["true"]), "changes are kept, and all of them are yours");
  expect(existsSync(`${keep}2`)).toBeFalse();
});

test("no device files, no new privileges", () => {
  expect(see("mknod /x b 8 0 2>/dev/null || echo refused; grep NoNewPrivs /proc/self/status")).toBe(
    "refused\nNoNewPrivs:\t1",
  );
});

/** Why limits cannot be tested here: what is bound to v1 cannot be had where only v2 is shown. */
const noLimits = missingController() && "this machine's cgroups lack a controller";

function missingController(): boolean {
  const file = "/sys/fs/cgroup/cgroup.controllers";
  const names = existsSync(file) ? readFileSync(file, "utf8").trim().split(" ") : readdirSync("/sys/fs/cgroup");
  return ["memory", "cpu", "pids"].some((name) => !names.includes(name));
}

/** The value of a cgroup file in the container, on v1 or on v2. */
const limitOf = (v1: string, v2: string) => `cat /sys/fs/cgroup/${v1} 2>/dev/null || cat /sys/fs/cgroup/${v2}`;

test(
  "limits are in the cgroup's files",
  () => {
    const flags = ["--memory", "512m", "--cpus", "1.5", "--pids", "33"];
    const script = [
      limitOf("memory/memory.limit_in_bytes", "memory.max"),
      limitOf("cpu/cpu.cfs_quota_us", "cpu.max"),
      limitOf("pids/pids.max", "pids.max"),
    ];
    expect(see(script.join("; "), flags)).toMatch(/^536870912\n150000( 100000)?\n33$/);
  },
  noLimits,
);

test(
  "the memory limit kills",
  () => {
    expect(tried(["--memory", "32m"], ["tail", "/dev/zero"]).status).toBe(137);
  },
  noLimits,
);

test(
  "the limit of processes holds",
  () => {
    const result = tried(["--pids", "3"], ["sh", "-c", "for i in 1 2 3 4 5; do sleep 1 & done; wait"]);
    expect(result.status).not.toBe(0);
    expect(result.stderr).toMatch(/fork/i);
  },
  noLimits,
);

test(
  "a limit that nobody can enforce is refused by name",
  () => {
    const unprivileged = { unprivileged: true };
    mustFail(tried(["--memory", "1g"], ["true"], unprivileged), /controller "memory" is not delegated .*\(--memory\)/);
    mustFail(tried(["--cpus", "1"], ["true"], unprivileged), /controller "cpu" is not delegated .*\(--cpus\)/);
    const emptied = ["unshare", "-m", "--propagation", "private", "sh", "-c"];
    const through = [...emptied, 'umount -R -l /sys/fs/cgroup && exec "$@"', "sh"];
    mustFail(tried(["--pids", "5"], ["true"], { through }), 'this machine has no cgroup controller "pids" (--pids)');
  },
  noLimits,
);

test("options that make no sense are refused", () => {
  for (const [flag, text] of [
    ["--memory", "much"],
    ["--memory", "0"],
    ["--cpus", "0"],
    ["--cpus", "1e3"],
    ["--env", "novalue"],
    ["--mount", "/usr"],
    ["--mount", "/usr:relative"],
    ["--workdir", "relative"],
  ] as const) {
    mustFail(tried([flag, text], ["true"]), `option "${flag}": "${text}" is not`);
  }
  mustFail(
    tried(["--mount", "/no/such:/mnt"], ["true"]),
    'cannot mount "/no/such": no such file or directory (--mount)',
  );
});

test("user namespaces switched off: the setting and the command are named", () => {
  const script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"';
  // Without id maps, whoever is in the namespace is not its root.
  const result = tried([], ["true"], { through: ["unshare", "--user", "--keep-caps", "sh", "-c", script, "sh"] });
  mustFail(result, "user namespaces are switched off (user.max_user_namespaces is 0)");
  expect(result.stderr).toContain("sysctl -w user.max_user_namespaces=");
});

test("root of a user namespace", () => {
  const through = ["unshare", "--user", "--map-root-user"];
  expect(see("id -u; echo x > /usr/x && cat /usr/x", [], { through })).toBe("0\nx");
  expect(existsSync("/usr/x")).toBe(false);
});

test("a terminal when asked for, as long as there is one to pass it through to", () => {
  mustFail(tried(["--tty"], ["true"]), "cannot allocate tty: none of standard input, output and error is a terminal");
  expect(see("test -t 0 || echo none")).toBe("none");
});

test("a terminal and a shell where standard input and output are terminals", () => {
  const { id, root, words } = line([], [], {});
  const env = { PATH: "/usr/bin:/bin:/usr/sbin:/sbin", SHELL: "/bin/sh", TERM: "vt100", HOME: "/root" };
  const result = command(["script", "-qec", words.join(" "), "/dev/null"], {
    env,
    stdin: "echo $TERM $(tty) $0\nexit 3\n",
  });
  mustBeGone(id, root);
  expect(result.status).toBe(3);
  expect(result.stdout).toContain("vt100 /dev/pts/0 /bin/sh");
});

test("an id that is taken", async () => {
  const { id, root, words } = line([], ["sleep", "1000"], {});
  const running = commandBeside(words);
  until(() => existsSync(`${root}/${id}/state.json`), "the container to run");
  mustFail(command(words), "container with given ID already exists");
  expect(existsSync(`${root}/${id}/state.json`)).toBe(true);
  mustSucceed(command([RUNTIME, "--root", root, "kill", id, "KILL"]));
  expect((await running.finish()).status).toBe(137);
  mustBeGone(id, root);
});

test("signals are forwarded", async () => {
  const { id, root, words } = line([], ["sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done"], {});
  const running = commandBeside(words);
  until(() => existsSync(`${root}/${id}/state.json`) && !existsSync(`${root}/${id}/exec.sock`), "the container to run");
  Bun.sleepSync(slow(300));
  running.kill("SIGTERM");
  expect((await running.finish()).status).toBe(9);
  mustBeGone(id, root);
});
