import type { ErrnoName } from "../abi/errno.ts";
import type { SyscallName } from "../abi/syscalls.ts";

/**
 * One system call, as data; `execve` in a program that tsrun itself runs means a child that is waited for. A plan is a list of these: it can be printed, traced, tested without root, encoded for the
 * agent, or run by tsrun itself; nothing else in tsrun changes the machine on the way to a container.
 */
export interface Step {
  readonly call: SyscallName;
  /** Up to six. A string is the address of a NUL-terminated copy of it. */
  readonly args: readonly Arg[];
  /** What is done, as it follows "cannot": `mount "proc" on "/proc"`. */
  readonly what: string;
  /** JSON pointer of the config property that this step serves; empty for what every container needs. */
  readonly pointer?: string | undefined;
  /** Where the result goes, a tolerated error as the negative errno. */
  readonly into?: Slot | undefined;
  /** Errors (numbers up to 127) that do not stop the program. */
  readonly tolerate?: readonly ErrnoName[] | undefined;
  /** Begin again on EINTR and EAGAIN: calls that wait, and openat2(2), which says EAGAIN when a rename raced it. */
  readonly retry?: boolean | undefined;
  /** Where to go on; the next step where absent. */
  readonly onPositive?: Label | undefined;
  readonly onZero?: Label | undefined;
  readonly onTolerated?: Label | undefined;
  /**
   * The whole message to use instead of `cannot <what>: <errno text>`, for texts that engines look for; `*` is any
   * errno, and CAUSE in it stands for the errno text.
   */
  readonly says?: Readonly<Record<string, string>> | undefined;
  /** What the reader can do about it. */
  readonly hint?: string | undefined;
  /** A descriptor from fsopen(2): when the step fails, the kernel's own explanation is read from it into the message. */
  readonly fsContext?: Slot | undefined;
  /** Only for steps that tsrun itself runs: how to have the kernel explain why the step fails. */
  readonly explain?: Explanation | undefined;
}

/** The same call once more, with arguments that make the kernel write its reasons, as text, into `log`. */
export interface Explanation {
  readonly args: readonly Arg[];
  readonly log: Data;
}

/** No path and no argument can hold it. */
export const CAUSE = "\0";

/** The result of a step, for later steps: of the same program, or of a later program of the same conversation. */
export interface Slot {
  readonly kind: "slot";
  readonly name: string;
  readonly index: number;
  /** Known as soon as the program that computes it has replied; from then on the encoder uses it as an immediate. */
  value: number | undefined;
  /** The struct that holds the slot as one of its words: the step that computes it writes there, and nowhere else. */
  home: Data | undefined;
}

/** A place in a program to jump to. */
export interface Label {
  readonly kind: "label";
  at: number;
}

export type Data =
  /** Bytes to read from. */
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  /** Room for the kernel to write `size` bytes to. */
  | { readonly kind: "space"; readonly size: number }
  /** A NULL-terminated array of strings: argv, envp. */
  | { readonly kind: "strings"; readonly strings: readonly string[] }
  /** A string with the values of slots in it; only for steps that tsrun itself runs. */
  | { readonly kind: "text"; readonly parts: readonly (string | Slot)[] }
  /** A NULL-terminated array of strings, slots among them in decimal; only for steps that tsrun itself runs. */
  | { readonly kind: "words of a command"; readonly words: readonly (string | Slot)[] }
  /** The address that a slot is stored at, for results that the kernel writes through a pointer (wait4's status). */
  | { readonly kind: "address"; readonly slot: Slot; readonly rest?: readonly Slot[] }
  /** The descriptor of the agent's socket to tsrun. */
  | { readonly kind: "socket" }
  /** The number of a descriptor that is known when the program is encoded, plus `by`. */
  | { readonly kind: "beside"; readonly of: Slot | "socket"; readonly by: number }
  /** Two fields of 32 bits in one word of a struct; only for steps that tsrun itself runs. */
  | { readonly kind: "pair"; readonly low: number | Slot; readonly high: number | Slot }
  /** A struct as 64-bit words, made by `struct`. */
  | { readonly kind: "words"; readonly type: StructType; readonly words: readonly Word[] };

export type Word = number | bigint | string | Data | Slot;

/** Structs by the kernel's names; `plan` prints them field by field. */
export type StructType =
  | "clone_args"
  | "open_how"
  | "mount_attr"
  | "rlimit"
  | "cap_header"
  | "cap_data"
  | "sched_attr"
  | "timespec"
  | "pollfd"
  | "winsize"
  | "msghdr"
  | "iovec"
  | "cmsg_rights"
  | "gid_list"
  | "int"
  | "cpu_set"
  | "bpf_attr"
  | "sock_fprog"
  | "u64";

export type Arg = number | bigint | string | Slot | Data;

/** A list of steps for one process, in order. */
export interface Program {
  readonly name: string;
  readonly steps: Step[];
  /** True when the steps themselves send the reply (see `reply`), or when no one is left to send it. */
  readonly silent: boolean;
  /** What its steps open is closed all at once by a later program, not by steps of their own (see closeFd). */
  readonly closesLater: boolean;
}

export function program(name: string, options: { silent?: boolean; closesLater?: boolean } = {}): Program {
  return { name, steps: [], silent: options.silent ?? false, closesLater: options.closesLater ?? false };
}

export function add(program: Program, step: Step): void {
  program.steps.push(complete(step));
}

/**
 * The step with all properties, in one order, whatever its maker names: what reads steps one after the other finds each
 * property where the last step had it, which is most of the time that encoding takes.
 */
export function complete(step: Step): Step {
  return { ...EVERY_PROPERTY, ...step };
}

export function addAll(program: Program, steps: readonly Step[]): void {
  for (let i = 0; i < steps.length; i++) add(program, steps[i]!);
}

const EVERY_PROPERTY: Required<Step> = {
  call: "getpid",
  args: [],
  what: "",
  pointer: undefined,
  into: undefined,
  tolerate: undefined,
  retry: undefined,
  onPositive: undefined,
  onZero: undefined,
  onTolerated: undefined,
  says: undefined,
  hint: undefined,
  fsContext: undefined,
  explain: undefined,
};

/** Numbers slots from 3: the first three words of the area are what tells a reply from an error report. */
export interface SlotTable {
  next: number;
}

export const FIRST_SLOT = 3;

export function slotTable(): SlotTable {
  return { next: FIRST_SLOT };
}

export function slot(table: SlotTable, name: string): Slot {
  return numberedSlot(name, table.next++);
}

/** Of a number that something else has given out: a table in C (fstat), a range kept free. */
export function numberedSlot(name: string, index: number): Slot {
  return { kind: "slot", name, index, value: undefined, home: undefined };
}

export function label(): Label {
  return { kind: "label", at: -1 };
}

/** Puts the label before the next step that is added to the program. */
export function place(program: Program, label: Label): void {
  label.at = program.steps.length;
}

/**
 * `words` as the C struct `type`. A slot among them that is not known when the struct is laid out has its home there;
 * only steps of the same batch can use it.
 */
export function struct(type: StructType, ...words: Word[]): Data {
  const made: Data = { kind: "words", type, words };
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (typeof word === "number" || typeof word === "string" || typeof word === "bigint") continue;
    if (word.kind === "slot") word.home ??= made;
  }
  return made;
}

export function pair(low: number | Slot, high: number | Slot): Data {
  return { kind: "pair", low, high };
}

export function bytes(bytes: Uint8Array): Data {
  return { kind: "bytes", bytes };
}

export function space(size: number): Data {
  return { kind: "space", size };
}

export function strings(strings: readonly string[]): Data {
  return { kind: "strings", strings };
}

/** `rest`: slots behind it that the kernel writes as well, where the result is a struct (fstat's). */
export function addressOf(slot: Slot, rest: readonly Slot[] = []): Data {
  return { kind: "address", slot, rest };
}

export const socket: Data = { kind: "socket" };

export function beside(of: Slot | "socket", by: number): Data {
  return { kind: "beside", of, by };
}

/** The step that sends all slots of `table` to tsrun: what every program ends with, unless it is silent. */
export function reply(table: SlotTable): Step {
  const first = numberedSlot("slots", 0);
  return { call: "write", args: [socket, addressOf(first), table.next * 8], what: "reply" };
}

export function commandLine(...words: (string | Slot)[]): Data {
  return { kind: "words of a command", words };
}

export function text(...parts: (string | Slot)[]): Data {
  return { kind: "text", parts };
}
