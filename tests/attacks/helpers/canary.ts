import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";

/** A directory of the host that an attack aims at; see `changed`. */
export interface Canary {
  readonly dir: string;
  /** What differs from how it was when it was made; empty when nothing does. */
  readonly changed: () => string[];
}

/** Makes `dir` with `files` in it (name to content, `name/` for a directory); every one of them is to stay as it is. */
export function canary(dir: string, files: Readonly<Record<string, string>> = { file: "canary\n" }): Canary {
  mkdirSync(dir, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    if (name.endsWith("/")) mkdirSync(`${dir}/${name}`, { recursive: true });
    else writeFileSync(`${dir}/${name}`, content);
  }
  const before = picture(dir);
  return { dir, changed: () => differences(before, picture(dir)) };
}

/** Path to all that can be told of it but the time of the last look. */
function picture(path: string, into = new Map<string, string>()): Map<string, string> {
  const stat = lstatSync(path, { bigint: true });
  const { mode, uid, gid, ino, rdev, nlink, mtimeNs, ctimeNs } = stat;
  const content = stat.isFile() ? readFileSync(path, "latin1") : stat.isSymbolicLink() ? readlinkSync(path) : "";
  into.set(path, [mode.toString(8), uid, gid, ino, rdev, nlink, mtimeNs, ctimeNs, JSON.stringify(content)].join(" "));
  if (stat.isDirectory()) for (const name of readdirSync(path)) picture(`${path}/${name}`, into);
  return into;
}

/** What was made, removed or changed. */
export function differences(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): string[] {
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names
    .filter((name) => before.get(name) !== after.get(name))
    .map((name) => `${name}: was ${before.get(name) ?? "not there"}, is ${after.get(name) ?? "not there"}`);
}

/** What of the machine no container may change: mounts in the namespace of the tests, and where core dumps go. */
export function machine(): Map<string, string> {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").trimEnd().split("\n");
  return new Map([
    ...mounts.map((line): [string, string] => [`mount ${line}`, line]),
    ["core_pattern", readFileSync("/proc/sys/kernel/core_pattern", "utf8")],
    ["/dev", readdirSync("/dev").sort().join(" ")],
    ["/dev/null", deviceOf("/dev/null")],
  ]);
}

function deviceOf(path: string): string {
  const { mode, rdev, ino } = lstatSync(path);
  return `${mode.toString(8)} ${rdev} ${ino}`;
}
