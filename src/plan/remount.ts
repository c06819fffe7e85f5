import { FSPICK_CLOEXEC, FSPICK_EMPTY_PATH } from "../abi/mount.ts";
import { hasUserNamespace, type PlanContext } from "./context.ts";
import { planAttributes } from "./mount-attributes.ts";
import type { MountEntry } from "./mount-entry.ts";
import { changeAttributes, closeFd, configure, reconfigure } from "./mount-steps.ts";
import { openInRoot } from "./paths.ts";
import { add, slot } from "./step.ts";

/** Changes what is mounted there already: its attributes, and without "bind" the file system's options as well. */
export function planRemount(context: PlanContext, entry: MountEntry): void {
  const { options, origin } = entry;
  const { build, slots } = context;
  const target = slot(slots, `remount ${entry.destination}`);
  openInRoot(build, target, context.rootfs, entry.destination, origin);
  const data = [...options.superblock, ...options.data];
  if (options.bind === "" && data.length > 0) {
    const system = slot(slots, `context of ${entry.destination}`);
    add(build, { call: "fspick", args: [target, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH], into: system, ...origin });
    configure(build, system, data, origin);
    reconfigure(build, system, origin);
    closeFd(build, system);
  }
  const locked = hasUserNamespace(context) || context.facts.inUserNamespace;
  planAttributes(build, target, options.attributes, false, locked, origin);
  planAttributes(build, target, options.recursive, true, locked, origin);
  for (const { type, recursive } of options.propagation) {
    changeAttributes(build, target, { propagation: type, recursive }, origin);
  }
  closeFd(build, target);
}
