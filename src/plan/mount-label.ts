import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH } from "../abi/fcntl.ts";
import { utf8 } from "../text.ts";
import type { PlanContext } from "./context.ts";
import type { MountEntry } from "./mount-entry.ts";
import { closeFd, labelled } from "./mount-steps.ts";
import { addAll, bytes, type Slot, slot } from "./step.ts";

/** linux.mountLabel; undefined where there is none. */
export function mountLabelOf({ config }: PlanContext): string | undefined {
  const label = config.linux?.mountLabel ?? "";
  return label === "" ? undefined : label;
}

/** SELinux has rules of its own for what is in these, and takes no context for the whole. */
const WITHOUT_CONTEXT = ["proc", "sysfs", "mqueue"];
/** Options by which mounts[].options say it themselves. */
const CONTEXTS = ["context=", "fscontext=", "defcontext=", "rootcontext="];

/**
 * The label for a new file system of config.mounts, as runc and crun have it: for all but procfs, sysfs and mqueue, and not
 * for binds and cgroups. One among the options of the mount goes before: the kernel takes only one.
 */
export function mountContext(context: PlanContext, { mount, options }: MountEntry): string | undefined {
  if (WITHOUT_CONTEXT.includes(mount.type ?? "")) return undefined;
  if (options.data.some((option) => CONTEXTS.some((name) => option.startsWith(name)))) return undefined;
  return mountLabelOf(context);
}

/**
 * The root of an mqueue file system gets its label as a file: setxattr(2) on ".", for a descriptor of a mount cannot be
 * written to. Older kernels cannot label it.
 */
export function planLabelQueues(context: PlanContext, { mount, origin }: MountEntry, root: Slot): void {
  const mountLabel = mountLabelOf(context);
  if (mount.type !== "mqueue" || mountLabel === undefined) return;
  const { build, slots } = context;
  const back = slot(slots, "working directory");
  const value = utf8(mountLabel);
  addAll(build, [
    { call: "openat", args: [AT_FDCWD, ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0], into: back, ...origin },
    { call: "fchdir", args: [root], ...origin },
    {
      call: "setxattr",
      args: [".", "security.selinux", bytes(value), value.length, 0],
      tolerate: ["EOPNOTSUPP"],
      ...labelled(origin, mountLabel),
    },
    { call: "fchdir", args: [back], ...origin },
  ]);
  closeFd(build, back);
}
