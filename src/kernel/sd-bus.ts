/**
 * D-Bus by way of libsystemd (sd-bus(3)). The second and last file that imports bun:ffi: what is called here are functions
 * of a library, not system calls, and the library is loaded only when the systemd driver is asked for. Only functions
 * without variadic arguments are used, and none that takes a callback or waits by itself: every wait is one of `wait`,
 * which has an end.
 */
import { CString, dlopen, FFIType, type Pointer, ptr, read as readMemory } from "bun:ffi";
import { type BusData, memberSignatures } from "../abi/dbus.ts";
import { errnoName, errnoNumber, errnoText } from "../abi/errno.ts";
import { TsrunError } from "../errors.ts";
import { nanoseconds } from "./clock.ts";
import { cString } from "./kernel.ts";
import { startCold } from "./warm-start.ts";

function bind() {
  const { i32, u64, u64_fast, u8 } = FFIType;
  return dlopen("libsystemd.so.0", {
    sd_bus_new: { args: [u64], returns: i32 },
    sd_bus_set_address: { args: [u64, u64], returns: i32 },
    sd_bus_set_bus_client: { args: [u64, i32], returns: i32 },
    sd_bus_start: { args: [u64], returns: i32 },
    sd_bus_close_unref: { args: [u64], returns: u64_fast },
    sd_bus_process: { args: [u64, u64], returns: i32 },
    sd_bus_wait: { args: [u64, u64], returns: i32 },
    sd_bus_send: { args: [u64, u64, u64], returns: i32 },
    sd_bus_message_new_method_call: { args: [u64, u64, u64, u64, u64, u64], returns: i32 },
    sd_bus_message_append_basic: { args: [u64, u8, u64], returns: i32 },
    sd_bus_message_open_container: { args: [u64, u8, u64], returns: i32 },
    sd_bus_message_close_container: { args: [u64], returns: i32 },
    sd_bus_message_get_reply_cookie: { args: [u64, u64], returns: i32 },
    sd_bus_message_get_error: { args: [u64], returns: u64_fast },
    sd_bus_message_is_signal: { args: [u64, u64, u64], returns: i32 },
    sd_bus_message_enter_container: { args: [u64, u8, u64], returns: i32 },
    sd_bus_message_read_basic: { args: [u64, u8, u64], returns: i32 },
    sd_bus_message_unref: { args: [u64], returns: u64_fast },
  }).symbols;
}

type Library = ReturnType<typeof bind>;

let library: Library | undefined;

/** A connection. Calls are sent without waiting; what comes back is kept until it is asked for. */
export interface Bus {
  readonly handle: number;
  /** Replies that nobody has taken yet, by the cookie of the call. */
  readonly replies: Map<bigint, Reply>;
  /** Signals in the order of their arrival, first those that are read. */
  readonly signals: BusSignal[];
  readonly watched: readonly WatchedSignal[];
}

/** What is read of a signal: its leading arguments, of basic types. */
export interface WatchedSignal {
  readonly interface: string;
  readonly member: string;
  readonly signature: string;
}

export interface BusSignal {
  readonly member: string;
  readonly values: readonly (string | number | bigint)[];
}

/** A method returned one basic value, or nothing, or an error. */
export type Reply =
  | { readonly kind: "value"; readonly value: string | number | bigint | undefined }
  | { readonly kind: "error"; readonly name: string; readonly message: string };

export interface Call {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature: string;
  readonly values: readonly BusData[];
}

/**
 * Connects. `isBus`: the other side is a D-Bus daemon, not systemd itself. Returns before the other side has said a word:
 * it is with the first reply that a connection is known to work. Throws when nobody listens.
 */
export function connectBus(address: string, isBus: boolean, watched: readonly WatchedSignal[]): Bus {
  library ??= loadOrFail();
  const cell = new BigUint64Array(1);
  check(library.sd_bus_new(ptr(cell)), address);
  const bus = { handle: Number(cell[0]), replies: new Map(), signals: [], watched };
  try {
    check(library.sd_bus_set_address(bus.handle, ptr(cString(address))), address);
    if (isBus) check(library.sd_bus_set_bus_client(bus.handle, 1), address);
    check(library.sd_bus_start(bus.handle), address);
  } catch (error) {
    closeBus(bus);
    throw error;
  }
  return bus;
}

/** Loads the library early, where a cold start (warm-start.ts) would come too late later. Says nothing if there is none. */
export function prepareBus(): void {
  library ??= load();
}

function load(): Library | undefined {
  try {
    return bind();
  } catch {
    startCold();
    return undefined;
  }
}

function loadOrFail(): Library {
  const loaded = load();
  if (loaded !== undefined) return loaded;
  throw new TsrunError("cannot talk to systemd: libsystemd.so.0 cannot be loaded", {
    code: "ENOENT",
    step: "dlopen",
    hint: "install libsystemd (Debian: libsystemd0), or use the cgroupfs driver",
  });
}

function check(result: number, address: string): number {
  if (result >= 0) return result;
  throw new TsrunError(`cannot connect to the D-Bus socket ${address}: ${errnoText(-result)}`, {
    code: errnoName(-result),
    step: "sd_bus_start",
  });
}

export function closeBus(bus: Bus): void {
  library!.sd_bus_close_unref(bus.handle);
}

/** Sends a call; `takeReply` with the cookie that this returns waits for its reply. */
export function sendCall(bus: Bus, call: Call): bigint {
  const lib = library!;
  const cell = new BigUint64Array(1);
  const names = [call.destination, call.path, call.interface, call.member].map(cString);
  const [destination, path, name, member] = names.map((text) => ptr(text));
  checkCall(lib.sd_bus_message_new_method_call(bus.handle, ptr(cell), destination!, path!, name!, member!), call);
  const message = Number(cell[0]);
  try {
    const types = memberSignatures(`(${call.signature})`, call.values.length);
    for (const [i, type] of types.entries()) append(message, type, call.values[i]!, call);
    checkCall(lib.sd_bus_send(bus.handle, message, ptr(cell)), call);
    return cell[0]!;
  } finally {
    lib.sd_bus_message_unref(message);
  }
}

function checkCall(result: number, call: Call): void {
  if (result >= 0) return;
  throw new TsrunError(`cannot call ${call.member} of systemd: ${errnoText(-result)}`, {
    code: errnoName(-result),
    step: "sd_bus_send",
  });
}

/** A value with the type `v` comes as a list of its signature and itself. */
function append(message: number, type: string, value: BusData, call: Call): void {
  const lib = library!;
  if (type.length === 1 && type !== "v") {
    const bytes = basicBytes(type, value);
    checkCall(lib.sd_bus_message_append_basic(message, type.charCodeAt(0), ptr(bytes)), call);
    return;
  }
  const list = value as readonly BusData[];
  const [contents, members] = type === "v" ? [list[0] as string, [list[1]!]] : [contentsOf(type), list];
  const kind = type.startsWith("(") ? "r" : type.slice(0, 1);
  checkCall(lib.sd_bus_message_open_container(message, kind.charCodeAt(0), ptr(cString(contents))), call);
  const types = type === "v" ? [contents] : memberSignatures(type, members.length);
  for (const [i, member] of members.entries()) append(message, types[i]!, member, call);
  checkCall(lib.sd_bus_message_close_container(message), call);
}

function contentsOf(type: string): string {
  return type.startsWith("a") ? type.slice(1) : type.slice(1, -1);
}

/** The value in memory as sd_bus_message_append_basic(3) wants it: strings themselves, numbers in their own size. */
function basicBytes(type: string, value: BusData): Uint8Array {
  if (typeof value === "string") return cString(value);
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  if (type === "d") view.setFloat64(0, Number(value), true);
  // Little-endian, so that the smaller types find their bytes first; a boolean is an int.
  else view.setBigUint64(0, BigInt.asUintN(64, BigInt(value as number | bigint | boolean)), true);
  return bytes;
}

/** Waits for the reply to a call, until `deadline` as nanoseconds() counts; undefined when there is none by then. */
export function takeReply(bus: Bus, cookie: bigint, deadline: number): Reply | undefined {
  for (;;) {
    const reply = bus.replies.get(cookie);
    if (reply !== undefined) {
      bus.replies.delete(cookie);
      return reply;
    }
    if (!receive(bus, deadline)) return undefined;
  }
}

/** Waits for a signal that `wanted` accepts; undefined when there is none by `deadline`. Others are dropped. */
export function takeSignal(bus: Bus, wanted: (signal: BusSignal) => boolean, deadline: number): BusSignal | undefined {
  for (;;) {
    for (let signal = bus.signals.shift(); signal !== undefined; signal = bus.signals.shift()) {
      if (wanted(signal)) return signal;
    }
    if (!receive(bus, deadline)) return undefined;
  }
}

/** Does what there is to do, or waits for something to do. False when the time is over. */
function receive(bus: Bus, deadline: number): boolean {
  // Before all else: somebody who sends without end must not hold up the end.
  const left = deadline - nanoseconds();
  if (left <= 0) return false;
  const lib = library!;
  const cell = new BigUint64Array(1);
  const done = checkConnection(lib.sd_bus_process(bus.handle, ptr(cell)));
  if (cell[0] !== 0n) {
    keep(bus, Number(cell[0]));
    lib.sd_bus_message_unref(Number(cell[0]));
  }
  if (done > 0) return true;
  const waited = lib.sd_bus_wait(bus.handle, BigInt(Math.ceil(left / 1000)));
  if (waited !== -errnoNumber("EINTR")) checkConnection(waited);
  return true;
}

function checkConnection(result: number): number {
  if (result >= 0) return result;
  throw new TsrunError(`cannot talk to systemd: its D-Bus socket says: ${errnoText(-result)}`, {
    code: errnoName(-result),
    step: "sd_bus_process",
  });
}

function keep(bus: Bus, message: number): void {
  const lib = library!;
  const cell = new BigUint64Array(1);
  if (lib.sd_bus_message_get_reply_cookie(message, ptr(cell)) >= 0) {
    bus.replies.set(cell[0]!, readReply(message));
    return;
  }
  for (const { interface: name, member, signature } of bus.watched) {
    const names = [cString(name), cString(member)] as const;
    if (lib.sd_bus_message_is_signal(message, ptr(names[0]), ptr(names[1])) <= 0) continue;
    const values = [...signature].map((type) => readBasic(message, type));
    if (values.every((value) => value !== undefined)) bus.signals.push({ member, values });
  }
}

/** sd_bus_error(3): pointers to the name and to the message. */
function readReply(message: number): Reply {
  const error = Number(library!.sd_bus_message_get_error(message));
  if (error === 0) return { kind: "value", value: readFirst(message) };
  const name = stringAt(error);
  return { kind: "error", name, message: stringAt(error + 8) || name };
}

function stringAt(pointer: number): string {
  const at = readMemory.ptr(pointer as Pointer, 0);
  return at === 0 ? "" : new CString(at as Pointer).toString();
}

/** The first value, by the types that replies have here: of a method an object path, of a property a string in a variant. */
function readFirst(message: number): string | number | bigint | undefined {
  const lib = library!;
  if (lib.sd_bus_message_enter_container(message, "v".charCodeAt(0), ptr(cString("s"))) > 0)
    return readBasic(message, "s");
  return readBasic(message, "o");
}

function readBasic(message: number, type: string): string | number | bigint | undefined {
  const cell = new BigUint64Array(1);
  if (library!.sd_bus_message_read_basic(message, type.charCodeAt(0), ptr(cell)) <= 0) return undefined;
  if ("sog".includes(type)) return stringAt(ptr(cell));
  return type === "t" ? cell[0]! : Number(cell[0]! & 0xffffffffn);
}
