/** Debian's libseccomp, as the reference for the compiler's tests. */
import { dlopen, FFIType, type Pointer, ptr } from "bun:ffi";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { SOCK_FILTER_SIZE } from "../abi/filter.ts";
import { SECCOMP_OPERATORS } from "../spec/seccomp-names.ts";
import type { Seccomp, SeccompArch } from "../spec/types.ts";
import { type Architecture, architecture } from "./architectures.ts";
import { returnValue } from "./decisions.ts";

const LIBRARY = "libseccomp.so.2";
const PLACES = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];

/** Why there is nothing to compare with; undefined when there is. */
export const noLibseccomp = PLACES.some((place) => existsSync(`${place}/${LIBRARY}`))
  ? undefined
  : `no ${LIBRARY} on this machine`;

type Library = ReturnType<typeof open>["symbols"];
let library: Library | undefined;

function open() {
  const { pointer, u32, i32, u64 } = FFIType;
  return dlopen(LIBRARY, {
    seccomp_init: { args: [u32], returns: pointer },
    seccomp_release: { args: [pointer], returns: FFIType.void },
    seccomp_arch_native: { args: [], returns: u32 },
    seccomp_arch_add: { args: [pointer, u32], returns: i32 },
    seccomp_arch_remove: { args: [pointer, u32], returns: i32 },
    seccomp_attr_set: { args: [pointer, u32, u32], returns: i32 },
    seccomp_rule_add_array: { args: [pointer, u32, i32, u32, u64], returns: i32 },
    seccomp_export_bpf: { args: [pointer, i32], returns: i32 },
    seccomp_syscall_resolve_name_arch: { args: [u32, pointer], returns: i32 },
  });
}

function lib(): Library {
  library ??= open().symbols;
  return library;
}

/** x32 has a token of its own there: x86_64's without the bit of 64-bit architectures. */
const X32 = 0x4000003e;
const SCMP_FLTATR_CTL_OPTIMIZE = 8;
const EEXIST = -17;

export function tokenOf(name: SeccompArch, token: number): number {
  return name === "SCMP_ARCH_X32" ? X32 : token;
}

/** Negative for a call that the architecture does not have, -1 for one that none has. */
export function numberOf(token: number, name: string): number {
  return lib().seccomp_syscall_resolve_name_arch(token, ptr(Buffer.from(`${name}\0`)));
}

export function knowsArchitecture(name: SeccompArch): boolean {
  return numberOf(tokenOf(name, architecture(name).token), "read") >= 0;
}

/**
 * The program of libseccomp for the same profile, made by the calls that runc makes, for architectures of one byte order,
 * which need not be this machine's: as struct sock_filter[], little-endian.
 */
export function compileWithLibseccomp(profile: Seccomp, architectures: readonly Architecture[]): Uint8Array {
  const { seccomp_init, seccomp_release, seccomp_attr_set } = lib();
  const byDefault = returnValue(profile.defaultAction, profile.defaultErrnoRet);
  const context = seccomp_init(byDefault) as Pointer | null;
  if (context === null) throw new Error("seccomp_init failed");
  const tokens = architectures.map(({ name, token }) => tokenOf(name, token));
  try {
    setArchitectures(context, tokens);
    // runc makes a rule of every name, and asks for a binary tree when there are more than 32.
    const count = (profile.syscalls ?? []).reduce((sum, { names }) => sum + names.length, 0);
    if (count > 32) {
      check("seccomp_attr_set", seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2));
    }
    for (const rule of profile.syscalls ?? []) addRule(context, rule, byDefault);
    return architectures[0]!.isBigEndian ? swapped(exported(context)) : exported(context);
  } finally {
    seccomp_release(context);
  }
}

/** It begins with the machine's own. */
function setArchitectures(context: Pointer, tokens: readonly number[]): void {
  const { seccomp_arch_native, seccomp_arch_add, seccomp_arch_remove } = lib();
  const native = seccomp_arch_native();
  if (!tokens.includes(native)) check("seccomp_arch_remove", seccomp_arch_remove(context, native));
  for (const token of tokens) check("seccomp_arch_add", seccomp_arch_add(context, token));
}

/** Of each instruction the code, of 16 bits, and k, of 32; jumps are bytes. */
function swapped(program: Uint8Array): Uint8Array {
  const [from, to] = [new DataView(program.buffer), new DataView(program.slice().buffer)];
  for (let at = 0; at < program.length; at += SOCK_FILTER_SIZE) {
    to.setUint16(at, from.getUint16(at), true);
    to.setUint32(at + 4, from.getUint32(at + 4), true);
  }
  return new Uint8Array(to.buffer);
}

function check(what: string, result: number): void {
  if (result < 0 && result !== EEXIST) throw new Error(`${what}: errno ${-result}`);
}

type SyscallRule = NonNullable<Seccomp["syscalls"]>[number];

function addRule(context: Pointer, { names, action, errnoRet, args }: SyscallRule, byDefault: number) {
  const returns = returnValue(action, errnoRet);
  // Names stand for the machine's own numbers, whatever the architectures.
  const native = lib().seccomp_arch_native();
  if (returns === byDefault) return;
  const conditions = (args ?? []).map(({ index, op, value, valueTwo }) =>
    BigUint64Array.of(
      BigInt(index) | (BigInt(SECCOMP_OPERATORS.indexOf(op) + 1) << 32n),
      BigInt(value),
      BigInt(valueTwo ?? 0),
    ),
  );
  const isSplit = new Set((args ?? []).map(({ index }) => index)).size < conditions.length;
  const rules = isSplit ? conditions.map((condition) => [condition]) : [conditions];
  for (const name of names) {
    const number = numberOf(native, name);
    if (number === -1) continue;
    for (const rule of rules) {
      const words = BigUint64Array.from(rule.flatMap((condition) => [...condition]));
      const address = rule.length === 0 ? 0 : ptr(words);
      const added = lib().seccomp_rule_add_array(context, returns, number, rule.length, address);
      check(`seccomp_rule_add_array(${name})`, added);
    }
  }
}

function exported(context: Pointer): Uint8Array {
  const directory = mkdtempSync("/tmp/tsrun-libseccomp-");
  try {
    const fd = openSync(`${directory}/program`, "w");
    check("seccomp_export_bpf", lib().seccomp_export_bpf(context, fd));
    closeSync(fd);
    return new Uint8Array(readFileSync(`${directory}/program`));
  } finally {
    rmSync(directory, { recursive: true });
  }
}
