import { existsSync, readFileSync } from "node:fs";

/** Which of the two worlds of cgroups programs see. */
export const CGROUPS = existsSync("/sys/fs/cgroup/cgroup.procs") ? "v2" : "v1";

/**
 * A word of the lists: `all`, `v1`, `v2` (which cgroups there are), `no:PATH` (no such file on this machine), or `no:capabilities`
 * (root does not have all that the kernel knows).
 */
export function isTrue(word: string): boolean {
  if (word === "all" || word === CGROUPS) return true;
  if (word === "v1" || word === "v2") return false;
  if (word === "no:capabilities") return !hasEveryCapability();
  if (word.startsWith("no:/")) return !existsSync(word.slice(3));
  throw new Error(`expected.txt: what is "${word}"?`);
}

function hasEveryCapability(): boolean {
  const effective = /^CapEff:\t(\w+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  const last = BigInt(readFileSync("/proc/sys/kernel/cap_last_cap", "utf8").trim());
  return BigInt(`0x${effective}`) === (1n << (last + 1n)) - 1n;
}
