/**
 * Makes a program of which the start is over: it is run once, until it calls `freeze` (src/kernel/warm-start.ts), and its
 * memory becomes a part of its file. Every later start maps that memory and goes on from there, see warm-start.ts.
 */
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { addSegment, alignToHugePages, newSegmentAddress } from "./elf.ts";
import { type FrozenProcess, type Mapping, START_SIZE, startSegment, withoutLoader } from "./warm-start.ts";
import { prepareWarmUp } from "./warm-up.ts";

const PAGE = 4096;
const PROT_READ = 1;
const PROT_WRITE = 2;
const PROT_EXEC = 4;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MAP_FIXED_NOREPLACE = 0x100000;

/** Pages that lie so close are mapped together with those between: a mapping costs time at each start, zeros in the file none. */
const NEAR = 512;

/** Until a program has come to `freeze`. */
const PATIENCE_MS = 20_000;

/**
 * What a program that is frozen is told. For all of its later lives: collect garbage without threads, for there are none;
 * do without libc's rseq(2), which the kernel would have to be told of again; bind every function now, for what binds them
 * later saves as much of the processor's state as there was in the beginning; and see OPTIONS in entry-stub.ts.
 */
const OPTIONS = {
  BUN_JSC_useBaselineJIT: "0",
  BUN_JSC_useWarmUpMarkedBlocks: "0",
  BUN_JSC_useConcurrentGC: "0",
  BUN_JSC_numberOfGCMarkers: "1",
  GLIBC_TUNABLES: "glibc.pthread.rseq=0",
  LD_BIND_NOW: "1",
};

/**
 * The executable `original`, for this machine, started, warmed up and frozen. `folder` is for what is needed meanwhile.
 *
 * @throws Error when it cannot be run here, or does not come to `freeze`.
 */
export function addWarmStart(original: Uint8Array, folder: string): Uint8Array {
  const file = alignToHugePages(original, "x86-64");
  const address = newSegmentAddress(file, "x86-64");
  const enter = (frozen?: FrozenProcess) =>
    addSegment(withoutLoader(file), "x86-64", startSegment(file, address, frozen));
  const freezing = enter();
  const path = `${folder}/freezing`;
  writeFileSync(path, freezing.file, { mode: 0o755 });
  const { process, contents } = freezeProgram(path, address, freezing.offset + START_SIZE);
  return new Uint8Array(Buffer.concat([enter(process).file, ...contents]));
}

/** `offset`: where the contents of its memory are going to be in the file. `end`: of what the program's own segments are. */
function freezeProgram(path: string, end: number, offset: number): { process: FrozenProcess; contents: Buffer[] } {
  const folder = `${path}-warm-up`;
  mkdirSync(folder);
  const env = { ...OPTIONS, TSRUN_WARM_UP: JSON.stringify(prepareWarmUp(folder)) };
  const errors = Bun.file(`${folder}/errors`);
  // The engine takes its stack for as large as this limit, and start-code.ts makes one of 8 MiB.
  const limited = ["/bin/sh", "-c", 'ulimit -S -s 8192 || :; exec "$0"', path];
  const child = Bun.spawn(limited, { env, stdio: ["ignore", "ignore", errors] });
  try {
    const stack = waitForPause(child.pid);
    const threads = readdirSync(`/proc/${child.pid}/task`).length;
    if (threads !== 1) throw new Error(`cannot freeze ${path}: it has ${threads} threads`);
    return readProcess(child.pid, path, stack, end, offset);
  } finally {
    child.kill("SIGKILL");
    tellErrors(`${folder}/errors`);
  }
}

/** A machine on which no container can be run is no reason not to build: the program is slower, and otherwise the same. */
function tellErrors(path: string): void {
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  const failed = lines.filter((line) => / exit status \d+$/.test(line)).length;
  if (failed === 0) return;
  console.error(
    `build: ${failed} commands of the warm-up failed here, and tsrun is a little slower for it; the first says: ${lines[0]}`,
  );
}

/** The stack pointer of a process that is in pause(2). */
function waitForPause(pid: number): number {
  const NR_PAUSE = "34";
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; Bun.sleepSync(2)) {
    const words = readFileSync(`/proc/${pid}/syscall`, "utf8").trim().split(" ");
    if (words[0] === NR_PAUSE) return Number(words.at(-2));
    if (words[0] === "-1" && readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ")) break;
  }
  throw new Error(`cannot freeze process ${pid}: it does not come to where it should stop`);
}

function readProcess(
  pid: number,
  path: string,
  stack: number,
  end: number,
  offset: number,
): { process: FrozenProcess; contents: Buffer[] } {
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const pageMap = openSync(`/proc/${pid}/pagemap`, "r");
  try {
    const read = (address: number, length: number) => readExactly(memory, address, length);
    const contents: Buffer[] = [];
    let at = offset;
    const keep = (address: number, length: number): number => {
      contents.push(read(address, length));
      at += length;
      return at - length;
    };
    const areas = readAreas(pid).filter((area) => area.path !== path || area.start < end);
    const mappings = areas.flatMap((area) =>
      mapArea(area, path, readExactly(pageMap, area.start / 512, (area.end - area.start) / 512), keep),
    );
    // What lies over the program's own segments comes last: until then there is a way back.
    const [own, others] = [
      mappings.filter(({ address }) => address < end),
      mappings.filter(({ address }) => address >= end),
    ];
    const words = Array.from({ length: 4 }, (_, i) => read(stack + 8 * i, 8).readBigUInt64LE());
    const [threadPointer, ...kind] = words;
    const tid = findThreadId(Number(threadPointer), read(Number(threadPointer), 2048), pid);
    return { process: { kind: kind.reverse(), stack, tid, mappings: [...others, ...own] }, contents };
  } finally {
    closeSync(memory);
    closeSync(pageMap);
  }
}

interface Area {
  readonly start: number;
  readonly end: number;
  readonly protection: number;
  /** Of a file; empty for anonymous memory. */
  readonly path: string;
}

/** /proc/<pid>/maps (proc_pid_maps(5)), without what the kernel gives every process: its stack and its own code. */
function readAreas(pid: number): Area[] {
  const lines = readFileSync(`/proc/${pid}/maps`, "utf8").trimEnd().split("\n");
  return lines.flatMap((line) => {
    const [, start, end, permissions, name] = /^(\w+)-(\w+) (\S+) \S+ \S+ \d+ *(.*)$/.exec(line)!;
    if (/^\[(stack|vdso|vvar.*|vsyscall)\]$/.test(name!)) return [];
    const has = (letter: string, bit: number) => (permissions!.includes(letter) ? bit : 0);
    const protection = has("r", PROT_READ) | has("w", PROT_WRITE) | has("x", PROT_EXEC);
    if (permissions!.endsWith("s")) throw new Error(`cannot freeze process ${pid}: it shares memory: ${line}`);
    return {
      start: parseInt(start!, 16),
      end: parseInt(end!, 16),
      protection,
      path: name!.startsWith("[") ? "" : name!,
    };
  });
}

/**
 * How an area comes back. Libraries: whole, for the machine may have others one day. Anonymous memory: as much address
 * space, and the pages that were written. Of the program's segments, which the kernel maps: the pages that were written.
 */
function mapArea(
  area: Area,
  path: string,
  pageMap: Buffer,
  keep: (address: number, length: number) => number,
): Mapping[] {
  const { start, end, protection } = area;
  if (area.path !== "" && area.path !== path) {
    const flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE;
    return [{ address: start, length: end - start, protection, flags, offset: keep(start, end - start) }];
  }
  const pages = runsOf(writtenPages(pageMap), area.path === "" ? NEAR : 1).map(([first, last]) => {
    const [address, length] = [start + first * PAGE, (last - first + 1) * PAGE];
    return { address, length, protection, flags: MAP_PRIVATE | MAP_FIXED, offset: keep(address, length) };
  });
  if (area.path === path) return pages;
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
  return [{ address: start, length: end - start, protection, flags, offset: 0 }, ...pages];
}

/** Pages that are there, or swapped out, and are not those of a file (pagemap(5): 63 present, 62 swapped, 61 file). */
function writtenPages(pageMap: Buffer): number[] {
  const pages: number[] = [];
  for (let i = 0; i < pageMap.length / 8; i++) {
    const state = pageMap.readUInt32LE(8 * i + 4) >>> 29;
    if (state === 0b100 || state === 0b010) pages.push(i);
  }
  return pages;
}

/** First and last of the numbers that are not further apart than `near`. */
function runsOf(numbers: readonly number[], near: number): [number, number][] {
  const runs: [number, number][] = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last !== undefined && number - last[1] <= near) last[1] = number;
    else runs.push([number, number]);
  }
  return runs;
}

/** Where libc keeps the thread's id: a lock that knows its owner by it must not take a new thread for the old one. */
function findThreadId(address: number, block: Buffer, pid: number): number {
  const found = Array.from({ length: block.length / 4 }, (_, i) => 4 * i).filter((at) => block.readInt32LE(at) === pid);
  if (found.length !== 1) throw new Error(`cannot freeze process ${pid}: libc keeps its id in ${found.length} places`);
  return address + found[0]!;
}

function readExactly(fd: number, position: number, length: number): Buffer {
  const result = Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const count = readSync(fd, result, done, length - done, position + done);
    if (count === 0) throw new Error(`cannot read ${length} bytes at 0x${position.toString(16)} of a process`);
    done += count;
  }
  return result;
}
