/** For tests: what the kernel does with device rules, transcribed from security/device_cgroup.c, and a small BPF machine. */
import * as bpf from "../abi/bpf.ts";
import { INSTRUCTION_SIZE } from "./device-filter.ts";
import { accessOf } from "./device-rules.ts";

export interface DeviceUse {
  readonly type: "c" | "b";
  readonly major: number;
  readonly minor: number;
  /** BPF_DEVCG_ACC_…, or'ed. */
  readonly access: number;
}

interface KernelException {
  readonly type: string;
  readonly major: number;
  readonly minor: number;
  access: number;
}

/** A cgroup of v1's devices controller. A child begins as a copy, and may not have more than its parent. */
export interface KernelDevices {
  readonly write: (file: string, text: string) => void;
  readonly allows: (use: DeviceUse) => boolean;
  readonly list: () => string;
  readonly child: () => KernelDevices;
}

const STAR = 0xffffffff;

export function kernelDevices(parent?: State): KernelDevices {
  const own = {
    allow: parent?.allow ?? true,
    exceptions: (parent?.exceptions ?? []).map((one) => ({ ...one })),
  };
  const allows = (use: DeviceUse): boolean => {
    const partial = own.allow;
    return (
      own.allow !== own.exceptions.some((one) => hasDevice(one, use) && hasAccess(one.access, use.access, partial))
    );
  };
  return {
    allows,
    write: (file, text) => writeKernel(own, parent, file === "devices.allow", text),
    list: () => (own.allow ? "a *:* rwm\n" : own.exceptions.map(lineOf).join("")),
    child: () => kernelDevices(own),
  };
}

function hasDevice(one: KernelException, use: DeviceUse): boolean {
  if (one.type !== use.type) return false;
  return (one.major === STAR || one.major === use.major) && (one.minor === STAR || one.minor === use.minor);
}

function hasAccess(has: number, wanted: number, partial: boolean): boolean {
  return partial ? (wanted & has) !== 0 : (wanted & ~has) === 0;
}

function lineOf({ type, major, minor, access }: KernelException): string {
  const number = (one: number) => (one === STAR ? "*" : String(one));
  const letters = `${access & 2 ? "r" : ""}${access & 4 ? "w" : ""}${access & 1 ? "m" : ""}`;
  return `${type} ${number(major)}:${number(minor)} ${letters}\n`;
}

interface State {
  allow: boolean;
  exceptions: KernelException[];
}

/** devcgroup_update_access(). */
function writeKernel(own: State, parent: State | undefined, allow: boolean, text: string): void {
  if (text.startsWith("a")) {
    if (allow && parent !== undefined && !parent.allow) throw new Error("EPERM");
    own.allow = allow;
    own.exceptions = allow ? (parent?.exceptions ?? []).map((one) => ({ ...one })) : [];
    return;
  }
  const [, type, major, minor, letters] = /^([bc]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(text) ?? [];
  if (letters === undefined) throw new Error(`EINVAL: ${text}`);
  const number = (digits: string | undefined) => (digits === "*" ? STAR : Number(digits));
  const rule = { type: type!, major: number(major), minor: number(minor), access: accessOf(letters) };
  if (allow && parent !== undefined && !parentAllows(parent, rule)) throw new Error("EPERM");
  if (allow === own.allow) removeException(own, rule);
  else addException(own, rule);
}

function parentAllows(parent: State, rule: KernelException): boolean {
  const use = { ...rule, type: rule.type as "c" | "b" };
  if (!parent.allow) {
    return parent.exceptions.some((one) => hasDevice(one, use) && hasAccess(one.access, rule.access, false));
  }
  const denied = parent.exceptions.some((one) => overlaps(one, rule) && hasAccess(one.access, rule.access, true));
  return !denied;
}

function overlaps(a: KernelException, b: KernelException): boolean {
  const meets = (one: number, other: number) => one === STAR || other === STAR || one === other;
  return a.type === b.type && meets(a.major, b.major) && meets(a.minor, b.minor);
}

const isSame = (a: KernelException, b: KernelException) =>
  a.type === b.type && a.major === b.major && a.minor === b.minor;

function addException(own: State, rule: KernelException): void {
  const found = own.exceptions.find((one) => isSame(one, rule));
  if (found === undefined) own.exceptions.push({ ...rule });
  else found.access |= rule.access;
}

function removeException(own: State, rule: KernelException): void {
  for (const one of own.exceptions) if (isSame(one, rule)) one.access &= ~rule.access;
  own.exceptions = own.exceptions.filter((one) => one.access !== 0);
}

// --- BPF --------------------------------------------------------------------------------------------------------------

export interface Instruction {
  readonly code: number;
  readonly to: number;
  readonly from: number;
  readonly offset: number;
  readonly immediate: number;
}

export function disassemble(program: Uint8Array): Instruction[] {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  return Array.from({ length: program.length / INSTRUCTION_SIZE }, (_, i) => {
    const at = i * INSTRUCTION_SIZE;
    const registers = view.getUint8(at + 1);
    const offset = view.getInt16(at + 2, true);
    const immediate = view.getInt32(at + 4, true);
    return { code: view.getUint8(at), to: registers & 15, from: registers >> 4, offset, immediate };
  });
}

/** What the program returns for this use of a device, and how many instructions it took. Throws for what the verifier refuses. */
export function interpret(program: readonly Instruction[], use: DeviceUse): { result: number; steps: number } {
  const type = use.type === "c" ? bpf.BPF_DEVCG_DEV_CHAR : bpf.BPF_DEVCG_DEV_BLOCK;
  const context = [(use.access << 16) | type, use.major, use.minor];
  const registers: (number | "context" | undefined)[] = [undefined, "context"];
  const number = (register: number): number => {
    const value = registers[register];
    if (typeof value !== "number") throw new Error(`R${register} is no number`);
    return value;
  };
  for (let at = 0, steps = 1; ; at++, steps++) {
    const { code, to, from, offset, immediate } = program[at]!;
    const jump = (taken: boolean): void => {
      if (taken) at += offset;
    };
    switch (code) {
      case bpf.BPF_LDX_MEM_W:
        if (registers[from] !== "context") throw new Error(`R${from} is no context`);
        registers[to] = context[offset / 4]!;
        break;
      case bpf.BPF_MOV32_K:
        registers[to] = immediate >>> 0;
        break;
      case bpf.BPF_MOV32_X:
        registers[to] = number(from);
        break;
      case bpf.BPF_OR32_X:
        registers[to] = (number(to) | number(from)) >>> 0;
        break;
      case bpf.BPF_LSH32_K:
        registers[to] = (number(to) << immediate) >>> 0;
        break;
      case bpf.BPF_RSH32_K:
        registers[to] = number(to) >>> immediate;
        break;
      case bpf.BPF_JEQ32_K:
        jump(number(to) === immediate >>> 0);
        break;
      case bpf.BPF_JNE32_K:
        jump(number(to) !== immediate >>> 0);
        break;
      case bpf.BPF_JSET32_K:
        jump((number(to) & immediate) !== 0);
        break;
      case bpf.BPF_JA:
        jump(true);
        break;
      case bpf.BPF_EXIT:
        return { result: number(0), steps };
      default:
        throw new Error(`unknown instruction 0x${code.toString(16)} at ${at}`);
    }
  }
}

/** Instructions that no jump and no fall reaches: the kernel's verifier refuses a program that has some. */
export function unreachable(program: readonly Instruction[]): number[] {
  const seen = new Set<number>();
  const waiting = [0];
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    if (seen.has(at)) continue;
    if (at < 0 || at >= program.length) throw new Error(`a jump leads to ${at}, outside of the program`);
    seen.add(at);
    const { code, offset } = program[at]!;
    if (code === bpf.BPF_EXIT) continue;
    if (code !== bpf.BPF_JA) waiting.push(at + 1);
    if ((code & 7) === 5 || (code & 7) === 6) waiting.push(at + 1 + offset);
  }
  return [...program.keys()].filter((at) => !seen.has(at));
}
