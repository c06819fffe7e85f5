import {
  BPF_DEVCG_DEV_BLOCK,
  BPF_DEVCG_DEV_CHAR,
  BPF_EXIT,
  BPF_JA,
  BPF_JEQ32_K,
  BPF_JNE32_K,
  BPF_JSET32_K,
  BPF_LDX_MEM_W,
  BPF_LSH32_K,
  BPF_MOV32_K,
  BPF_MOV32_X,
  BPF_OR32_X,
  BPF_RSH32_K,
} from "../abi/bpf.ts";
import { ALL_ACCESS, ANY, type DeviceException, type DeviceModel, type DeviceType, deviceKey } from "./device-rules.ts";

/** Bytes of struct bpf_insn: code, registers, offset of a jump, immediate. */
export const INSTRUCTION_SIZE = 8;

/** Registers. The context is in R1 when the program begins; when all is loaded, R1 holds the type. */
const RESULT = 0;
const TYPE = 1;
/** type << 16 | major: one comparison for both. */
const DEVICE = 2;
const ACCESS = 3;
const MAJOR = 4;
const MINOR = 5;

/**
 * A program of type BPF_PROG_TYPE_CGROUP_DEVICE that decides as `model` does, in the byte order of x86-64 and aarch64:
 *
 *     load       RESULT = what holds by default; type, access and numbers into registers
 *     wildcards  a test for each exception that any major number matches
 *     groups     a comparison for each type and major number, those that programs use most first; in it one for each set
 *                of letters and for each minor number. A group whose minor numbers do not match ends the program: no other one can match
 */
export function deviceFilter(model: DeviceModel): Uint8Array {
  let filter = assembled.get(model);
  if (filter === undefined) {
    filter = assemble(model);
    assembled.set(model, filter);
  }
  return filter;
}

/** Models are kept as well, see deviceModel. */
const assembled = new WeakMap<DeviceModel, Uint8Array>();

function assemble({ allowsByDefault, exceptions }: DeviceModel): Uint8Array {
  const kept = withoutCovered(exceptions.filter(isPossible));
  const code: Code = { words: [], allowsByDefault };
  emit(code, BPF_MOV32_K, RESULT, allowsByDefault ? 1 : 0);
  if (kept.length > 0) load(code);
  const wildcards = kept.filter(({ major }) => major === ANY);
  if (wildcards.length > 0) {
    emit(code, BPF_MOV32_X, TYPE | (DEVICE << 4));
    emit(code, BPF_RSH32_K, TYPE, 16);
  }
  for (const exception of wildcards) testWildcard(code, exception);
  for (const group of groupsOf(kept)) testGroup(code, group);
  emit(code, BPF_EXIT, 0);
  return new Uint8Array(Int32Array.from(code.words).buffer);
}

/** linux/kdev_t.h: 12 bits of major number, 20 of minor. A rule about others decides nothing. */
function isPossible({ major, minor }: DeviceException): boolean {
  return major <= 0xfff && minor <= 0xfffff;
}

/** An exception that a wider one has all letters of decides nothing. The kernel refuses code that is never reached. */
function withoutCovered(exceptions: readonly DeviceException[]): DeviceException[] {
  const accesses = new Map<string, number>();
  for (const { type, major, minor, access } of exceptions) accesses.set(deviceKey(type, major, minor), access);
  const has = (type: DeviceType, major: number, minor: number, access: number): boolean =>
    (access & ~(accesses.get(deviceKey(type, major, minor)) ?? 0)) === 0;
  return exceptions.filter(({ type, major, minor, access }) => {
    if (minor !== ANY && has(type, major, ANY, access)) return false;
    if (major !== ANY && has(type, ANY, minor, access)) return false;
    return (major === ANY && minor === ANY) || !has(type, ANY, ANY, access);
  });
}

interface Code {
  /** Two for each instruction: code | registers << 8 | offset << 16, and the immediate. */
  readonly words: number[];
  readonly allowsByDefault: boolean;
}

/** `registers`: destination | source << 4. Returns where the instruction is, for `land`. */
function emit({ words }: Code, code: number, registers: number, immediate = 0, offset = 0): number {
  words.push(code | (registers << 8) | (offset << 16), immediate);
  return words.length / 2 - 1;
}

/** Lets the jumps at these places go to the instruction that comes next. */
function land({ words }: Code, jumps: readonly number[]): void {
  const here = words.length / 2;
  for (const at of jumps) words[2 * at]! |= (here - at - 1) << 16;
}

/** struct bpf_cgroup_dev_ctx: access << 16 | type, major, minor. */
function load(code: Code): void {
  const context = TYPE << 4;
  emit(code, BPF_LDX_MEM_W, ACCESS | context, 0, 0);
  emit(code, BPF_LDX_MEM_W, MAJOR | context, 0, 4);
  emit(code, BPF_LDX_MEM_W, MINOR | context, 0, 8);
  emit(code, BPF_MOV32_X, DEVICE | (ACCESS << 4));
  emit(code, BPF_RSH32_K, ACCESS, 16);
  emit(code, BPF_LSH32_K, DEVICE, 16);
  emit(code, BPF_OR32_X, DEVICE | (MAJOR << 4));
}

/** Leaves the program with the opposite of what holds by default. */
function decide(code: Code): void {
  emit(code, BPF_MOV32_K, RESULT, code.allowsByDefault ? 0 : 1);
  emit(code, BPF_EXIT, 0);
}

/**
 * Goes on with the next instruction when the letters match; returns the jumps of the others. To be allowed, an access
 * has no letter but those of the exception; to be denied, it has one of them.
 */
function testAccess(code: Code, access: number): number[] {
  if (!code.allowsByDefault) {
    return access === ALL_ACCESS ? [] : [emit(code, BPF_JSET32_K, ACCESS, ALL_ACCESS & ~access)];
  }
  emit(code, BPF_JSET32_K, ACCESS, access, 1);
  return [emit(code, BPF_JA, 0)];
}

function testWildcard(code: Code, exception: DeviceException): void {
  const { type, minor } = exception;
  const misses = [emit(code, BPF_JNE32_K, TYPE, typeNumber(type))];
  if (minor !== ANY) misses.push(emit(code, BPF_JNE32_K, MINOR, minor));
  misses.push(...testAccess(code, exception.access));
  decide(code);
  land(code, misses);
}

function typeNumber(type: DeviceType): number {
  return type === "c" ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK;
}

interface Group {
  /** type << 16 | major. */
  readonly device: number;
  readonly exceptions: DeviceException[];
}

/** Jumps reach 32,767 instructions; one minor number takes one. */
const GROUP_LIMIT = 30_000;

/** null and its like, terminals, pseudoterminals. */
const COMMON: readonly number[] = [1, 5, 136].map((major) => (BPF_DEVCG_DEV_CHAR << 16) | major);

function groupsOf(exceptions: readonly DeviceException[]): Group[] {
  const groups = new Map<number, Group>(COMMON.map((device) => [device, { device, exceptions: [] }]));
  const full: Group[] = [];
  for (const exception of exceptions) {
    if (exception.major === ANY) continue;
    const device = (typeNumber(exception.type) << 16) | exception.major;
    let group = groups.get(device);
    if (group === undefined || group.exceptions.length === GROUP_LIMIT) {
      if (group !== undefined) full.push(group);
      group = { device, exceptions: [] };
      groups.set(device, group);
    }
    group.exceptions.push(exception);
  }
  return [...full, ...groups.values()].filter((group) => group.exceptions.length > 0);
}

/**
 *     if DEVICE is another one, go to the next group
 *     for each set of letters: if ACCESS matches, and MINOR is one of those that have it, go to hit
 *     leave with what holds by default, or go to the rest of a group that was too long
 *     hit: leave with the opposite
 */
function testGroup(code: Code, { device, exceptions }: Group): void {
  const others = [emit(code, BPF_JNE32_K, DEVICE, device)];
  const hits: number[] = [];
  let isAlways = false;
  for (const [access, minors] of byAccess(exceptions)) {
    const misses = testAccess(code, access);
    const any = minors.includes(ANY);
    if (!any) for (const minor of minors) hits.push(emit(code, BPF_JEQ32_K, MINOR, minor));
    else if (misses.length > 0) hits.push(emit(code, BPF_JA, 0));
    else isAlways = true;
    land(code, misses);
  }
  if (exceptions.length === GROUP_LIMIT) others.push(emit(code, BPF_JA, 0));
  else if (!isAlways) emit(code, BPF_EXIT, 0);
  land(code, hits);
  decide(code);
  land(code, others);
}

function byAccess(exceptions: readonly DeviceException[]): Map<number, number[]> {
  const found = new Map<number, number[]>();
  for (const { access, minor } of exceptions) {
    const minors = found.get(access);
    if (minors === undefined) found.set(access, [minor]);
    else minors.push(minor);
  }
  return found;
}
