import { TsrunError } from "../errors.ts";
import { type ContainerCgroup, containerCgroups } from "./paths.ts";

/**
 * `exec --cgroup`, as runc has it: `PATH`, the same in every hierarchy, or for v1 `CONTROLLER[,CONTROLLER…]:PATH`, once
 * for each. Returns controller, or "" for all, to a path below the container's cgroup, empty for that cgroup itself.
 */
export function parseSubCgroups(values: readonly string[]): Map<string, string> {
  const paths = new Map<string, string>();
  for (const value of values) {
    const colon = value.indexOf(":");
    if (colon < 0 && values.length > 1) throw invalid(value, "of several, each needs its CONTROLLER: in front");
    const path = innerPath(colon < 0 ? value : value.slice(colon + 1));
    if (colon < 0) paths.set("", path);
    else for (const controller of value.slice(0, colon).split(",")) addPath(paths, controller, path, value);
  }
  return paths;
}

function addPath(paths: Map<string, string>, controller: string, path: string, value: string): void {
  if (controller === "") throw invalid(value, "no controller in front of the colon");
  if (paths.has(controller)) throw invalid(value, `controller ${controller} is given twice`);
  paths.set(controller, path);
}

function invalid(value: string, fault: string): TsrunError {
  return new TsrunError(`invalid --cgroup argument: ${value}: ${fault}`, { code: "EINVAL" });
}

/** `a/./b/../c` → `a/c`; never above where it starts, not even on the way. */
function innerPath(path: string): string {
  const kept: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") {
      if (kept.pop() === undefined) {
        const message = `bad sub cgroup path: ${path}: it leads out of the container's cgroup (--cgroup)`;
        throw new TsrunError(message, { code: "EINVAL" });
      }
    } else if (part !== "" && part !== ".") kept.push(part);
  }
  return kept.join("/");
}

/** The cgroups to enter: the container's (state.json's cgroup_paths), with what --cgroup asks for below them. */
export function subCgroups(
  cgroupPaths: Readonly<Record<string, string>>,
  wanted: ReadonlyMap<string, string>,
): ContainerCgroup[] {
  const own = new Map(Object.entries(cgroupPaths));
  const everywhere = wanted.get("");
  const below = new Map<string, string>();
  for (const [controller, inner] of wanted) {
    const path = own.get(controller);
    if (everywhere === undefined && path === undefined) throw unknownController(controller, [...own.keys()]);
    // Controllers that share a hierarchy share its directory.
    if (path !== undefined && below.has(path) && below.get(path) !== inner) {
      throw invalid(`${controller}:${inner}`, `it shares its hierarchy with a controller that has another path`);
    }
    if (path !== undefined) below.set(path, inner);
  }
  return containerCgroups(cgroupPaths).map(({ version, path }) => {
    const inner = everywhere ?? below.get(path) ?? "";
    return { version, path: inner === "" ? path : `${path}/${inner}` };
  });
}

function unknownController(controller: string, known: readonly string[]): TsrunError {
  const onV2 = known.every((name) => name === "");
  return new TsrunError(`unknown controller ${JSON.stringify(controller)} (--cgroup)`, {
    code: "EINVAL",
    hint: onV2
      ? "cgroup v2 has one path for all controllers: leave out what is before the colon"
      : `the container's controllers are ${known.filter((name) => name !== "").join(", ")}`,
  });
}
