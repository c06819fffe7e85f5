import * as bpf from "../abi/bpf.ts";
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_RDONLY, O_WRONLY } from "../abi/fcntl.ts";
import { propertyOf } from "../errors.ts";
import {
  add,
  bytes,
  type Data,
  type Program,
  pair,
  type Slot,
  type SlotTable,
  type Step,
  slot,
  space,
  struct,
} from "../plan/step.ts";
import { deviceFilter, INSTRUCTION_SIZE } from "./device-filter.ts";
import { type DeviceWrite, deviceWrites } from "./device-list.ts";
import { allowsEverything, type DeviceModel } from "./device-rules.ts";

/** The container's cgroup that decides about devices, and what it does so far (readDeviceCgroup). */
export type DeviceCgroup =
  | { readonly version: 1; readonly path: string; readonly current: DeviceModel }
  /** Ids of the programs that are attached to the cgroup itself, not to those above it. */
  | { readonly version: 2; readonly path: string; readonly programs: readonly number[] };

/** Both run by tsrun, one after the other; the same program twice where there is nothing to do in between. */
export interface DevicePrograms {
  /** What has no effect yet. */
  readonly prepare: Program;
  readonly restrict: Program;
  readonly slots: SlotTable;
}

/**
 * Makes the cgroup decide as `model` does, whatever it does before, also while processes are in it: what is refused
 * before and after is refused all the time (but see deviceWrites). A v1 cgroup that allowed by default refuses
 * everything for a moment.
 */
export function planDeviceRules(programs: DevicePrograms, cgroup: DeviceCgroup, model: DeviceModel): void {
  if (cgroup.version === 1) {
    planList(programs.restrict, programs.slots, cgroup.path, deviceWrites(cgroup.current, model));
  } else if (cgroup.programs.length > 0 || !allowsEverything(model)) {
    planFilter(programs, cgroup, model);
  }
}

// --- v1 ---------------------------------------------------------------------------------------------------------------

/** The kernel takes one rule a write(2); each file is opened once for all that come one after another. */
function planList(program: Program, slots: SlotTable, cgroup: string, writes: readonly DeviceWrite[]): void {
  const fd = slot(slots, "device list");
  let open = "";
  for (const write of writes) {
    const path = `${cgroup}/${write.file}`;
    if (open !== "" && open !== path) add(program, { call: "close", args: [fd], what: `close "${open}"` });
    if (open !== path) {
      add(program, {
        call: "openat",
        args: [AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0],
        into: fd,
        what: `open "${path}"`,
      });
    }
    open = path;
    add(program, writeStep(fd, path, write));
  }
  if (open !== "") add(program, { call: "close", args: [fd], what: `close "${open}"` });
}

function writeStep(fd: Slot, path: string, { file, text, exception }: DeviceWrite): Step {
  const pointer = exception?.pointer ?? POINTER;
  const verb = file === "devices.allow" ? "allow" : "deny";
  const what = exception === undefined ? `${verb} all devices` : `${verb} device "${text}"`;
  const step: Step = { call: "write", args: [fd, text, text.length], what: `${what}: write to "${path}"`, pointer };
  if (exception === undefined) return { ...step, ...refusalOfAll(what, path, verb) };
  if (verb === "deny") return step;
  // What nobody asked for is not worth a container; what it asked for is.
  if (pointer === "") return { ...step, tolerate: ["EPERM"] };
  const hint = "a cgroup cannot allow what the one above it denies (see its devices.list)";
  const where = ` (${propertyOf(pointer)})`;
  return { ...step, says: { EPERM: `cannot ${what}: the cgroup above "${path}" denies it${where}` }, hint };
}

/** The default action of a cgroup can only be changed while there is none below it. */
function refusalOfAll(what: string, path: string, verb: string): Pick<Step, "says" | "hint"> {
  const where = ` (${propertyOf(POINTER)})`;
  return {
    says: {
      EINVAL: `cannot ${what}: there are cgroups below that of "${path}"${where}`,
      EPERM: `cannot ${what}: the cgroup above "${path}" denies some${where}`,
    },
    hint: verb === "allow" ? "list the devices that are needed" : "remove the cgroups below it first",
  };
}

const POINTER = "/linux/resources/devices";

// --- v2 ---------------------------------------------------------------------------------------------------------------

/**
 * The new program is attached before the old ones go, so that at least one decides all the time; a single old one is
 * replaced in one go, as runc does, whoever it is from: of several, each can only take more away.
 */
function planFilter(
  { prepare, restrict, slots }: DevicePrograms,
  { path, programs }: DeviceCgroup & { version: 2 },
  model: DeviceModel,
): void {
  const directory = slot(slots, "cgroup directory");
  const filter = slot(slots, "device program");
  const what = `attach the device program to cgroup "${path}"`;
  const flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  add(prepare, loadStep(deviceFilter(model), filter));
  add(restrict, { call: "openat", args: [AT_FDCWD, path, flags, 0], into: directory, what: `open cgroup "${path}"` });
  const old = programs.map((id) => planProgramById(restrict, slots, id));
  const replaced = old.length === 1 ? old[0] : undefined;
  const hint = "a program at a cgroup above may allow no other one beside it";
  add(restrict, { ...attachStep(directory, filter, replaced), what, pointer: POINTER, hint });
  for (const each of old) {
    if (each !== replaced) add(restrict, detachStep(directory, each, path));
    add(restrict, { call: "close", args: [each], what: "close an old device program" });
  }
  add(restrict, { call: "close", args: [filter], what: "close the device program" });
  add(restrict, { call: "close", args: [directory], what: `close cgroup "${path}"` });
}

/** "tsrun_devices", as `bpftool prog` shows it. */
const NAME = [0x65645f6e75727374n, 0x0000007365636976n] as const;
const LICENSE = "Apache-2.0";
const LOG_SIZE = 65_536;

function loadStep(filter: Uint8Array, into: Slot): Step {
  const log = space(LOG_SIZE);
  const code = bytes(filter);
  const count = filter.length / INSTRUCTION_SIZE;
  const attributes = (level: number, size: number, buffer: Data | number): Data =>
    struct(
      "bpf_attr",
      pair(bpf.BPF_PROG_TYPE_CGROUP_DEVICE, count),
      code,
      LICENSE,
      pair(level, size),
      buffer,
      0,
      ...NAME,
      pair(0, bpf.BPF_CGROUP_DEVICE),
    );
  return {
    call: "bpf",
    args: [bpf.BPF_PROG_LOAD, attributes(0, 0, 0), 72],
    into,
    retry: true,
    what: `load a device program of ${count} instructions`,
    pointer: POINTER,
    explain: { args: [bpf.BPF_PROG_LOAD, attributes(1, LOG_SIZE, log), 72], log },
    hint: "the kernel needs CONFIG_CGROUP_BPF, and tsrun CAP_BPF and CAP_NET_ADMIN or CAP_SYS_ADMIN",
  };
}

function planProgramById(program: Program, slots: SlotTable, id: number): Slot {
  const found = slot(slots, `device program ${id}`);
  const what = `open the device program ${id}`;
  add(program, {
    call: "bpf",
    args: [bpf.BPF_PROG_GET_FD_BY_ID, struct("bpf_attr", pair(id, 0), pair(0, 0)), 12],
    into: found,
    what,
  });
  return found;
}

function attachStep(directory: Slot, filter: Slot, replaced: Slot | undefined): Pick<Step, "call" | "args"> {
  const target = pair(directory, filter);
  if (replaced === undefined) {
    const attributes = struct("bpf_attr", target, pair(bpf.BPF_CGROUP_DEVICE, bpf.BPF_F_ALLOW_MULTI));
    return { call: "bpf", args: [bpf.BPF_PROG_ATTACH, attributes, 16] };
  }
  const flags = bpf.BPF_F_ALLOW_MULTI | bpf.BPF_F_REPLACE;
  const attributes = struct("bpf_attr", target, pair(bpf.BPF_CGROUP_DEVICE, flags), pair(replaced, 0));
  return { call: "bpf", args: [bpf.BPF_PROG_ATTACH, attributes, 24] };
}

function detachStep(directory: Slot, old: Slot, path: string): Step {
  const attributes = struct("bpf_attr", pair(directory, old), pair(bpf.BPF_CGROUP_DEVICE, 0));
  const what = `detach an old device program from cgroup "${path}"`;
  return { call: "bpf", args: [bpf.BPF_PROG_DETACH, attributes, 16], what, tolerate: ["ENOENT"] };
}
