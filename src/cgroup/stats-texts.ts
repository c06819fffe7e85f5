/** How cgroup files write what they count (kernel: admin-guide/cgroup-v2.rst, "Format"). */

/** The text of one file of a cgroup; undefined when it does not exist. */
export type Texts = (file: string) => string | undefined;

export const NO_TEXTS: Texts = () => undefined;

export const MAX_UINT64 = (1n << 64n) - 1n;

/** A number; `max` is the largest one; 0 for what is absent or below 0, as runc has it. */
export function count(text: string | undefined): bigint {
  const word = text?.trim() ?? "";
  if (word === "max") return MAX_UINT64;
  return /^\d+$/.test(word) ? BigInt.asUintN(64, BigInt(word)) : 0n;
}

/** Lines of `key number`; what is no such line is left out. */
export function counts(text: string | undefined): Map<string, bigint> {
  const found = new Map<string, bigint>();
  for (const line of (text ?? "").split("\n")) {
    const match = /^(\S+) (\d+)$/.exec(line);
    if (match !== null) found.set(match[1]!, BigInt(match[2]!));
  }
  return found;
}

/** Numbers between spaces. */
export function row(text: string | undefined): bigint[] {
  return (text ?? "")
    .split(/\s+/)
    .filter((word) => /^\d+$/.test(word))
    .map(BigInt);
}

/** `0-2,7` → 0, 1, 2, 7. */
export function listed(text: string | undefined): bigint[] {
  const numbers: bigint[] = [];
  for (const range of (text ?? "").trim().split(",")) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(range);
    if (match === null) continue;
    const last = Number(match[2] ?? match[1]);
    for (let n = Number(match[1]); n <= last; n++) numbers.push(BigInt(n));
  }
  return numbers;
}
