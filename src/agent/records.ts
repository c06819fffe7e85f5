import { errnoNumber } from "../abi/errno.ts";
import { type Arch, syscallNumber } from "../abi/syscalls.ts";
import { CLOCK_TAI } from "../abi/time.ts";
import { type Arg, type Data, FIRST_SLOT, type Program, type Slot, type SlotTable, type Step } from "../plan/step.ts";
import { utf8 } from "../text.ts";
import {
  BATCH,
  BATCH_SIZE,
  FLAG_RETRY,
  HEAP,
  HEAP_SIZE,
  LOADER,
  MESSAGE_LIMIT,
  RECORD_ARGS,
  RECORD_INTO,
  RECORD_ON_POSITIVE,
  RECORD_SIZE,
  RECORD_TOLERATED,
  SLOTS,
  timesSize,
} from "./layout.ts";

/** One message for the agent, and what is needed to make sense of its answer. */
export interface Batch {
  readonly message: Uint8Array;
  /** Raw data that follows as messages of their own: the batch receives them into the heap. */
  readonly chunks: readonly Uint8Array[];
  /** The steps whose records are in the message, and the address of the first record. */
  readonly steps: readonly Step[];
  readonly recordsAt: number;
  /** Records per step. */
  readonly stride: number;
  /** The slots that the steps compute: known when the answer is there. */
  readonly writes: readonly Slot[];
  readonly times?: Times;
}

/** The times at which the steps of a batch began, two words each (struct timespec). */
export interface Times {
  /** Where the agent keeps them; behind the last one it notes when that step has ended. */
  readonly address: number;
  /** How many the batch itself sends, as a message ahead of its last steps; undefined when they can be asked for. */
  readonly sent: number | undefined;
}

export interface Encoding {
  readonly arch: Arch;
  /** The agent's descriptor of its socket to tsrun. */
  readonly socket: number;
  readonly slots: SlotTable;
  /**
   * Before the record of each step, one that notes the time. Where a silent program comes to what may forbid to talk
   * (seccomp) or ends all talk (execve), the times so far are sent in place of that.
   */
  readonly timed?: boolean;
}

/** A struct or string list that is longer goes to the heap, ahead of the batch that uses it. */
const HEAP_THRESHOLD = 0x4000;
/** A string, or a list of strings, that does. */
const LONG_STRING = HEAP_THRESHOLD / 3;
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
  /** Bytes of the message: its first record, then the data; and the same as 32-bit words. */
  readonly data: Buffer;
  readonly dataWords: Int32Array;
  dataEnd: number;
  /** The records that come behind the data, as 32-bit words. */
  readonly records: Int32Array;
  steps: Step[];
  /** Records per step: 2 when it is timed. */
  readonly stride: number;
  /** 0 when no times are noted. */
  times: number;
  timesSent: number | undefined;
  /** A timed step so far has loaded a seccomp filter. */
  isFiltered: boolean;
  spaceEnd: number;
  heapEnd: number;
  strings: Map<string, number>;
  objects: Map<Data, number>;
  homes: Map<Slot, number>;
  writes: Slot[];
  preload: { address: number; bytes: Uint8Array }[];
}

/** One of each is enough: messages are copied out of them. Words of records that nobody writes must be 0. */
let dataRoom: Buffer | undefined;
let dataWordsRoom: Int32Array | undefined;
let recordsRoom: Int32Array | undefined;

function newState(encoding: Encoding): State {
  dataRoom ??= Buffer.allocUnsafeSlow(MESSAGE_LIMIT);
  dataWordsRoom ??= new Int32Array(dataRoom.buffer);
  recordsRoom ??= new Int32Array(MESSAGE_LIMIT / 4);
  const state: State = {
    encoding,
    batches: [],
    data: dataRoom,
    dataWords: dataWordsRoom,
    dataEnd: RECORD_SIZE,
    records: recordsRoom,
    steps: [],
    stride: encoding.timed === true ? 2 : 1,
    times: 0,
    timesSent: undefined,
    isFiltered: false,
    spaceEnd: SPACE,
    heapEnd: HEAP,
    strings: new Map(),
    objects: new Map(),
    homes: new Map(),
    writes: [],
    preload: [],
  };
  if (state.stride === 2) state.times = reserve(state, TIMES_SIZE);
  return state;
}

/** As many as fit into a batch, and the end. */
const TIMES_SIZE = 16 * (MESSAGE_LIMIT / RECORD_SIZE / 2 + 1);

function encodeProgram(state: State, program: Program): void {
  const steps = program.steps;
  /** The furthest target of a jump so far: a cut may only be made at or behind it. */
  let target = 0;
  /** What turns the number of a step into its place in the batch. */
  let shift = state.steps.length;
  for (let i = 0; i < steps.length; i++) {
    const step = steps[i]!;
    if (i >= target && isNearlyFull(state) && !refersBack(state, step)) {
      flush(state, false);
      shift = -i;
    }
    const isTimed = state.stride === 2;
    if (isTimed) encodeClock(state, program, step, i + shift);
    encodeStep(state, step, i + shift);
    if (isTimed && step.call === "seccomp") state.isFiltered = true;
    // A filter may have something against a look at the clock: its record is passed over.
    const skips = state.isFiltered ? RECORD_SIZE : 0;
    const at = placeOf(state, i + shift) * RECORD_WORDS + JUMPS_WORD;
    if (skips > 0) state.records.fill(RECORD_SIZE + skips, at, at + 3);
    const { onPositive, onZero, onTolerated } = step;
    if (onPositive === undefined && onZero === undefined && onTolerated === undefined) continue;
    for (let n = 0; n < 3; n++) {
      const label = n === 0 ? onPositive : n === 1 ? onZero : onTolerated;
      if (label === undefined) continue;
      if (label.at + shift < 0 || label.at > steps.length)
        throw new Error(`"${step.what}" of program "${program.name}" jumps to ${label.at}, outside its batch`);
      // To the first record of that step.
      state.records[at + n] = ((label.at - i) * state.stride - (state.stride - 1)) * RECORD_SIZE + skips;
      if (label.at > target) target = label.at;
    }
  }
}

/** Uses a struct, or a slot in one, that the batch so far has laid out. */
function refersBack(state: State, step: Step): boolean {
  if (step.into !== undefined && state.homes.has(step.into)) return true;
  return step.args.some(
    (arg) => typeof arg === "object" && (arg.kind === "slot" ? state.homes.has(arg) : state.objects.has(arg)),
  );
}

function isNearlyFull(state: State): boolean {
  const count = state.steps.length;
  return count > 0 && state.dataEnd + count * state.stride * RECORD_SIZE > MESSAGE_LIMIT - 4 * HEAP_THRESHOLD;
}

/**
 * Writes one record but for its jumps; `index` is its place in the batch. This runs for some hundred steps before any of it is compiled, hence words of a typed array in place of a DataView, and plain loops.
 */
function encodeStep(state: State, step: Step, index: number): void {
  const words = state.records;
  const place = placeOf(state, index);
  const at = place * RECORD_WORDS;
  if ((place + 3) * RECORD_SIZE + state.dataEnd > MESSAGE_LIMIT)
    throw new Error(`"${step.what}" does not fit into a batch`);
  const { args, into, tolerate } = step;
  const home = into?.home;
  if (home !== undefined) dataAddress(state, home);
  let flags = step.retry === true ? FLAG_RETRY : 0;
  for (let n = 0; n < args.length; n++) {
    const arg = args[n]!;
    const word = at + ARGS_WORD + 2 * n;
    if (typeof arg === "number") putNumber(words, word, arg);
    else if (typeof arg === "string") words[word] = stringAddress(state, arg);
    else if (isUnknown(arg)) {
      flags |= 1 << n;
      words[word] = slotAddress(state, arg);
    } else put(words, word, argValue(state, arg));
  }
  words[at] = syscallNumber(step.call, state.encoding.arch);
  words[at + 1] = flags;
  if (into !== undefined) {
    words[at + INTO_WORD] = slotAddress(state, into);
    if (home === undefined) state.writes.push(into);
  }
  if (tolerate !== undefined) {
    for (let i = 0; i < tolerate.length; i++) {
      const errno = errnoNumber(tolerate[i]!);
      const word = at + TOLERATED_WORD + (errno >> 5);
      words[word] = words[word]! | (1 << (errno & 31));
    }
  }
  for (let n = 0; n < 3; n++) words[at + JUMPS_WORD + n] = RECORD_SIZE;
  state.steps.push(step);
}

/** A timed step is the second of two records. */
function placeOf(state: State, index: number): number {
  return (index + 1) * state.stride - 1;
}

/** What goes before the step: its time, or the message with all times before it. */
function encodeClock(state: State, program: Program, step: Step, index: number): void {
  const at = index * state.stride * RECORD_WORDS;
  const isLast = program.silent && (step.call === "execve" || step.call === "seccomp");
  if (!isLast || state.timesSent !== undefined) {
    writeClock(state, at, state.times + 16 * index);
    return;
  }
  const words = state.records;
  words[at] = syscallNumber("write", state.encoding.arch);
  words[at + ARGS_WORD] = state.encoding.socket;
  words[at + ARGS_WORD + 2] = state.times;
  words[at + ARGS_WORD + 4] = timesSize(index);
  words.fill(RECORD_SIZE, at + JUMPS_WORD, at + JUMPS_WORD + 3);
  state.timesSent = index;
}

function writeClock(state: State, at: number, address: number): void {
  const words = state.records;
  words[at] = syscallNumber("clock_gettime", state.encoding.arch);
  words[at + ARGS_WORD] = CLOCK_TAI;
  words[at + ARGS_WORD + 2] = address;
  words.fill(RECORD_SIZE, at + JUMPS_WORD, at + JUMPS_WORD + 3);
}

/** The layout of records (layout.ts) in 32-bit words. */
const RECORD_WORDS = RECORD_SIZE / 4;
const ARGS_WORD = RECORD_ARGS / 4;
const INTO_WORD = RECORD_INTO / 4;
const TOLERATED_WORD = RECORD_TOLERATED / 4;
const JUMPS_WORD = RECORD_ON_POSITIVE / 4;

/** A 64-bit value into two words that are 0; a typed array takes a number modulo 2^32. */
function put(words: Int32Array, at: number, value: number | bigint): void {
  if (typeof value === "number") putNumber(words, at, value);
  else {
    words[at] = Number(BigInt.asIntN(32, value));
    words[at + 1] = Number(BigInt.asIntN(32, value >> 32n));
  }
}

function putNumber(words: Int32Array, at: number, value: number): void {
  words[at] = value;
  if (value < 0 || value > 0xffffffff) words[at + 1] = Math.floor(value / 4294967296);
}

function argValue(state: State, arg: Arg): number | bigint {
  if (typeof arg === "number" || typeof arg === "bigint") return arg;
  if (typeof arg === "string") return stringAddress(state, arg);
  if (isSlot(arg)) return arg.value!;
  if (arg.kind === "words") return dataAddress(state, arg);
  if (arg.kind === "socket") return state.encoding.socket;
  if (arg.kind === "beside") return (arg.of === "socket" ? state.encoding.socket : arg.of.value!) + arg.by;
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
  const start = state.dataEnd;
  const length = state.data.write(text, start);
  let address = BATCH + start;
  // As much as that may also be what was left of the room.
  if (length >= LONG_STRING) address = toHeap(state, utf8(`${text}\0`));
  else {
    state.data[start + length] = 0;
    state.dataEnd = start + length + 1;
  }
  state.strings.set(text, address);
  return address;
}

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
    case "beside":
      throw new Error("the number of a descriptor has no address");
    case "text":
    case "words of a command":
    case "pair":
      throw new Error(`data of kind "${data.kind}" is only for steps that tsrun runs itself`);
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

/** The array, then the strings that it points to; both to the heap when they are long. */
function writeStrings(state: State, list: readonly string[]): number {
  let size = (list.length + 1) * 8;
  for (const text of list) size += text.length + 1;
  if (size > LONG_STRING) return stringsToHeap(state, list);
  return writeWords(state, [...list, 0]);
}

function stringsToHeap(state: State, list: readonly string[]): number {
  const array = new Int32Array((list.length + 1) * 2);
  for (let i = 0; i < list.length; i++) put(array, 2 * i, toHeap(state, utf8(`${list[i]}\0`)));
  return toHeap(state, new Uint8Array(array.buffer));
}

function writeWords(state: State, words: readonly (Arg | Slot)[]): number {
  const start = align(state);
  // What the words point to comes behind them.
  state.dataEnd = start + 8 * words.length;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const at = (start >> 2) + 2 * i;
    state.dataWords[at] = state.dataWords[at + 1] = 0;
    if (typeof word === "number") putNumber(state.dataWords, at, word);
    else if (!isUnknown(word)) put(state.dataWords, at, argValue(state, word));
    else if (state.homes.has(word)) throw new Error(`slot "${word.name}" is in two structs`);
    else state.homes.set(word, BATCH + start + 8 * i);
  }
  return BATCH + start;
}

function isUnknown(arg: Arg): arg is Slot {
  if (typeof arg === "number" || typeof arg === "string" || typeof arg === "bigint") return false;
  return isSlot(arg) && arg.value === undefined;
}

/** By a property that only slots have: to compare strings, such as kinds, is no fast operation of an interpreter. */
function isSlot(arg: Slot | Data): arg is Slot {
  return (arg as Slot).index !== undefined;
}

/** Ends the batch: after the last record, reply and wait for the next; a silent program only waits. */
function flush(state: State, silent: boolean): void {
  if (state.preload.length > 0) pushPreload(state);
  const recordsAt = align(state);
  const count = state.steps.length;
  let last = count * state.stride;
  if (state.times !== 0) writeClock(state, last++ * RECORD_WORDS, state.times + 16 * count);
  const words = (last + 1) * RECORD_WORDS;
  writeEnd(state, last * RECORD_WORDS, BATCH + recordsAt + last * RECORD_SIZE, silent);
  const message = new Uint8Array(recordsAt + words * 4);
  message.set(state.data.subarray(RECORD_SIZE, recordsAt), RECORD_SIZE);
  message.set(new Uint8Array(state.records.buffer, 0, words * 4), recordsAt);
  const view = new DataView(message.buffer);
  view.setUint32(0, syscallNumber("getpid", state.encoding.arch), true);
  view.setInt32(RECORD_ON_POSITIVE, recordsAt, true);
  const { steps, writes, stride, times: address, timesSent: sent } = state;
  const batch = { message, chunks: [], steps, recordsAt: BATCH + recordsAt, stride, writes };
  state.batches.push(address === 0 ? batch : { ...batch, times: { address, sent } });
  state.records.fill(0, 0, words);
  state.steps = [];
  state.dataEnd = RECORD_SIZE;
  state.spaceEnd = SPACE;
  if (stride === 2) state.times = reserve(state, TIMES_SIZE);
  state.timesSent = undefined;
  state.strings = new Map();
  state.objects = new Map();
  state.homes = new Map();
  state.writes = [];
}

/** The last record: write(socket, slots), or getpid where nothing is to be said; both go back to the loader. */
function writeEnd(state: State, at: number, address: number, silent: boolean): void {
  const words = state.records;
  const { arch, socket, slots } = state.encoding;
  words[at] = syscallNumber(silent ? "getpid" : "write", arch);
  words[at + ARGS_WORD] = socket;
  words[at + ARGS_WORD + 2] = SLOTS;
  words[at + ARGS_WORD + 4] = slots.next * 8;
  words[at + JUMPS_WORD] = LOADER - address;
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
  const words = new Int32Array((targets.length + 1) * RECORD_WORDS);
  for (let i = 0; i < targets.length; i++) {
    const at = i * RECORD_WORDS;
    words[at] = syscallNumber("recvfrom", arch);
    words[at + 1] = FLAG_RETRY;
    words[at + ARGS_WORD] = socket;
    words[at + ARGS_WORD + 2] = targets[i]!;
    words[at + ARGS_WORD + 4] = chunks[i]!.length;
    words[at + JUMPS_WORD] = RECORD_SIZE;
  }
  const end = targets.length * RECORD_WORDS;
  words[end] = syscallNumber("write", arch);
  words[end + ARGS_WORD] = socket;
  words[end + ARGS_WORD + 2] = SLOTS;
  words[end + ARGS_WORD + 4] = state.encoding.slots.next * 8;
  words[end + JUMPS_WORD] = LOADER - (BATCH + end * 4);
  const message = new Uint8Array(words.buffer);
  state.batches.push({ message, chunks, steps: [], recordsAt: BATCH, stride: 1, writes: [] });
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
