import { chmodSync, writeFileSync } from "node:fs";
import { nativeArch } from "../../src/abi/syscalls.ts";
import { agentImage } from "../../src/agent/image.ts";
import {
  BATCH,
  HEAP,
  LOADER,
  RECORD_ARGS,
  RECORD_FLAGS,
  RECORD_INTO,
  RECORD_ON_POSITIVE,
  RECORD_ON_TOLERATED,
  RECORD_ON_ZERO,
  RECORD_SIZE,
  RECORD_TOLERATED,
  SLOTS,
} from "../../src/agent/layout.ts";
import { architecture } from "../../src/seccomp/architectures.ts";

/** A number, a string (its address), bytes (theirs), what an earlier call returned, or room for the kernel to write to. */
export type Argument = number | bigint | string | Uint8Array | { readonly value: string } | { readonly room: string };

/** One system call by its name, and where to go on: the next call where absent. */
export interface Call {
  readonly call: string;
  readonly args?: readonly Argument[];
  /** Keeps the result, or the negative errno, under this name. */
  readonly into?: string;
  readonly label?: string;
  /** Labels to go on at when the result is > 0, is 0, is an error. */
  readonly positive?: string;
  readonly zero?: string;
  readonly error?: string;
}

const ROOM = 0x10000;
const CODE_AT = 0x1000;
const LOADER_PAGE = BATCH - LOADER;

/**
 * Writes a static program that makes these calls over and over, from the first to the last, some million a second, and
 * stops at no error: what an attacker inside a container is made of. It is the machine that tsrun's agent is, with the
 * calls in its image.
 */
export function writeAttacker(path: string, calls: readonly Call[]): void {
  const image = agentImage(nativeArch, 2);
  const batch = encode(calls);
  if (batch.length > SLOTS - BATCH) throw new Error(`${calls.length} calls are too many`);
  const program = new Uint8Array(CODE_AT + LOADER_PAGE + batch.length);
  program.set(image);
  program.set(batch, CODE_AT + LOADER_PAGE);
  const view = new DataView(program.buffer);
  // The first record of the loader: instead of waiting for a batch, go to the one that is there.
  program.fill(0, CODE_AT, CODE_AT + RECORD_SIZE);
  view.setUint32(CODE_AT, number("getppid"), true);
  for (const jump of JUMPS) view.setInt32(CODE_AT + jump, LOADER_PAGE, true);
  // Elf64_Phdr.p_filesz of the second segment.
  view.setBigUint64(64 + 56 + 32, BigInt(LOADER_PAGE + batch.length), true);
  writeFileSync(path, program);
  chmodSync(path, 0o755);
}

const JUMPS = [RECORD_ON_POSITIVE, RECORD_ON_ZERO, RECORD_ON_TOLERATED] as const;

const numbers = architecture(nativeArch === "x86-64" ? "SCMP_ARCH_X86_64" : "SCMP_ARCH_AARCH64").numbers;

function number(call: string): number {
  const found = numbers.get(call);
  if (found === undefined) throw new Error(`this architecture has no ${call}`);
  return found;
}

/** The records, one that begins again, and the data that they point to. */
function encode(calls: readonly Call[]): Uint8Array {
  const dataAt = RECORD_SIZE * (calls.length + 1);
  const memory = newMemory(BATCH + dataAt);
  const labels = new Map(calls.flatMap(({ label }, i) => (label === undefined ? [] : [[label, i] as const])));
  const records = new DataView(new ArrayBuffer(dataAt));
  for (const [i, call] of calls.entries()) encodeCall(records, i, call, memory, labels);
  const again = calls.length * RECORD_SIZE;
  records.setUint32(again, number("getppid"), true);
  for (const jump of JUMPS) records.setInt32(again + jump, -again, true);
  return new Uint8Array([...new Uint8Array(records.buffer), ...memory.bytes]);
}

function encodeCall(
  records: DataView,
  index: number,
  { call, args = [], into, positive, zero, error }: Call,
  memory: Memory,
  labels: ReadonlyMap<string, number>,
): void {
  const at = index * RECORD_SIZE;
  records.setUint32(at, number(call), true);
  let flags = 0;
  for (const [n, arg] of args.entries()) {
    if (typeof arg === "object" && "value" in arg) flags |= 1 << n;
    records.setBigUint64(at + RECORD_ARGS + 8 * n, BigInt.asUintN(64, memory.address(arg)), true);
  }
  records.setUint32(at + RECORD_FLAGS, flags, true);
  if (into !== undefined) records.setBigUint64(at + RECORD_INTO, memory.address({ value: into }), true);
  for (let word = 0; word < 16; word += 4) records.setUint32(at + RECORD_TOLERATED + word, 0xffffffff, true);
  for (const [n, label] of [positive, zero, error].entries()) {
    const target = label === undefined ? index + 1 : labels.get(label);
    if (target === undefined) throw new Error(`no label ${label}`);
    records.setInt32(at + JUMPS[n]!, (target - index) * RECORD_SIZE, true);
  }
}

interface Memory {
  readonly bytes: number[];
  address(arg: Argument): bigint;
}

function newMemory(start: number): Memory {
  const bytes: number[] = [];
  const texts = new Map<string, bigint>();
  const values = new Map<string, bigint>();
  const rooms = new Map<string, bigint>();
  const append = (data: Uint8Array): bigint => {
    while (bytes.length % 8 !== 0) bytes.push(0);
    const at = BigInt(start + bytes.length);
    bytes.push(...data);
    return at;
  };
  const once = (known: Map<string, bigint>, name: string, make: () => bigint): bigint => {
    const address = known.get(name) ?? make();
    known.set(name, address);
    return address;
  };
  return {
    bytes,
    address(arg) {
      if (typeof arg === "number" || typeof arg === "bigint") return BigInt(arg);
      if (typeof arg === "string") return once(texts, arg, () => append(new TextEncoder().encode(`${arg}\0`)));
      if (arg instanceof Uint8Array) return append(arg);
      if ("value" in arg) return once(values, arg.value, () => BigInt(SLOTS + 8 * (3 + values.size)));
      return once(rooms, arg.room, () => BigInt(HEAP + ROOM * rooms.size));
    },
  };
}

export const AT_FDCWD = -100;

/** Writes a line to a file that is open: what an attacker has to say. */
export function say(fd: number, text: string): Call {
  const line = new TextEncoder().encode(`${text}\n`);
  return { call: "write", args: [fd, line, line.length] };
}
