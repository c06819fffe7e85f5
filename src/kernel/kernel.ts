/**
 * The only door to the kernel: every system call that tsrun itself makes goes through `sys`, and no other file imports
 * bun:ffi. Nothing clever behind it: arguments in, result or negative errno out.
 */
import { CFunction, CString, dlopen, FFIType, type Pointer, ptr, read as readMemory } from "bun:ffi";
import { nativeArch, type SyscallName, syscallNumber } from "../abi/syscalls.ts";
import { utf8 } from "../text.ts";

/** What a call accepts: integers as they are; strings as NUL-terminated copies; arrays by address. */
export type SysArg = number | bigint | string | Uint8Array | BigUint64Array | Int32Array;

/**
 * A kernel to run steps against. Six arguments one by one, for an interpreter makes an array of rest parameters, at each
 * call anew. Tests put a recorder or one that fails here.
 */
export type Sys = (name: SyscallName, a?: SysArg, b?: SysArg, c?: SysArg, d?: SysArg, e?: SysArg, f?: SysArg) => number;

const { i64, i64_fast, i32, i16, u64 } = FFIType;
const libc = dlopen("libc.so.6", {
  syscall: { args: [i64, i64, i64, i64, i64, i64, i64], returns: i64_fast },
  __errno_location: { args: [], returns: FFIType.ptr },
  getauxval: { args: [u64], returns: FFIType.u64_fast },
  getenv: { args: [u64], returns: FFIType.u64_fast },
}).symbols;

/** Bound when the first program is started: most commands start none, and each symbol costs 10 µs. */
function bindSpawn() {
  return dlopen("libc.so.6", {
    posix_spawn: { args: [u64, u64, u64, u64, u64, u64], returns: i32 },
    posix_spawnattr_init: { args: [u64], returns: i32 },
    posix_spawnattr_setflags: { args: [u64, i16], returns: i32 },
    posix_spawnattr_setsigdefault: { args: [u64, u64], returns: i32 },
    posix_spawnattr_setsigmask: { args: [u64, u64], returns: i32 },
    posix_spawn_file_actions_init: { args: [u64], returns: i32 },
    posix_spawn_file_actions_adddup2: { args: [u64, i32, i32], returns: i32 },
  }).symbols;
}

let spawnSymbols: ReturnType<typeof bindSpawn> | undefined;

const errnoAt = libc.__errno_location() as Pointer;
const numbers = new Map<SyscallName, number>();

/** Copies of string arguments live here for the time of one call; longer ones get a buffer of their own. */
const ARENA_SIZE = 65536;
const arena = Buffer.alloc(ARENA_SIZE);
const arenaAt = ptr(arena);

/** Makes one system call (syscall(2)). Returns its result, or the negative errno. */
export const sys: Sys = (name, a, b, c, d, e, f) => {
  let nr = numbers.get(name);
  if (nr === undefined) {
    nr = syscallNumber(name, nativeArch);
    numbers.set(name, nr);
  }
  arenaUsed = 0;
  kept = undefined;
  const result = libc.syscall(nr, word(a), word(b), word(c), word(d), word(e), word(f)) as number;
  return result === -1 ? -readMemory.i32(errnoAt, 0) : Number(result);
};

let arenaUsed = 0;
/** Strings that the arena has no room for, for the time of one call. */
let kept: Uint8Array[] | undefined;

/** An argument as the kernel gets it. */
function word(arg: SysArg | undefined): number | bigint {
  if (typeof arg === "number") return arg;
  if (arg === undefined) return 0;
  if (typeof arg === "bigint") return BigInt.asIntN(64, arg);
  if (typeof arg !== "string") return arg.length === 0 ? 0 : ptr(arg);
  const at = arenaUsed;
  const end = at + arena.write(arg, at);
  // Perhaps not all of it; a character has up to four bytes.
  if (end > ARENA_SIZE - 4) return longString(arg);
  arena[end] = 0;
  arenaUsed = end + 1;
  return arenaAt + at;
}

function longString(text: string): number {
  const own = cString(text);
  kept ??= [];
  kept.push(own);
  return ptr(own);
}

/** `text` in UTF-8, terminated by NUL. */
export function cString(text: string): Uint8Array {
  return utf8(`${text}\0`);
}

/** Where `array` lies in memory, for structs that hold pointers; the caller keeps `array` alive. */
export function addressOf(array: Uint8Array | BigUint64Array | Int32Array): number {
  return ptr(array);
}

/** The 64-bit word at `address`. */
export function wordAt(address: number): number {
  return Number(readMemory.u64(address as Pointer, 0));
}

/** The text at `address` that ends with NUL. */
export function stringAt(address: number): string {
  return new CString(address as Pointer).toString();
}

/** A variable of libc's environment (getenv(3)). */
export function environmentVariable(name: string): string | undefined {
  const text = libc.getenv(ptr(cString(name))) as number;
  return text === 0 ? undefined : stringAt(text);
}

/** Calls machine code that takes nothing and returns a word. */
export function callFunction(address: number): number {
  const code = CFunction({ ptr: address as Pointer, args: [], returns: FFIType.u64_fast });
  return Number(code());
}

/** One entry of the auxiliary vector (getauxval(3)). */
export function auxiliaryValue(type: number): number | bigint {
  return libc.getauxval(type) as number | bigint;
}

/**
 * Starts a program (posix_spawn(3)) with all signals at their default action and none blocked: Bun ignores SIGPIPE and
 * has handlers of its own, and children must see neither. Descriptors: those that are not close-on-exec, and `fds`,
 * pairs [mine, theirs]. Returns the process id, or the negative errno.
 */
export function spawn(
  path: string,
  argv: readonly string[],
  envp: readonly string[],
  fds: readonly [number, number][],
): number {
  const POSIX_SPAWN_SETSIGDEF = 0x04;
  const POSIX_SPAWN_SETSIGMASK = 0x08;
  spawnSymbols ??= bindSpawn();
  const libc = spawnSymbols;
  const attributes = new Uint8Array(512);
  const everySignal = new Uint8Array(128).fill(0xff);
  const noSignal = new Uint8Array(128);
  libc.posix_spawnattr_init(ptr(attributes));
  libc.posix_spawnattr_setsigdefault(ptr(attributes), ptr(everySignal));
  libc.posix_spawnattr_setsigmask(ptr(attributes), ptr(noSignal));
  libc.posix_spawnattr_setflags(ptr(attributes), POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  const actions = new Uint8Array(256);
  libc.posix_spawn_file_actions_init(ptr(actions));
  for (const [mine, theirs] of fds) libc.posix_spawn_file_actions_adddup2(ptr(actions), mine, theirs);
  const pathBytes = cString(path);
  const pid = new Int32Array(1);
  const [args, keptArgs] = pointerArray(argv);
  const [env, keptEnv] = pointerArray(envp);
  const failed = libc.posix_spawn(ptr(pid), ptr(pathBytes), ptr(actions), ptr(attributes), ptr(args), ptr(env));
  keptArgs.length = keptEnv.length = 0;
  return failed === 0 ? pid[0]! : -failed;
}

function pointerArray(strings: readonly string[]): [BigUint64Array, Uint8Array[]] {
  const kept = strings.map(cString);
  const array = new BigUint64Array(strings.length + 1);
  for (let i = 0; i < kept.length; i++) array[i] = BigInt(ptr(kept[i]!));
  return [array, kept];
}
