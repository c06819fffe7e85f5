/**
 * Makes a program of which the start is over: it is run once, until it calls `freeze` (src/kernel/warm-start.ts), and its
 * memory becomes a part of its file. Every later start maps that memory and goes on from there, see start-code.ts.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { errorMessage } from "../../src/errors.ts";
import { addSegment, alignToHugePages, HUGE_PAGE, newSegmentAddress, roundUp } from "./elf.ts";
import { OPTIONS } from "./entry-stub.ts";
import { withoutNotes } from "./interpreter.ts";
import { type Piece, readAt, readMemory } from "./process-memory.ts";
import { type FrozenProcess, type Mapping, startSegment, type WriteList, withoutLoader } from "./warm-start.ts";
import { prepareWarmUp, recordedLines } from "./warm-up.ts";
import { recordWrites } from "./write-lists.ts";

const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MAP_FIXED_NOREPLACE = 0x100000;

const MAP_FLAGS: Record<Piece["kind"], number> = {
  space: MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
  whole: MAP_PRIVATE | MAP_FIXED_NOREPLACE,
  written: MAP_PRIVATE | MAP_FIXED,
};

/** The system call of x86-64. */
const NR_PAUSE = 34;

/** Until a program has come to `freeze`. */
const PATIENCE_MS = 20_000;

/**
 * Bytes that are made before garbage is collected for the first time: not while the program is warmed up, which makes half of
 * that. What a collection frees lies scattered, and a command that puts its objects there writes to a fifth more pages than one that
 * goes on behind the last object.
 */
const FIRST_COLLECTION = 48 * 2 ** 20;

/**
 * What a program that is frozen is told. For all of its later lives: collect garbage without threads, for there are none;
 * do without libc's rseq(2), which the kernel would have to be told of again; bind every function now, for what binds them
 * later saves as much of the processor's state as there was in the beginning; and what every program is told.
 */
const ENVIRONMENT = {
  ...Object.fromEntries(OPTIONS.map((option) => option.split("="))),
  BUN_JSC_useConcurrentGC: "0",
  BUN_JSC_numberOfGCMarkers: "1",
  GLIBC_TUNABLES: "glibc.pthread.rseq=0",
  LD_BIND_NOW: "1",
  BUN_JSC_largeHeapSize: String(FIRST_COLLECTION),
};

/**
 * The executable `original`, for this machine, started, warmed up and frozen. `folder` is for what is needed meanwhile.
 *
 * @throws Error when it cannot be run here, or does not come to `freeze`.
 */
export function addWarmStart(original: Uint8Array, folder: string): Uint8Array {
  const file = silentInterpreter(alignToHugePages(original, "x86-64"));
  const address = newSegmentAddress(file, "x86-64");
  const enter = (frozen?: FrozenProcess) =>
    addSegment(withoutLoader(file), "x86-64", startSegment(file, address, frozen));
  const freezing = enter();
  const path = `${folder}/freezing`;
  writeFileSync(path, freezing.file, { mode: 0o755 });
  const { pieces, ...process } = freezeProgram(path, address);
  // The kernel has read the start before it is asked for huge pages.
  const memoryAt = roundUp(freezing.file.length, HUGE_PAGE);
  const mappings = mappingsOf(pieces, memoryAt);
  const complete = (lists: readonly WriteList[]) => {
    const { file } = enter({ ...process, mappings, lists });
    const gap = Buffer.alloc(memoryAt - file.length);
    return new Uint8Array(Buffer.concat([file, gap, ...pieces.map(({ content }) => content)]));
  };
  const frozen = `${folder}/frozen`;
  writeFileSync(frozen, complete([]), { mode: 0o755 });
  return complete(listsOf(frozen, `${path}-warm-up`, mappings));
}

/** With its notes the program is a little slower, and otherwise the same. */
function silentInterpreter(file: Uint8Array): Uint8Array {
  try {
    return withoutNotes(file);
  } catch (error) {
    console.error(`build: tsrun is a little slower, for the engine's interpreter takes notes: ${errorMessage(error)}`);
    return file;
  }
}

/** Without them the program is a little slower, and otherwise the same. */
function listsOf(program: string, folder: string, mappings: readonly Mapping[]): WriteList[] {
  const recorded = recordedLines(folder);
  try {
    return recordWrites(program, recorded, mappings, `${folder}/log`);
  } catch (error) {
    for (const { command, line } of recorded) if (command === "delete") Bun.spawnSync([program, ...line]);
    console.error(`build: tsrun is a little slower, for it is not known what commands write: ${errorMessage(error)}`);
    return [];
  }
}

type Frozen = Omit<FrozenProcess, "mappings" | "lists"> & { readonly pieces: readonly Piece[] };

/** `end`: of what the program's own segments are. */
function freezeProgram(path: string, end: number): Frozen {
  const folder = `${path}-warm-up`;
  mkdirSync(folder);
  const env = { ...ENVIRONMENT, TSRUN_WARM_UP: JSON.stringify(prepareWarmUp(folder)) };
  const errors = Bun.file(`${folder}/errors`);
  // The engine takes its stack for as large as this limit, and start-code.ts makes one of 8 MiB.
  const limited = ["/bin/sh", "-c", 'ulimit -S -s 8192 || :; exec "$0"', path];
  const child = Bun.spawn(limited, { env, stdio: ["ignore", "ignore", errors] });
  try {
    const stack = waitForPause(child.pid);
    const threads = readdirSync(`/proc/${child.pid}/task`).length;
    if (threads !== 1) throw new Error(`cannot freeze ${path}: it has ${threads} threads`);
    return { ...readRegisters(child.pid, stack), pieces: ownLast(readMemory(child.pid, path, end), end) };
  } finally {
    child.kill("SIGKILL");
    tellErrors(`${folder}/errors`);
  }
}

/** A machine on which no container can be run is no reason not to build: the program is slower, and otherwise the same. */
function tellErrors(path: string): void {
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  const isFailed = (line: string) => / exit status \d+$/.test(line);
  const failed = lines.filter(isFailed).length;
  if (failed === 0) return;
  // What it has said itself comes before.
  const cause = lines[lines.findIndex(isFailed) - 1] ?? lines[0];
  console.error(
    `build: ${failed} commands of the warm-up failed here, and tsrun is a little slower for it; the first says: ${cause}`,
  );
}

/** Waits until a process is in pause(2). Returns its stack pointer (proc_pid_syscall(5)). */
function waitForPause(pid: number): number {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; Bun.sleepSync(1)) {
    const words = readFileSync(`/proc/${pid}/syscall`, "utf8").trim().split(" ");
    if (Number(words[0]) === NR_PAUSE) return Number(words.at(-2));
    if (words[0] === "-1" && readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ")) break;
  }
  throw new Error(`cannot freeze process ${pid}: it does not come to where it should stop`);
}

/** What `freeze` of start-code.ts has left on the stack. */
function readRegisters(pid: number, stack: number): Pick<FrozenProcess, "kind" | "stack" | "tid"> {
  const pushed = readAt(pid, stack, 32);
  const [threadPointer, ...kind] = [0, 8, 16, 24].map((at) => pushed.readBigUInt64LE(at));
  const block = Number(threadPointer);
  return { kind: kind.reverse(), stack, tid: findThreadId(block, readAt(pid, block, 2048), pid) };
}

/** Where libc keeps the thread's id: a lock that knows its owner by it must not take a new thread for the old one. */
function findThreadId(address: number, block: Buffer, pid: number): number {
  const found = Array.from({ length: block.length / 4 }, (_, i) => 4 * i).filter((at) => block.readInt32LE(at) === pid);
  if (found.length !== 1) throw new Error(`cannot freeze process ${pid}: libc keeps its id in ${found.length} places`);
  return address + found[0]!;
}

/** What lies over the program's own segments comes last: until then there is a way back. */
function ownLast(pieces: readonly Piece[], end: number): Piece[] {
  return [...pieces.filter(({ address }) => address >= end), ...pieces.filter(({ address }) => address < end)];
}

/** The contents come one after another, from `offset` in the file. */
function mappingsOf(pieces: readonly Piece[], offset: number): Mapping[] {
  let at = offset;
  return pieces.map(({ kind, address, length, protection, content }) => {
    const mapping = { address, length, protection, flags: MAP_FLAGS[kind], offset: kind === "space" ? 0 : at };
    at += content.length;
    return mapping;
  });
}
