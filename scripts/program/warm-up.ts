/**
 * What a program that is to be frozen does before: a container's whole life. The engine links a function when it is first
 * called and remembers at every place which shape of object comes by, which is half of the processor time of a short
 * command; after the warm-up a function has run once. Nothing that tsrun finds out about the machine is kept: a command
 * that is run here may as well fail, as without root or in a box, and what it would have called is linked later.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { MNT_DETACH, MS_PRIVATE, MS_REC } from "../../src/abi/mount.ts";
import { CLONE_NEWNS } from "../../src/abi/sched.ts";
import type { WarmUpPart } from "../../src/kernel/warm-start.ts";
import { defaultConfig } from "../../src/spec/default-config.ts";
import type { Config, Mount } from "../../src/spec/types.ts";
import { staticProgram } from "./static-program.ts";
import type { Recorded } from "./write-lists.ts";

/**
 * For the command lines it makes bundles in `folder`, of programs that end at once and of programs that wait. The last lines
 * of a part leave nothing behind, whatever has happened before.
 */
export function prepareWarmUp(folder: string): WarmUpPart[] {
  writeFileSync(`${folder}/file`, "");
  const engines = ENGINES.map((name) => [name, engineConfig(name, folder)] as const);
  const isRoot = process.geteuid?.() === 0;
  const config = isRoot ? engines[0]![1] : userConfig();
  for (const name of ["true", "pause"] as const) {
    writeBundle(`${folder}/${name}`, name, config);
    writeBundle(`${folder}/${name}-unlimited`, name, withoutLimits(config));
  }
  writeBundle(`${folder}/default`, "true", withWarning(isRoot ? defaultConfig() : userConfig()));
  const { resources: _, ...unlimited } = config.linux!;
  writeBundle(`${folder}/bare`, "true", { ...config, linux: unlimited });
  for (const [name, config] of engines) writeBundle(`${folder}/${name}`, "true", config);
  writeFileSync(
    `${folder}/process.json`,
    JSON.stringify({ ...config.process, args: ["/true"], cwd: "/", terminal: false }),
  );
  writeFileSync(`${folder}/resources.json`, JSON.stringify({ ...LIMITS, memory: { limit: 64 * 2 ** 20 } }));
  const plans = engines.map(([name]) => ["plan", "--bundle", `${folder}/${name}`]);
  const update = ["update", "--resources", `${folder}/resources.json`];
  const parts = [{ calls: [], lines: life(folder, "", [update], plans) }];
  const isUnified = existsSync("/sys/fs/cgroup/cgroup.controllers");
  return isUnified || !isRoot ? parts : [...parts, { calls: UNIFIED, lines: life(folder, "-unlimited", [], []) }];
}

/** A mount namespace in which there is cgroup v2 alone. Which controllers it has is another matter. */
const UNIFIED: WarmUpPart["calls"] = [
  ["unshare", CLONE_NEWNS],
  ["mount", "none", "/", "", MS_REC | MS_PRIVATE, 0],
  ["umount2", "/sys/fs/cgroup", MNT_DETACH],
  ["mount", "none", "/sys/fs/cgroup", "cgroup2", 0, 0],
];

/** `kind`: which bundles. `changes`: what is done to a running container besides, its id still to come; `others`: commands without one. */
function life(folder: string, kind: string, changes: readonly string[][], others: readonly string[][]): string[][] {
  const root = ["--root", `${folder}/state`];
  const log = ["--log", `${folder}/log`, "--log-format", "json"];
  const pidFile = ["--pid-file", `${folder}/pid`];
  // Names of cgroups too, and two builds may run at once.
  const [short, long] = [`tsrun-build-${process.pid}-a`, `tsrun-build-${process.pid}-b`];
  const lines = [
    ["run", "--bundle", `${folder}/true${kind}`, short],
    ["run", "--bundle", `${folder}/bare`, short],
    // With the filter of system calls that the first has compiled.
    ["run", "--bundle", `${folder}/true${kind}`, ...pidFile, short],
    ["create", "--bundle", `${folder}/pause${kind}`, ...pidFile, long],
    ["state", long],
    ["start", long],
    ["state", long],
    ["exec", long, "true"],
    ["exec", "--process", `${folder}/process.json`, "--detach", ...pidFile, long],
    ["ps", "--format", "json", long],
    ...changes.map((line) => [...line, long]),
    ["pause", long],
    ["resume", long],
    ["events", "--stats", long],
    ["list"],
    ["kill", long, "TERM"],
    ["kill", "--all", long, "KILL"],
    ["delete", "--force", long],
    ["delete", "--force", short],
    ...others,
  ];
  return [
    // As a person calls it, and then as an engine does.
    [...root, "run", "--bundle", `${folder}/default`, short],
    ...lines.map((line) => [...root, ...log, ...line]),
    ["list"],
    ["--version"],
  ];
}

/** What is run once more when the program is frozen, to see what memory it needs: what engines call, and `--version` for the rest. */
export function recordedLines(folder: string): Recorded[] {
  const root = ["--root", `${folder}/state`];
  const name = `tsrun-build-${process.pid}-c`;
  const lines = [
    ["run", "--bundle", `${folder}/true`, name],
    ["run", "--bundle", `${folder}/default`, name],
    ["create", "--bundle", `${folder}/pause`, name],
    ["state", name],
    ["start", name],
    ["state", name],
    ["exec", name, "true"],
    ["exec", "--process", `${folder}/process.json`, "--detach", name],
    ["ps", "--format", "json", name],
    ["update", "--resources", `${folder}/resources.json`, name],
    ["pause", name],
    ["resume", name],
    ["kill", name, "KILL"],
    ["delete", "--force", name],
  ];
  const recorded = lines.map((line) => ({ command: line[0]!, line: [...root, ...line] }));
  return [...recorded, { command: "", line: ["--version"] }];
}

/** Cgroup v2 may be there without the controllers for them. */
function withoutLimits(config: Config): Config {
  return { ...config, linux: { ...config.linux, resources: { devices: config.linux?.resources?.devices ?? [] } } };
}

/** What runc's `spec` has, and cannot be had: ambient capabilities that are not inheritable. */
function withWarning(config: Config): Config {
  const capabilities = { ...config.process!.capabilities, ambient: ["CAP_KILL"] };
  return { ...config, process: { ...config.process!, capabilities } };
}

function writeBundle(bundle: string, name: "true" | "pause", config: Config): void {
  mkdirSync(`${bundle}/rootfs/etc`, { recursive: true });
  writeFileSync(`${bundle}/rootfs/etc/passwd`, "root:x:0:0:root:/root:/bin/sh\n");
  for (const program of ["true", "pause"] as const) {
    writeFileSync(`${bundle}/rootfs/${program}`, staticProgram(program), { mode: 0o755 });
  }
  chmodSync(`${bundle}/rootfs`, 0o755);
  // Looked for, as most programs are.
  const process = {
    ...config.process!,
    args: [name],
    env: [...(config.process!.env ?? []), "PATH=/bin:/"],
    terminal: false,
  };
  writeFileSync(`${bundle}/config.json`, JSON.stringify({ ...config, process, root: { path: "rootfs" } }));
}

const LIMITS = { cpu: { quota: 50_000, period: 100_000 }, pids: { limit: 100 } };

const ENGINES = ["docker-29", "ctr-1.6", "podman-4.3", "cri-containerd2.3-kubelet-container"];

/** As the engine writes it, for a container with a few limits. */
function engineConfig(name: string, folder: string): Config {
  const path = `${import.meta.dir}/../../src/spec/testdata/${name}.json`;
  const { hooks: _hooks, ...config }: Config = JSON.parse(readFileSync(path, "utf8"));
  const { cgroupsPath: _, ...linux } = config.linux!;
  const memory = { ...linux.resources?.memory, limit: 128 * 2 ** 20 };
  const resources = { ...linux.resources, ...LIMITS, memory };
  const mounts = config.mounts!.map((mount) => withOwnSource(mount, folder));
  return { ...config, mounts, linux: { ...linux, resources } };
}

/** Docker's own files are not here. */
function withOwnSource(mount: Mount, folder: string): Mount {
  return mount.type === "bind" ? { ...mount, source: `${folder}/file` } : mount;
}

function userConfig(): Config {
  return defaultConfig({ rootless: { uid: process.geteuid!(), gid: process.getegid!() } });
}
