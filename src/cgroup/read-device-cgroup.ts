import * as bpf from "../abi/bpf.ts";
import { close, openDirectory, readText } from "../kernel/files.ts";
import { addressOf, sys } from "../kernel/kernel.ts";
import { parseDeviceList } from "./device-list.ts";
import type { DeviceModel } from "./device-rules.ts";
import type { DeviceCgroup } from "./plan-device-rules.ts";

/**
 * Which of a container's cgroups (cgroup_paths of its state) decides about devices, and what it does now: v1's devices
 * controller where there is one, or else BPF programs at v2's cgroup. Of a cgroup that is not made yet, what it will do
 * when it is. Undefined where there is none. `told` is what tsrun last made it do: what a v1 cgroup denies of all cannot
 * be read.
 */
export function readDeviceCgroup(
  cgroupPaths: Readonly<Record<string, string>>,
  told?: DeviceModel,
): DeviceCgroup | undefined {
  const v1 = cgroupPaths.devices;
  if (v1 !== undefined) {
    const listed = parseDeviceList(readList(v1));
    return { version: 1, path: v1, current: listed.allowsByDefault && told?.allowsByDefault ? told : listed };
  }
  const v2 = cgroupPaths[""];
  return v2 === undefined ? undefined : { version: 2, path: v2, programs: readDevicePrograms(v2) };
}

/** A new cgroup begins as a copy of the one above it. */
function readList(path: string): string {
  for (let level = path; level !== ""; level = level.slice(0, level.lastIndexOf("/"))) {
    const text = readText(`${level}/devices.list`);
    if (typeof text === "string") return text;
  }
  return "a *:* rwm\n";
}

/** The kernel's own limit (BPF_CGROUP_MAX_PROGS). */
const MAX_PROGRAMS = 64;

/** Ids of the device programs at this cgroup itself. None where the kernel does not say: then it takes no new one either. */
export function readDevicePrograms(path: string): number[] {
  const directory = openDirectory(path);
  if (directory < 0) return [];
  const ids = new Int32Array(MAX_PROGRAMS);
  // struct bpf_attr.query: target_fd, attach_type, query_flags, attach_flags, prog_ids, prog_cnt
  const attributes = new BigUint64Array([
    BigInt(directory) | (BigInt(bpf.BPF_CGROUP_DEVICE) << 32n),
    0n,
    BigInt(addressOf(ids)),
    BigInt(MAX_PROGRAMS),
  ]);
  const failed = sys("bpf", bpf.BPF_PROG_QUERY, attributes, 32);
  close(directory);
  return failed < 0 ? [] : [...ids.subarray(0, Number(attributes[3]! & 0xffffffffn))];
}
