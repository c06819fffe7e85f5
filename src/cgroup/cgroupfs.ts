import type { ErrnoName } from "../abi/errno.ts";
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH, O_WRONLY } from "../abi/fcntl.ts";
import { propertyOf } from "../errors.ts";
import type { PlanContext } from "../plan/context.ts";
import { add, CAUSE, label, type Program, place, type Slot, type SlotTable, type Step, slot } from "../plan/step.ts";
import { type ContainerCgroup, levelsOf } from "./paths.ts";
import type { CgroupFinding, CpusetFinding, HandDown } from "./read-cgroups.ts";
import type { RequiredController } from "./required.ts";

const POINTER = "/linux/cgroupsPath";

/**
 * Makes the container's cgroups and enters those of v1, at the beginning of the agent's first program: its child is
 * born there. The agent does it, not tsrun, for two reasons: tsrun plans on meanwhile; and a thread that moves itself,
 * by "0" in v1's `tasks`, spares the kernel the wait for all processors that moving another process takes (measured,
 * nine hierarchies: 0.15 ms in place of 4.5). Returns the descriptor of v2's cgroup for CLONE_INTO_CGROUP, if there is one.
 */
export function planCgroup(context: PlanContext, cgroups: readonly CgroupFinding[]): Slot | undefined {
  for (const { directory, cpuset, handDown } of cgroups) {
    for (const level of levelsOf(directory)) planDirectory(context.unshare, level);
    for (const each of handDown) planHandDown(context.unshare, context.slots, each);
    if (cpuset !== undefined) planCpuset(context.unshare, context.slots, cpuset);
  }
  const joined = cgroups.map(({ directory }) => ({ version: directory.hierarchy.version, path: directory.path }));
  return planCgroupJoin(context.unshare, context.slots, joined);
}

/**
 * Enters existing cgroups of v1. Returns the descriptor of v2's, for clone3(2) with CLONE_INTO_CGROUP; the child has to
 * close its copy before anything of the container can reach it (CVE-2024-21626).
 */
export function planCgroupJoin(
  program: Program,
  slots: SlotTable,
  cgroups: readonly ContainerCgroup[],
): Slot | undefined {
  const fd = slot(slots, "cgroup file");
  let unified: Slot | undefined;
  for (const { version, path } of cgroups) {
    if (version === 1) {
      planWrite(program, fd, `${path}/tasks`, "0", `join cgroup "${path}"`);
      continue;
    }
    unified = slot(slots, "cgroup");
    add(program, {
      call: "openat",
      args: [AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0],
      into: unified,
      what: `open cgroup "${path}"`,
      pointer: POINTER,
    });
  }
  return unified;
}

function planDirectory(program: Program, path: string): void {
  const what = `create cgroup "${path}"`;
  add(program, { call: "mkdirat", args: [AT_FDCWD, path, 0o755], tolerate: ["EEXIST"], what, pointer: POINTER });
}

function planCpuset(program: Program, slots: SlotTable, { cpus, mems, empty }: CpusetFinding): void {
  const fd = slot(slots, "cpuset file");
  for (const path of empty) {
    planWrite(program, fd, `${path}/cpuset.cpus`, cpus, `give cgroup "${path}" the processors of the one above it`);
    planWrite(program, fd, `${path}/cpuset.mems`, mems, `give cgroup "${path}" the memory nodes of the one above it`);
  }
}

/**
 * What nobody has asked for and cannot be handed down (a real-time process in the way, processes in an inner cgroup, a
 * controller that is bound to v1) is no error. All in one write first, which is all or nothing.
 */
function planHandDown(program: Program, slots: SlotTable, { path, controllers, required }: HandDown): void {
  const fd = slot(slots, "subtree_control");
  const done = label();
  const file = `${path}/cgroup.subtree_control`;
  const what = `hand down controllers from cgroup "${path}"`;
  add(program, {
    call: "openat",
    args: [AT_FDCWD, file, O_WRONLY | O_CLOEXEC, 0],
    into: fd,
    what,
    ...(required.length > 0 ? { pointer: required[0]!.pointer } : { tolerate: REFUSALS, onTolerated: done }),
  });
  const close = label();
  const all = controllers.map((controller) => `+${controller}`).join(" ");
  add(program, { call: "write", args: [fd, all, all.length], what, tolerate: REFUSALS, onPositive: close });
  for (const controller of controllers) {
    const word = `+${controller}`;
    const wanted = required.find((each) => each.controller === controller);
    const refusal = wanted === undefined ? { tolerate: REFUSALS } : refusalOf(path, wanted);
    add(program, { call: "write", args: [fd, word, word.length], what, ...refusal });
  }
  place(program, close);
  add(program, { call: "close", args: [fd], what });
  place(program, done);
}

function refusalOf(path: string, { controller, pointer }: RequiredController): Pick<Step, "pointer" | "says" | "hint"> {
  const message = `cannot use the cgroup controller "${controller}": cgroup "${path}" cannot hand it down`;
  const hint = `see what this says: echo +${controller} > ${path}/cgroup.subtree_control`;
  return { pointer, says: { "*": `${message}: ${CAUSE} (${propertyOf(pointer)})` }, hint };
}

const REFUSALS: readonly ErrnoName[] = [
  "EACCES",
  "EPERM",
  "EROFS",
  "EBUSY",
  "EINVAL",
  "ENOENT",
  "EOPNOTSUPP",
  "ENODEV",
];

function planWrite(program: Program, fd: Slot, file: string, content: string, what: string): void {
  add(program, { call: "openat", args: [AT_FDCWD, file, O_WRONLY | O_CLOEXEC, 0], into: fd, what, pointer: POINTER });
  add(program, { call: "write", args: [fd, content, content.length], what, pointer: POINTER });
  add(program, { call: "close", args: [fd], what });
}
