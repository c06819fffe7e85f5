import { TsrunError } from "../errors.ts";
import { utf8 } from "../text.ts";

/** The transient unit that holds a container, and where systemd keeps it. */
export interface ScopeName {
  /** `tsrun-box.scope` */
  readonly unit: string;
  /** `machine.slice`; `-.slice` is the root. */
  readonly slice: string;
}

const POINTER = "/linux/cgroupsPath";
/** UNIT_NAME_MAX of systemd is 256 with the NUL. */
const LONGEST_NAME = 255;

/**
 * The scope that `slice:prefix:name` asks for: `prefix-name.scope` in that slice, as with runc and crun, whose callers
 * know the unit by this name. What is empty has a default: the slice `system.slice`, for a user's own systemd
 * `user.slice`; the name the container's id; a path that is absent altogether the prefix `tsrun`.
 */
export function scopeName(cgroupsPath: string | undefined, id: string, user: boolean): ScopeName {
  const path = cgroupsPath === undefined || cgroupsPath === "" ? `:tsrun:${id}` : cgroupsPath;
  const parts = path.split(":");
  const [slice = "", prefix = "", given = ""] = parts;
  if (parts.length !== 3) throw notThreeParts(path);
  const name = given === "" ? id : given;
  checkName(prefix, path);
  checkName(name, path);
  const unit = `${escapeUnitName(`${prefix}-${name}`)}.scope`;
  if (unit.length > LONGEST_NAME) throw tooLong(unit);
  const inSlice = slice === "" ? (user ? "user.slice" : "system.slice") : slice;
  sliceComponents(inSlice);
  return { unit, slice: inSlice };
}

/** Engines know this text. */
function notThreeParts(path: string): TsrunError {
  const message = `expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got ${JSON.stringify(path)} instead`;
  return wrong(message, "such as system.slice:tsrun:NAME; a path is for the cgroupfs driver, without --systemd-cgroup");
}

function checkName(name: string, path: string): void {
  if (name.includes("/") || name.includes("\0")) {
    throw wrong(
      `cannot make a unit for cgroupsPath ${JSON.stringify(path)}: prefix and name are parts of a file name`,
      'leave out "/"',
    );
  }
  if (!name.endsWith(".slice")) return;
  throw wrong(
    `cannot make a unit for cgroupsPath ${JSON.stringify(path)}: a container is a scope, ${JSON.stringify(name)} names a slice`,
    "the slice is the first of the three parts",
  );
}

function tooLong(unit: string): TsrunError {
  const message = `cannot name a systemd unit ${JSON.stringify(unit)}: its ${unit.length} characters are more than ${LONGEST_NAME}`;
  return wrong(message, "give the container a shorter id, or a shorter name in linux.cgroupsPath");
}

function wrong(message: string, hint: string): TsrunError {
  return new TsrunError(`${message} (linux.cgroupsPath)`, { code: "EINVALIDCONFIG", pointer: POINTER, hint });
}

const UNIT_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@";

/** What no unit name may have (systemd.unit(5)), such as the "+" of an id, becomes `\x2b`, as systemd-escape(1) has it. */
export function escapeUnitName(name: string): string {
  let escaped = "";
  for (const byte of utf8(name)) {
    const character = String.fromCharCode(byte);
    escaped += UNIT_CHARACTERS.includes(character) ? character : `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return escaped;
}

/**
 * The slices on the way to one, outermost first: `a-b.slice` is in `a.slice` (systemd.slice(5)). None for `-.slice`.
 * Throws for what systemd takes for no slice.
 */
export function sliceComponents(slice: string): string[] {
  const name = slice.endsWith(".slice") ? slice.slice(0, -".slice".length) : "";
  if (name === "-") return [];
  const parts = name.split("-");
  if (parts.includes("") || escapeUnitName(name) !== name || slice.length > LONGEST_NAME) {
    throw wrong(
      `invalid slice name: ${JSON.stringify(slice)}`,
      "a slice is such as machine.slice, or machine-web.slice in machine.slice: no path, no empty part between dashes",
    );
  }
  return parts.map((_, i) => `${parts.slice(0, i + 1).join("-")}.slice`);
}

/**
 * The scope's cgroup, from the root of the hierarchy: `/machine.slice/machine-web.slice/tsrun-box.scope`. `manager` is
 * the cgroup that this systemd has its own units in (the ControlGroup property): empty for the one that is process 1 of
 * a machine, `/user.slice/user-1000.slice/user@1000.service` for a user's.
 */
export function scopeCgroup({ unit, slice }: ScopeName, manager: string): string {
  const root = manager === "/" ? "" : manager;
  return [root, ...sliceComponents(slice).map(cgroupName), cgroupName(unit)].join("/");
}

/**
 * The name that systemd gives the cgroup of a unit: one that the kernel might take for a file of a cgroup, such as
 * `cpu.slice`, gets an underscore (cg_needs_escape in systemd's source).
 */
function cgroupName(unit: string): string {
  const controllers = ["cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "devices", "pids"];
  const first = unit.slice(0, unit.indexOf("."));
  const isLikeAFile = /^[_.]/.test(unit) || first === "cgroup" || controllers.includes(first);
  return isLikeAFile ? `_${unit}` : unit;
}
