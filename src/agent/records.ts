import { errnoNumber } from "../abi/errno.ts";
import { type Arch, syscallNumber } from "../abi/syscalls.ts";
import {
  type Arg,
  type Data,
  FIRST_SLOT,
  type Label,
  type Program,
  type Slot,
  type SlotTable,
  type Step,
} from "../plan/step.ts";
import {
  BATCH,
  BATCH_SIZE,
  FLAG_RETRY,
  HEAP,
  HEAP_SIZE,
  LOADER,
  MESSAGE_LIMIT,
  RECORD_ARGS,
  RECORD_FLAGS,
  RECORD_INTO,
  RECORD_ON_POSITIVE,
  RECORD_ON_TOLERATED,
  RECORD_ON_ZERO,
  RECORD_SIZE,
  RECORD_TOLERATED,
  SLOTS,
} from "./layout.ts";

/** One message for the agent, and what is needed to make sense of its answer. */
export interface Batch {
  readonly message: Uint8Array;
  /** Raw data that follows as messages of their own: the batch receives them into the heap. */
  readonly chunks: readonly Uint8Array[];
  /** The steps whose records are in the message, and the address of the first record. */
  readonly steps: readonly Step[];
  readonly recordsAt: number;
  /** The slots that the steps compute: known when the answer is there. */
  readonly writes: readonly Slot[];
}

export interface Encoding {
  readonly arch: Arch;
  /** The agent's descriptor of its socket to tsrun. */
  readonly socket: number;
  readonly slots: SlotTable;
}

/** A struct or string list that is longer goes to the heap, ahead of the batch that uses it. */
const HEAP_THRESHOLD = 0x4000;
/** Room that the kernel writes to lies above what can be received. */
const SPACE = BATCH + MESSAGE_LIMIT;

/**
 * Programs as messages. A message is a jump over the data, the data, then the records: records are built while the data
 * still grows, and their addresses in the data are final. Cut into several where no jump crosses.
 */
export function encodePrograms(programs: readonly Program[], encoding: Encoding): Batch[] {
  const state = newState(encoding);
  for (const program of programs) encodeProgram(state, program);
  if (state.steps.length > 0) flush(state, programs.at(-1)!.silent);
  return state.batches;
}

interface State {
  readonly encoding: Encoding;
  readonly batches: Batch[];
  data: Uint8Array;
  dataView: DataView;
  dataEnd: number;
  records: Uint8Array;
  recordsView: DataView;
  steps: Step[];
  spaceEnd: number;
  heapEnd: number;
  strings: Map<string, number>;
  objects: Map<Data, number>;
  homes: Map<Slot, number>;
  writes: Slot[];
  preload: { address: number; bytes: Uint8Array }[];
}

function newState(encoding: Encoding): State {
  const data = new Uint8Array(MESSAGE_LIMIT);
  const records = new Uint8Array(MESSAGE_LIMIT);
  return {
    encoding,
    batches: [],
    data,
    dataView: new DataView(data.buffer),
    dataEnd: RECORD_SIZE,
    records,
    recordsView: new DataView(records.buffer),
    steps: [],
    spaceEnd: SPACE,
    heapEnd: HEAP,
    strings: new Map(),
    objects: new Map(),
    homes: new Map(),
    writes: [],
    preload: [],
  };
}

function encodeProgram(state: State, program: Program): void {
  const steps = program.steps;
  let first = state.steps.length;
  /** The furthest target of a jump so far: a cut may only be made at or behind it. */
  let target = 0;
  let from = 0;
  for (let i = 0; i < steps.length; i++) {
    if (i >= target && isNearlyFull(state) && !refersBack(state, steps[i]!)) {
      flush(state, false);
      first = 0;
      from = i;
    }
    const step = steps[i]!;
    target = Math.max(target, jumpTarget(step.onPositive), jumpTarget(step.onZero), jumpTarget(step.onTolerated));
    for (const place of [step.onPositive, step.onZero, step.onTolerated]) {
      if (place !== undefined && (place.at < from || place.at > steps.length)) {
        throw new Error(
          `step ${i} of program "${program.name}" (${step.what}) jumps to ${place.at}, outside its batch`,
        );
      }
    }
    encodeStep(state, step, i - from + first, first - from);
  }
}

/** Uses a struct, or a slot in one, that the batch so far has laid out. */
function refersBack(state: State, step: Step): boolean {
  if (step.into !== undefined && state.homes.has(step.into)) return true;
  return step.args.some(
    (arg) => typeof arg === "object" && (arg.kind === "slot" ? state.homes.has(arg) : state.objects.has(arg)),
  );
}

function jumpTarget(label: Label | undefined): number {
  return label === undefined ? 0 : label.at;
}

function isNearlyFull(state: State): boolean {
  const used = state.dataEnd + state.steps.length * RECORD_SIZE;
  return used > MESSAGE_LIMIT - 4 * HEAP_THRESHOLD && state.steps.length > 0;
}

/** Writes one record; `index` is its place in the batch, `shift` what turns a label into such a place. */
function encodeStep(state: State, step: Step, index: number, shift: number): void {
  const at = index * RECORD_SIZE;
  const view = state.recordsView;
  if (at + 2 * RECORD_SIZE + state.dataEnd > MESSAGE_LIMIT) throw new Error(`"${step.what}" does not fit into a batch`);
  let flags = step.retry === true ? FLAG_RETRY : 0;
  const home = step.into?.home;
  if (home !== undefined) dataAddress(state, home);
  for (let n = 0; n < step.args.length; n++) {
    const arg = step.args[n]!;
    if (typeof arg === "object" && arg.kind === "slot" && arg.value === undefined) {
      flags |= 1 << n;
      write64(view, at + RECORD_ARGS + 8 * n, slotAddress(state, arg));
    } else write64(view, at + RECORD_ARGS + 8 * n, argValue(state, arg));
  }
  view.setUint32(at, syscallNumber(step.call, state.encoding.arch), true);
  view.setUint32(at + RECORD_FLAGS, flags, true);
  if (step.into !== undefined) {
    write64(view, at + RECORD_INTO, slotAddress(state, step.into));
    if (home === undefined) state.writes.push(step.into);
  }
  if (step.tolerate !== undefined) {
    for (const name of step.tolerate) {
      const errno = errnoNumber(name);
      const byte = at + RECORD_TOLERATED + (errno >> 3);
      state.records[byte] = state.records[byte]! | (1 << (errno & 7));
    }
  }
  writeJump(view, at + RECORD_ON_POSITIVE, index, step.onPositive, shift);
  writeJump(view, at + RECORD_ON_ZERO, index, step.onZero, shift);
  writeJump(view, at + RECORD_ON_TOLERATED, index, step.onTolerated, shift);
  state.steps.push(step);
}

function writeJump(view: DataView, at: number, index: number, label: Label | undefined, shift: number): void {
  view.setInt32(at, label === undefined ? RECORD_SIZE : (label.at + shift - index) * RECORD_SIZE, true);
}

function argValue(state: State, arg: Arg): number | bigint {
  if (typeof arg === "number" || typeof arg === "bigint") return arg;
  if (typeof arg === "string") return stringAddress(state, arg);
  if (arg.kind === "slot") return arg.value!;
  if (arg.kind === "socket") return state.encoding.socket;
  return dataAddress(state, arg);
}

function slotAddress(state: State, slot: Slot): number {
  if (slot.home === undefined) return SLOTS + 8 * slot.index;
  const address = state.homes.get(slot);
  if (address === undefined) throw new Error(`slot "${slot.name}" is used in another batch than its struct`);
  return address;
}

function stringAddress(state: State, text: string): number {
  const known = state.strings.get(text);
  if (known !== undefined) return known;
  const room = text.length * 3 + 1;
  let address: number;
  if (room > HEAP_THRESHOLD) address = toHeap(state, Buffer.from(`${text}\0`, "utf8"));
  else {
    const start = state.dataEnd;
    const { written } = encoder.encodeInto(text, state.data.subarray(start, start + room));
    state.data[start + written] = 0;
    state.dataEnd = start + written + 1;
    address = BATCH + start;
  }
  state.strings.set(text, address);
  return address;
}

const encoder = new TextEncoder();

function dataAddress(state: State, data: Data): number {
  const known = state.objects.get(data);
  if (known !== undefined) return known;
  const address = writeData(state, data);
  state.objects.set(data, address);
  return address;
}

function writeData(state: State, data: Data): number {
  switch (data.kind) {
    case "bytes":
      return data.bytes.length > HEAP_THRESHOLD ? toHeap(state, data.bytes) : inlineBytes(state, data.bytes);
    case "space":
      return reserve(state, data.size);
    case "strings":
      return writeStrings(state, data.strings);
    case "words":
      return writeWords(state, data.words);
    case "address":
      if (data.slot.index >= FIRST_SLOT) state.writes.push(data.slot, ...(data.rest ?? []));
      return slotAddress(state, data.slot);
    case "socket":
      return state.encoding.socket;
    case "text":
      throw new Error("text is only for steps that tsrun runs itself");
  }
}

function align(state: State): number {
  state.dataEnd = (state.dataEnd + 7) & ~7;
  return state.dataEnd;
}

function inlineBytes(state: State, bytes: Uint8Array): number {
  const start = align(state);
  state.data.set(bytes, start);
  state.dataEnd = start + bytes.length;
  return BATCH + start;
}

function reserve(state: State, size: number): number {
  const start = (state.spaceEnd + 7) & ~7;
  state.spaceEnd = start + size;
  if (state.spaceEnd > BATCH + BATCH_SIZE) throw new Error(`no room for ${size} bytes in a batch`);
  return start;
}

function toHeap(state: State, bytes: Uint8Array): number {
  const start = (state.heapEnd + 15) & ~15;
  state.heapEnd = start + bytes.length;
  if (state.heapEnd > HEAP + HEAP_SIZE) throw new Error("arguments and environment are longer than 8 MiB");
  state.preload.push({ address: start, bytes });
  return start;
}

/** The strings, then the array that points to them; both to the heap when they are long. */
function writeStrings(state: State, list: readonly string[]): number {
  let size = (list.length + 1) * 8;
  for (const text of list) size += text.length + 1;
  if (size > HEAP_THRESHOLD / 3) return stringsToHeap(state, list);
  const addresses = list.map((text) => stringAddress(state, text));
  const start = align(state);
  for (let i = 0; i < addresses.length; i++) write64(state.dataView, start + 8 * i, addresses[i]!);
  write64(state.dataView, start + 8 * addresses.length, 0);
  state.dataEnd = start + 8 * (addresses.length + 1);
  return BATCH + start;
}

function stringsToHeap(state: State, list: readonly string[]): number {
  const addresses = list.map((text) => toHeap(state, Buffer.from(`${text}\0`, "utf8")));
  const array = new Uint8Array((list.length + 1) * 8);
  const view = new DataView(array.buffer);
  for (let i = 0; i < addresses.length; i++) write64(view, 8 * i, addresses[i]!);
  return toHeap(state, array);
}

function writeWords(state: State, words: readonly (Arg | Slot)[]): number {
  const values = words.map((word) => {
    const unknown = typeof word === "object" && word.kind === "slot" && word.value === undefined;
    return unknown ? 0 : argValue(state, word);
  });
  const start = align(state);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    write64(state.dataView, start + 8 * i, values[i]!);
    if (typeof word === "object" && word.kind === "slot" && word.value === undefined) {
      if (state.homes.has(word)) throw new Error(`slot "${word.name}" is in two structs`);
      state.homes.set(word, BATCH + start + 8 * i);
    }
  }
  state.dataEnd = start + 8 * words.length;
  return BATCH + start;
}

function write64(view: DataView, at: number, value: number | bigint): void {
  if (typeof value === "bigint") view.setBigUint64(at, BigInt.asUintN(64, value), true);
  else {
    view.setInt32(at, value | 0, true);
    view.setInt32(at + 4, Math.floor(value / 4294967296), true);
  }
}

/** Ends the batch: after the last record, reply and wait for the next; a silent program only waits. */
function flush(state: State, silent: boolean): void {
  if (state.preload.length > 0) pushPreload(state);
  const recordsAt = align(state);
  const count = state.steps.length;
  const end = count * RECORD_SIZE;
  writeEnd(state, end, BATCH + recordsAt + end, silent);
  const message = new Uint8Array(recordsAt + end + RECORD_SIZE);
  message.set(state.data.subarray(0, recordsAt));
  message.set(state.records.subarray(0, end + RECORD_SIZE), recordsAt);
  const view = new DataView(message.buffer);
  view.setUint32(0, syscallNumber("getpid", state.encoding.arch), true);
  view.setInt32(RECORD_ON_POSITIVE, recordsAt, true);
  state.batches.push({ message, chunks: [], steps: state.steps, recordsAt: BATCH + recordsAt, writes: state.writes });
  state.records.fill(0, 0, end + RECORD_SIZE);
  state.steps = [];
  state.dataEnd = RECORD_SIZE;
  state.spaceEnd = SPACE;
  state.strings = new Map();
  state.objects = new Map();
  state.homes = new Map();
  state.writes = [];
}

/** The last record: write(socket, slots), or getpid where nothing is to be said; both go back to the loader. */
function writeEnd(state: State, at: number, address: number, silent: boolean): void {
  const view = state.recordsView;
  const { arch, socket, slots } = state.encoding;
  view.setUint32(at, syscallNumber(silent ? "getpid" : "write", arch), true);
  view.setUint32(at + RECORD_ARGS, socket, true);
  view.setUint32(at + RECORD_ARGS + 8, SLOTS, true);
  view.setUint32(at + RECORD_ARGS + 16, slots.next * 8, true);
  view.setInt32(at + RECORD_ON_POSITIVE, LOADER - address, true);
}

/** A batch of its own that receives what the next one points to, chunk by chunk. */
function pushPreload(state: State): void {
  const { arch, socket } = state.encoding;
  const chunks: Uint8Array[] = [];
  const targets: number[] = [];
  for (const { address, bytes } of joined(state.preload)) {
    for (let at = 0; at < bytes.length; at += MESSAGE_LIMIT) {
      chunks.push(bytes.subarray(at, at + MESSAGE_LIMIT));
      targets.push(address + at);
    }
  }
  const message = new Uint8Array((targets.length + 1) * RECORD_SIZE);
  const view = new DataView(message.buffer);
  for (let i = 0; i < targets.length; i++) {
    const at = i * RECORD_SIZE;
    view.setUint32(at, syscallNumber("recvfrom", arch), true);
    view.setUint32(at + RECORD_FLAGS, FLAG_RETRY, true);
    write64(view, at + RECORD_ARGS, socket);
    write64(view, at + RECORD_ARGS + 8, targets[i]!);
    write64(view, at + RECORD_ARGS + 16, chunks[i]!.length);
    view.setInt32(at + RECORD_ON_POSITIVE, RECORD_SIZE, true);
  }
  const end = targets.length * RECORD_SIZE;
  view.setUint32(end, syscallNumber("write", arch), true);
  write64(view, end + RECORD_ARGS, socket);
  write64(view, end + RECORD_ARGS + 8, SLOTS);
  write64(view, end + RECORD_ARGS + 16, state.encoding.slots.next * 8);
  view.setInt32(end + RECORD_ON_POSITIVE, LOADER - (BATCH + end), true);
  state.batches.push({ message, chunks, steps: [], recordsAt: BATCH, writes: [] });
  state.preload = [];
}

/** What lies side by side in the heap, as one piece: a long environment is thousands of short strings. */
function joined(pieces: readonly { address: number; bytes: Uint8Array }[]): { address: number; bytes: Uint8Array }[] {
  const address = pieces[0]!.address;
  const last = pieces.at(-1)!;
  const whole = new Uint8Array(last.address + last.bytes.length - address);
  for (const piece of pieces) whole.set(piece.bytes, piece.address - address);
  return [{ address, bytes: whole }];
}
