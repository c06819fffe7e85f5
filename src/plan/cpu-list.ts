import { propertyOf, TsrunError } from "../errors.ts";

/** `0-3,7` (cpuset(7) "List format") as the bit mask of sched_setaffinity(2), in whole 64-bit words. `pointer`: where it stands. */
export function cpuSet(list: string, pointer = ""): Uint8Array {
  const cpus: [number, number][] = list.split(",").map((range) => parseRange(range, list, pointer));
  const words = Math.floor(Math.max(...cpus.map(([, last]) => last)) / 64) + 1;
  const mask = new Uint8Array(words * 8);
  for (const [first, last] of cpus) {
    for (let cpu = first; cpu <= last; cpu++) mask[cpu >> 3] = mask[cpu >> 3]! | (1 << (cpu & 7));
  }
  return mask;
}

function parseRange(range: string, list: string, pointer: string): [number, number] {
  const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(range.trim());
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match !== null && first <= last) return [first, last];
  const where = pointer === "" ? "" : ` (${propertyOf(pointer)})`;
  const message = `cannot read ${JSON.stringify(list)} as a list of processors: should be such as 0-3,7${where}`;
  throw new TsrunError(message, { code: "EINVAL", pointer: pointer || undefined });
}
