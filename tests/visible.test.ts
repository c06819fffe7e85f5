/**
 * What a container, and a hook, can see of tsrun: everything that a process can read of itself and of who is beside it is
 * listed, and searched for what is not the container's own.
 */
import { expect } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { capabilityNames } from "../src/abi/capability.ts";
import { say, writeAttacker } from "./helpers/attacker.ts";
import { PLAIN_ENV } from "./helpers/command.ts";
import { type Config, grant, type Hook, type HookKind, unshare } from "./helpers/config.ts";
import { withoutLibcSignals } from "./helpers/signals.ts";
import { mustSucceed, RUNTIME_NAME, suite, until } from "./helpers/suite.ts";

const { test, bundle, create, start, run, exec, started, kill, untilStatus, remove, state, root } = suite("visible");

/**
 * Everything in /proc of process $1, and of the machine what is the container's own; what is binary, as text, for what names
 * it holds. Not /proc/keys: it names the keyrings of everybody with the same user id, other containers' too, and is masked.
 */
const LIST = `for f in /proc/$1/* /proc/$1/attr/* /proc/$1/fd/* /proc/$1/fdinfo/* /proc/$1/net/unix /proc/$1/ns/* \
/proc/$1/task/$1/children /proc/sysvipc/* /proc/sys/kernel/hostname /proc/sys/kernel/domainname; do
  case $f in */mem|*/pagemap|*/map_files|*/auxv|*/clear_refs|*/kpage*|*/task|*/net|*/attr|*/fd|*/fdinfo|*/ns) continue ;; esac
  if [ -L $f ]; then echo "== $f"; readlink $f; elif [ -f $f ]; then echo "== $f"; head -c 30000 $f | tr '\\0' '\\n'; echo; fi
done; echo "== auxv"; od -A n -v -t x8 /proc/$1/auxv; echo "== /dev/shm"; ls /dev/shm; echo "== end"`;

/** $1 becomes the shell's own process id, of the pid namespace that /proc is of. */
const SELF = "read pid rest < /proc/self/stat; set $pid";

/** File to content, without "/proc/$1/" in front. */
type Listing = Map<string, string>;

function parse(text: string): Listing {
  if (!text.includes("== end")) throw new Error(`the list is not complete: ${text.slice(-300)}`);
  const parts = text.split(/^== /m).slice(1);
  return new Map(
    parts.map((part) => {
      const [path = "", ...lines] = part.split("\n");
      return [path.replace(/^\/proc\/\d+\//, ""), lines.join("\n").trim()];
    }),
  );
}

/** Lines of the list that name the runtime, its parts or where it keeps its things. */
function giveaways(listing: Listing): string[] {
  const name = new RegExp(`${RUNTIME_NAME}(?!-output)|\\bruntime|agent|memfd|\\bbun\\b|\\bjsc|${root}`, "i");
  return [...listing].flatMap(([file, content]) =>
    content
      .split("\n")
      .filter((line) => name.test(line))
      .map((line) => `${file}: ${line}`),
  );
}

const field = (listing: Listing, name: string): string | undefined =>
  new RegExp(`^${name}:\\s*(.*)$`, "m").exec(listing.get("status")!)?.[1];

/** proc(5), stat: what follows the name of the program, from the state on. */
const stat = (listing: Listing): string[] =>
  listing
    .get("stat")!
    .replace(/^.*\) /, "")
    .split(" ");

/** getauxval(3): what the kernel tells a new program, and tsrun's own beginning uses to tell itself something. */
function auxiliary(listing: Listing): Map<bigint, bigint> {
  const words = (listing.get("auxv") ?? "").split(/\s+/).map((word) => BigInt(`0x${word || 0}`));
  return new Map(Array.from({ length: words.length >> 1 }, (_, i) => [words[2 * i]!, words[2 * i + 1]!]));
}

const [AT_FLAGS, AT_SECURE] = [8n, 23n];

const descriptors = (listing: Listing): string[] => [...listing.keys()].filter((name) => name.startsWith("fd/"));

/** What a process begins with that nobody has told anything but the config: `pid` in its own pid namespace. */
function mustBeOwn(listing: Listing, pid: number, program: string): void {
  expect(giveaways(listing)).toEqual([]);
  expect(descriptors(listing)).toEqual(["fd/0", "fd/1", "fd/2"]);
  expect(listing.get("exe")).toBe(program);
  expect(listing.get("cwd")).toBe("/");
  expect(listing.get("root")).toBe("/");
  expect(listing.get("environ")).toBe("PATH=/bin\nHOME=/root");
  const [, parent, group, session] = stat(listing);
  expect({ parent, group, session }).toEqual({ parent: "0", group: String(pid), session: String(pid) });
  mustHaveNoSignals(listing);
  expect(field(listing, "TracerPid")).toBe("0");
  expect(field(listing, "Threads")).toBe("1");
  expect(field(listing, "NSpid")?.split("\t").at(-1)).toBe(String(pid));
  expect(listing.get("timers")).toBe("");
  expect(listing.get("personality")).toBe("00000000");
  expect(listing.get("comm")).toBe("sh");
  const told = auxiliary(listing);
  expect([told.get(AT_FLAGS), told.get(AT_SECURE)]).toEqual([0n, 0n]);
}

const NONE = "0".repeat(16);

function mustHaveNoSignals(listing: Listing): void {
  for (const set of ["SigPnd", "ShdPnd", "SigBlk"]) expect([set, field(listing, set)]).toEqual([set, NONE]);
  const ignored = `SigIgn:\t${field(listing, "SigIgn")}`;
  // The shell itself ignores SIGQUIT.
  expect(RUNTIME_NAME === "tsrun" ? ignored : withoutLibcSignals(ignored)).toMatch(/^SigIgn:\t0{15}[04]$/);
}

const listInit = ["/bin/sh", "-c", LIST, "sh", "1"];

test("init: nothing", () => {
  const b = bundle((config) => (config.process.args = listInit));
  const listing = parse(mustSucceed(run(b)).stdout);
  mustBeOwn(listing, 1, "/bin/sh");
  const mountPoints = listing
    .get("mountinfo")!
    .split("\n")
    .map((line) => line.split(" ")[4]);
  expect(mountPoints).toEqual(["/", "/proc", "/dev", "/dev/pts"]);
  // In a network namespace of its own there is no socket yet, named, nameless or abstract; in that of System V no memory.
  expect(listing.get("net/unix")!.split("\n")).toHaveLength(1);
  expect(listing.get("/proc/sysvipc/shm")!.split("\n")).toHaveLength(1);
  expect(listing.get("/dev/shm")).toBe("");
  expect(listing.get("/proc/sys/kernel/hostname")).toBe("container");
  // As its caller has them, like every other process.
  for (const name of ["loginuid", "sessionid", "oom_score_adj", "coredump_filter"]) {
    expect([name, listing.get(name)]).toEqual([name, readFileSync(`/proc/self/${name}`, "utf8").trim()]);
  }
});

/** Prints what its session keyring is (keyctl(2)), and says so when there is a key in it. */
function writeKeyReader(path: string): void {
  const [KEYCTL_DESCRIBE, KEYCTL_READ, SESSION_KEYRING] = [6, 11, -3];
  writeAttacker(path, [
    { call: "keyctl", args: [KEYCTL_DESCRIBE, SESSION_KEYRING, { room: "text" }, 200, 0], into: "length" },
    { call: "write", args: [1, { room: "text" }, { value: "length" }] },
    { call: "keyctl", args: [KEYCTL_READ, SESSION_KEYRING, { room: "keys" }, 200, 0], zero: "end" },
    say(1, " with keys in it"),
    { label: "end", call: "exit_group", args: [0] },
  ]);
}

test("init and exec: a session keyring of the container's own, named after it, without a key", () => {
  const b = started((config, at) => {
    config.process.args = ["/bin/sh", "-c", "/read > /seen; sleep 1000"];
    writeKeyReader(`${at.rootfs}/read`);
  });
  const name = RUNTIME_NAME === "crun" ? b.id : `_ses.${b.id}`;
  until(() => existsSync(`${b.rootfs}/seen`) && readFileSync(`${b.rootfs}/seen`).length > 0, "the keyring");
  const seen = [readFileSync(`${b.rootfs}/seen`, "utf8"), mustSucceed(exec(b, ["/read"])).stdout];
  for (const text of seen) expect(text.replace(/\0$/, "").split(";").slice(4)).toEqual([name]);
});

test("init of a container that was created before: nothing is left of the process that waited", () => {
  const b = bundle((config, at) => {
    config.process.args = ["/bin/sh", "-c", `{ ${LIST}; } > /seen`, "sh", "1"];
    writeFileSync(`${at.rootfs}/seen`, "");
  });
  mustSucceed(create(b));
  mustSucceed(start(b));
  untilStatus(b, "stopped");
  const listing = parse(readFileSync(`${b.rootfs}/seen`, "utf8"));
  listing.delete("fd/1"); // The file, and what the shell keeps of before.
  listing.delete("fd/10");
  listing.set("fd/1", "");
  mustBeOwn(new Map([...listing].sort()), 1, "/bin/sh");
});

test("exec: nothing", () => {
  const b = started();
  const listing = parse(mustSucceed(exec(b, ["/bin/sh", "-c", `${SELF}; ${LIST}`])).stdout);
  mustBeOwn(listing, Number(field(listing, "Pid")), "/bin/sh");
});

test("exec sees nothing in the init either", () => {
  const b = started((config) => (config.process.args = ["/bin/sh", "-c", "sleep 1000 & wait"]));
  mustBeOwn(parse(mustSucceed(exec(b, listInit)).stdout), 1, "/bin/sh");
});

/** The process that waits for start, as somebody sees it who shares its pid namespace; what the kernel shows to everyone. */
const PUBLIC = new Map([
  // Names for who looks for the process on the host: every runtime's says which it is.
  ["comm", "tsrun:[2:INIT]"],
  ["cmdline", "tsrun-agent"],
]);

/** Root of the container's own user namespace, which may trace whoever is in it and lets himself be traced. */
const mighty = (config: Config): void => {
  unshare(config, "user");
  config.linux.uidMappings = [{ containerID: 0, hostID: 100_000, size: 65536 }];
  config.linux.gidMappings = [{ containerID: 0, hostID: 100_000, size: 65536 }];
  grant(config, ...capabilityNames);
};

function mustHide(listing: Listing): void {
  const hidden = ["exe", "cwd", "root", "environ", "maps", "smaps", "auxv", "timers", "syscall", "stack", "io"];
  for (const file of hidden) expect([file, listing.get(file) ?? ""]).toEqual([file, ""]);
  // Who has the same user id may count them.
  const links = [...listing.keys()].filter((name) => /^(fd|fdinfo|ns)\//.test(name));
  for (const name of links) expect([name, listing.get(name)]).toEqual([name, ""]);
  if (RUNTIME_NAME !== "tsrun") return;
  for (const [file, content] of PUBLIC) expect([file, listing.get(file)]).toEqual([file, content]);
  const known = [...PUBLIC].map(([file, content]) => `${file}: ${content}`);
  const named = giveaways(listing).filter(
    (line) => !known.includes(line) && !/^(stat|status|sched): .*tsrun/.test(line),
  );
  expect(named).toEqual([]);
  for (const set of ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"])
    expect([set, field(listing, set)]).toEqual([set, NONE]);
}

for (const [who, change] of [
  ["the host's root without capabilities", () => {}],
  ["root of a user namespace with all capabilities", mighty],
] as const) {
  test(`a process that waits for start: nothing but its names, for ${who} in the same container`, () => {
    const b = bundle((config, at) => {
      change(config);
      Bun.spawnSync(["chown", "-R", "100000:100000", at.rootfs]);
    });
    mustSucceed(create(b));
    mustHide(parse(mustSucceed(exec(b, listInit)).stdout));
  });
}

test("a process that waits for start: nothing but its names, for a container that shares its pid namespace", () => {
  const neighbour = started((config) => mighty(config));
  const { pid } = JSON.parse(mustSucceed(state(neighbour)).stdout) as { pid: number };
  const b = bundle((config) => {
    mighty(config);
    unshare(config, "pid", `/proc/${pid}/ns/pid`);
    unshare(config, "user", `/proc/${pid}/ns/user`);
  });
  mustSucceed(create(b));
  const waiting = JSON.parse(mustSucceed(state(b)).stdout) as { pid: number };
  const inside = /^NSpid:.*\t(\d+)$/m.exec(readFileSync(`/proc/${waiting.pid}/status`, "utf8"))![1]!;
  mustHide(parse(mustSucceed(exec(neighbour, ["/bin/sh", "-c", LIST, "sh", inside])).stdout));
});

const KINDS: readonly HookKind[] = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
];

/** A hook that lists what it can see of itself, to its standard output, and that to a file. */
const listing = (dir: string, kind: HookKind): Hook => ({
  path: "/bin/sh",
  args: [
    "sh",
    "-c",
    `${SELF}; for n in 0 1 2; do readlink /proc/$1/fd/$n; done > ${dir}/${kind}.fds; exec > ${dir}/${kind}; ${LIST}`,
  ],
  env: ["PATH=/bin:/usr/bin"],
});

/** A caller that leaves descriptors open, blocks and ignores signals, and has an environment. */
const CARELESS = ["sh", "-c", 'trap "" USR1 PIPE; exec 3< /etc/passwd 9< /etc; exec "$@"', "sh"];

test("hooks: the state on standard input, a place for their output, and nothing else of tsrun", () => {
  // A hook runs on the host, and whoever has called this may have left something there.
  const others = readdirSync("/dev/shm").map((name) => `/dev/shm: ${name}`);
  const b = bundle(hooked);
  const options = { through: CARELESS, env: { ...PLAIN_ENV, LEAKED: "yes" } };
  mustSucceed(create(b, options));
  mustSucceed(start(b, options));
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  mustSucceed(remove(b, options));
  for (const kind of KINDS) {
    const seen = parse(readFileSync(`${b.dir}/log/${kind}`, "utf8"));
    seen.delete("fd/1"); // The file.
    const links = readFileSync(`${b.dir}/log/${kind}.fds`, "utf8").trim().split("\n");
    const own = ["/memfd:state (deleted)", "/memfd:output (deleted)"];
    if (RUNTIME_NAME === "tsrun") expect([kind, links[0], links[2]]).toEqual([kind, ...own]);
    expect([kind, ...descriptors(seen)]).toEqual([kind, "fd/0", "fd/2"]);
    expect([kind, seen.get("environ")]).toEqual([kind, "PATH=/bin:/usr/bin"]);
    mustHaveNoSignals(seen);
    expect([kind, field(seen, "TracerPid")]).toEqual([kind, "0"]);
    expect([kind, seen.get("timers")]).toEqual([kind, ""]);
    expect([kind, auxiliary(seen).get(AT_FLAGS)]).toEqual([kind, 0n]);
    const named = giveaways(seen).filter(
      (line) => !/memfd:(state|output)|^net\/unix/.test(line) && !others.includes(line),
    );
    expect([kind, ...named]).toEqual([kind]);
  }
});

function hooked(config: Config, at: { dir: string }): void {
  const log = `${at.dir}/log`;
  mkdirSync(log);
  config.mounts.push({ destination: log, type: "bind", source: log, options: ["bind"] });
  config.hooks = Object.fromEntries(KINDS.map((kind) => [kind, [listing(log, kind)]]));
  config.process.args = ["/bin/sleep", "1000"];
}
