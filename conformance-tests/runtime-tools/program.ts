import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, resolve } from "node:path";
import { command, PLAIN_ENV } from "../../tests/helpers/command.ts";
import { cgroupsOf, processesOf, removeLeaks } from "../../tests/helpers/leaks.ts";
import { slow } from "../../tests/helpers/time.ts";
import type { Ending } from "./judge.ts";
import { CGROUPS } from "./machine.ts";

/** Where the suite's programs are: what programs.sh prints. */
export const PROGRAMS = programsDirectory();

const TIME_LIMIT_S = 60;

/**
 * Some programs ask for cgroups by a fixed path: /cgrouptest, or testdir/cgrouptest/container, whose parents stay as they do with
 * runc. None of them knows cgroup v2, so where that is all there is, such cgroups belong to another lane.
 */
const FIXED_CGROUPS = CGROUPS === "v1" ? ["cgrouptest", "testdir"] : [];

/** Some programs let containers mount in their own mount namespace, and would empty what is mounted in them. */
const NAMESPACES = ["unshare", "--mount", "--ipc", "--propagation", "private"];

const SCRIPT = '"$1"; status=$?; cat /proc/self/mountinfo >"$2"; exit $status';

/**
 * Runs a program of the suite against a runtime (a path, or a name in PATH), in a mount and an IPC namespace and with a state root
 * and a temporary directory of its own, and says how it ended and what was left then; what was left is removed.
 */
export async function runProgram(program: string, runtime: string): Promise<Ending> {
  const home = mkdtempSync(`/tmp/t${process.pid}-${program}-`);
  const mark = basename(home);
  chmodSync(home, 0o755); // A container with its own user namespace has to get through.
  mkdirSync(`${home}/tmp`, { mode: 0o755 });
  writeFileSync(`${home}/runtime`, wrapper(runtime, home), { mode: 0o755 });
  const child = Bun.spawn({
    cmd: [
      ...["timeout", "-s", "KILL", String(slow(TIME_LIMIT_S)), ...NAMESPACES],
      ...["sh", "-c", SCRIPT, program, `${PROGRAMS}/${program}`, `${home}/mounts`],
    ],
    cwd: PROGRAMS,
    env: { ...PLAIN_ENV, TMPDIR: `${home}/tmp`, RUNTIME: `${home}/runtime` },
    stdio: ["ignore", Bun.file(`${home}/stdout`), Bun.file(`${home}/stderr`)],
  });
  const status = await child.exited;
  const read = (file: string) => (existsSync(`${home}/${file}`) ? readFileSync(`${home}/${file}`, "utf8") : "");
  const containers = new Set(
    read("created")
      .split("\n")
      .filter((id) => id !== ""),
  );
  const left = leftovers(home, mark, [...containers], read("mounts"));
  const ending = { status: status === 137 ? -1 : status, stdout: read("stdout"), stderr: read("stderr"), left };
  tidy(home, mark, [...containers], left);
  return ending;
}

/** Programs take one word as the runtime, and it is there that containers get their state root, and are counted. */
function wrapper(runtime: string, home: string): string {
  return `#!/bin/sh
for id; do :; done
[ "$1" != create ] || echo "$id" >>${home}/created
exec ${runtime} --root ${home}/state "$@"
`;
}

/** What is in a container's cgroup is not looked for among the processes: then the cgroup is there. */
function leftovers(home: string, mark: string, containers: readonly string[], mounts: string): string[] {
  const points = mounts.split("\n").map((line) => line.split(" ")[4] ?? "");
  const names = [...containers, ...FIXED_CGROUPS.slice(0, 1)];
  const cgroups = cgroupsOf("").filter((path) => path.split("/").some((part) => names.includes(part)));
  return [
    ...containers.filter((id) => existsSync(`${home}/state/${id}`)).map((id) => `container ${id}`),
    ...processesOf(mark).map((pid) => `process ${pid}`),
    ...new Set(cgroups.filter(isNoParent).map((path) => `cgroup ${basename(path)}`)), // Once, not for each hierarchy.
    ...points.filter((point) => point.includes(mark)).map((point) => `mount ${point.replace(/^.*\/tmp\/[^/]*/, "")}`),
  ];
}

function isNoParent(cgroup: string): boolean {
  return !cgroup.endsWith("/testdir/cgrouptest");
}

function tidy(home: string, mark: string, containers: readonly string[], left: readonly string[]): void {
  for (const id of containers.filter((id) => existsSync(`${home}/state/${id}`))) {
    command([`${home}/runtime`, "delete", "--force", id]);
  }
  if (left.length > 0) for (const word of [mark, ...containers]) removeLeaks(word);
  for (const path of FIXED_CGROUPS.flatMap(cgroupsOf)) removeCgroup(path);
  rmSync(home, { recursive: true, force: true });
}

/** With what a runtime that could not delete its container has left in it. */
function removeCgroup(path: string): void {
  try {
    for (const pid of readFileSync(`${path}/cgroup.procs`, "utf8").split("\n")) {
      if (pid !== "") process.kill(Number(pid), "SIGKILL");
    }
    rmdirSync(path);
  } catch {
    // It is gone already; or it is in use, and then the next program fails by it.
  }
}

/** The names of all programs. */
export function programs(): string[] {
  const names = readdirSync(PROGRAMS).filter((name) => /^[a-z_]+$/.test(name));
  return names.filter((name) => name !== "runtimetest").sort();
}

function programsDirectory(): string {
  const directory = process.env.RUNTIME_TOOLS;
  if (directory === undefined) throw new Error("run conformance-tests/runtime-tools/run.sh: it builds the programs");
  return resolve(directory);
}
