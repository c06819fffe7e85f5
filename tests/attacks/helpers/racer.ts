import { closeSync, openSync, readSync } from "node:fs";
import type { Result } from "../../helpers/command.ts";
import { type Bundle, RUNTIME_NAME, type Suite } from "../../helpers/suite.ts";
import { CODE_ADDRESS, words, writeCode } from "../../helpers/syscall-program.ts";

/** Why there is no racer here. */
export const noRacer = process.arch === "x64" ? undefined : "the racer is machine code for x86-64";

/** Two paths that are exchanged, as the racer sees them. */
export type Pair = readonly [string, string];

/** Behind a jump over it. */
const COUNTER_AT = 8;
const COUNTER = CODE_ADDRESS + BigInt(COUNTER_AT);

/**
 * A static program that does nothing but renameat2(a, b, RENAME_EXCHANGE), for each pair in turn, as fast as it can, and
 * counts how often that succeeded.
 */
export function writeRacer(path: string, pairs: readonly Pair[]): void {
  const strings = pairs.flat().map((text) => new TextEncoder().encode(`${text}\0`));
  const length = codeOf(pairs.map(() => [0n, 0n])).length;
  const addresses = strings.map((_, i) => {
    const before = strings.slice(0, i).reduce((sum, { length }) => sum + length, 0);
    return CODE_ADDRESS + BigInt(length + before);
  });
  const code = codeOf(pairs.map((_, i) => [addresses[2 * i]!, addresses[2 * i + 1]!]));
  writeCode(path, new Uint8Array([...code, ...strings.flatMap((string) => [...string])]));
}

function codeOf(pairs: readonly (readonly [bigint, bigint])[]): Uint8Array {
  // jmp over the counter; for each pair: mov eax, 316; mov rdi, -100; mov rsi, a; mov rdx, -100; mov r10, b; mov r8d, 2;
  // syscall; test eax, eax; jne over: inc qword [counter]; and at the end jmp to the first pair
  const head = `eb0e${"90".repeat(COUNTER_AT - 2)}${words(8, 0n)}`;
  const exchange = ([a, b]: readonly [bigint, bigint]): string =>
    `b83c010000${"48c7c79cffffff"}48be${words(8, a)}48c7c29cffffff49ba${words(8, b)}41b8020000000f0585c0750848ff0425${words(4, COUNTER)}`;
  const loop = pairs.map(exchange).join("");
  return Uint8Array.fromHex(`${head}${loop}e9${words(4, BigInt(-(loop.length / 2 + 5)))}`);
}

/** A racer at work. */
export interface Race {
  /** Exchanges so far. */
  readonly swaps: () => bigint;
  readonly container: Bundle;
}

/**
 * Starts a racer in a container of its own, which shares `volume` with its victims at /volume: `pairs` are of names in it.
 * It ends with the test.
 */
export function startRacer(tests: Suite, volume: string, pairs: readonly Pair[]): Race {
  const container = tests.started((config, at) => {
    const inside = pairs.map(([a, b]): Pair => [`/volume/${a}`, `/volume/${b}`]);
    writeRacer(`${at.rootfs}/racer`, inside);
    config.process.args = ["/racer"];
    config.mounts.push({ destination: "/volume", type: "bind", source: volume, options: ["rbind"] });
  });
  const state = JSON.parse(tests.state(container).stdout) as { pid: number };
  const memory = openSync(`/proc/${state.pid}/mem`, "r");
  tests.after(() => closeSync(memory));
  const buffer = new BigUint64Array(1);
  const swaps = (): bigint => (readSync(memory, buffer, 0, 8, Number(COUNTER)) === 8 ? buffer[0]! : 0n);
  return { swaps, container };
}

/** So few exchanges in a round are no race: the racer was not there, or could not exchange anything. */
const FEW_SWAPS = 20n;
/** After so many rounds chance alone would have shown more than one end. */
const MANY_ROUNDS = 20;

/**
 * Runs rounds until one finds something, and returns that. A round says how it ended, in words, and what it found: that
 * exchanges fell into what the runtime does shows in rounds that end differently.
 */
export function raceRounds(
  { swaps }: Race,
  rounds: number,
  round: () => { readonly end: string; readonly found: readonly string[] },
): string[] {
  const ends = new Map<string, number>();
  const before = swaps();
  for (let i = 0; i < rounds; i++) {
    const { end, found } = round();
    if (found.length > 0) return [`in round ${i + 1}`, ...found];
    ends.set(end, (ends.get(end) ?? 0) + 1);
  }
  const exchanged = swaps() - before;
  console.log(`${rounds} rounds, ${exchanged} exchanges: ${[...ends].map(([end, n]) => `${n} ${end}`).join(", ")}`);
  if (exchanged < BigInt(rounds) * FEW_SWAPS)
    throw new Error(`only ${exchanged} exchanges in ${rounds} rounds: no race`);
  if (RUNTIME_NAME === "tsrun" && rounds >= MANY_ROUNDS && ends.size < 2)
    throw new Error(`all ended alike: the exchanges fell into nothing`);
  return [];
}

/** How a container that was run ended, without what differs from one to the next. */
export function endOf({ status, stderr }: Result): string {
  if (status === 0) return "ran";
  const line = stderr.split("\n").findLast((text) => text !== "" && !text.startsWith("hint: ")) ?? "";
  const message = /msg="(.*)"$/.exec(line)?.[1] ?? line;
  return `${status}: ${message.replaceAll(/\/tmp\/\S*?(?=\/rootfs|["\s]|$)/g, "…").replaceAll(/\d{3,}/g, "N")}`;
}
