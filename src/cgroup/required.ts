import type { Resources } from "../spec/types.ts";
import { type CgroupPaths, resourceFiles } from "./resources.ts";

/** A controller of cgroup v2 that the container's cgroup must have, and the first property that asks for it. */
export interface RequiredController {
  readonly controller: string;
  /** JSON pointer into config.json. */
  readonly pointer: string;
}

/** What linux.resources needs of cgroup v2: on v1 a controller is where it is mounted, and needs no one to hand it down. */
export function requiredControllers(resources: Resources, cgroups: CgroupPaths): RequiredController[] {
  if (cgroups[""] === undefined) return [];
  const required = new Map<string, string>();
  for (const { controller, pointer, optional } of resourceFiles(resources, cgroups).files) {
    const onV1 = cgroups[controller === "io" ? "blkio" : controller] !== undefined;
    if (optional !== true && !onV1 && !required.has(controller)) required.set(controller, pointer);
  }
  required.delete("");
  return Array.from(required, ([controller, pointer]) => ({ controller, pointer }));
}
