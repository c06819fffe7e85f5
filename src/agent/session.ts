import { errnoNumber } from "../abi/errno.ts";
import { MFD_ALLOW_SEALING, MFD_CLOEXEC, MFD_EXEC } from "../abi/memfd.ts";
import { signalName } from "../abi/signal.ts";
import { nativeArch } from "../abi/syscalls.ts";
import { TsrunError } from "../errors.ts";
import { nanoseconds } from "../kernel/clock.ts";
import { readText, sleep } from "../kernel/files.ts";
import { type Sys, spawn, sys } from "../kernel/kernel.ts";
import { CLD_EXITED, lookAtChild, WEXITED, WSTOPPED } from "../kernel/processes.ts";
import { isTracing } from "../kernel/trace.ts";
import { planRead, READ_MESSAGE } from "../plan/read.ts";
import { type Program, program, type Slot, type SlotTable, type Step, socket } from "../plan/step.ts";
import { stepError } from "../plan/step-error.ts";
import { agentImage } from "./image.ts";
import { RECORD_SIZE, REPORT_SIZE, timesSize } from "./layout.ts";
import { type Batch, encodePrograms } from "./records.ts";
import { traceBatch, traceLast } from "./trace-batch.ts";

/** The agent at the other end of a socket: one process, until it clones and its child goes on with the same socket. */
export interface Agent {
  /** Process id of the first agent, as tsrun sees it. */
  readonly pid: number;
  /** tsrun's end of the socket. */
  readonly socket: number;
  /** The number of the agent's end, in the agent. */
  readonly theirs: number;
}

/** Programs on their way: the first batch has been sent. */
export interface Sent {
  readonly agent: Agent;
  readonly slots: SlotTable;
  readonly batches: readonly Batch[];
  /** When the last batch was sent, as nanoseconds() counts; 0 when nothing is traced. */
  sentAt: number;
}

const SOCK_SEQPACKET = 5;
const SOCK_CLOEXEC = 0o2000000;
const AF_UNIX = 1;
const F_DUPFD = 0;

/** Both ends of a new SOCK_SEQPACKET pair, close-on-exec. */
export function socketPair(): [number, number] {
  const pair = new Int32Array(2);
  check(
    sys("socketpair", AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair),
    "socketpair",
    "make a socket for the agent",
  );
  return [pair[0]!, pair[1]!];
}

/**
 * Starts an agent. It inherits every descriptor of tsrun that is not close-on-exec, under the same number. `directory`
 * is where the image is written to when this machine forbids executing memory (vm.memfd_noexec); the agent's end of the
 * socket gets a number above `above`.
 */
export function spawnAgent(directory: number, above = 2): Agent {
  const [mine, other] = socketPair();
  const theirs = sys("fcntl", other, F_DUPFD, above + 1);
  check(theirs, "fcntl", "make a socket for the agent");
  sys("close", other);
  const pid = spawnImage(agentImage(nativeArch, theirs), directory);
  sys("close", theirs);
  limitPatience(mine);
  return { pid, socket: mine, theirs };
}

function spawnImage(image: Uint8Array, directory: number): number {
  const memory = sealedMemory(image, sys);
  if (memory >= 0) {
    const pid = spawn(`/proc/self/fd/${memory}`, ["tsrun-agent"], [], []);
    sys("close", memory);
    if (pid > 0) return pid;
    if (pid !== -errnoNumber("EACCES")) check(pid, "posix_spawn", "start the agent");
  }
  return spawnFromFile(image, directory);
}

/** A memfd with the image that nobody can change any more (memfd_create(2)); negative errno where that is forbidden. */
export function sealedMemory(image: Uint8Array, sys: Sys): number {
  const F_ADD_SEALS = 1033;
  const F_SEAL_SEAL_SHRINK_GROW_WRITE = 0xf;
  let fd = sys("memfd_create", "tsrun-agent", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
  // MFD_EXEC came with Linux 6.3; before, every memfd was executable.
  if (fd === -errnoNumber("EINVAL")) fd = sys("memfd_create", "tsrun-agent", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return fd;
  sys("write", fd, image, image.length);
  sys("fcntl", fd, F_ADD_SEALS, F_SEAL_SEAL_SHRINK_GROW_WRITE);
  return fd;
}

/** The same image as a file in the container's state directory; unlinked as soon as the agent runs. */
function spawnFromFile(image: Uint8Array, directory: number): number {
  const O_WRONLY_CREAT_EXCL_CLOEXEC = 1 | 0o100 | 0o200 | 0o2000000;
  const name = "agent";
  sys("unlinkat", directory, name, 0);
  const fd = sys("openat", directory, name, O_WRONLY_CREAT_EXCL_CLOEXEC, 0o700);
  check(fd, "openat", "write the agent to the state directory");
  sys("write", fd, image, image.length);
  sys("close", fd);
  const pid = spawn(`/proc/self/fd/${directory}/${name}`, ["tsrun-agent"], [], []);
  sys("unlinkat", directory, name, 0);
  check(pid, "posix_spawn", "start the agent from the state directory");
  return pid;
}

function check(result: number, step: string, what: string): void {
  if (result < 0) throw stepError({ call: step as Step["call"], args: [], what }, -result);
}

/** Programs for the agent, which may still be busy with others. */
export function encode(agent: Agent, programs: readonly Program[], slots: SlotTable, timed = isTracing()): Sent {
  const batches = encodePrograms(programs, { arch: nativeArch, socket: agent.theirs, slots, timed });
  return { agent, slots, batches, sentAt: 0 };
}

/**
 * Sends what was encoded without waiting: plan on while the kernel works, then `finish`. What was sent before must have
 * been finished: an agent in which a step failed goes on with whatever it is sent next.
 */
export function transmit(encoded: Sent): Sent {
  if (encoded.batches.length > 0) sendNext(encoded, 0);
  return encoded;
}

export function send(agent: Agent, programs: readonly Program[], slots: SlotTable, timed = isTracing()): Sent {
  return transmit(encode(agent, programs, slots, timed));
}

/** Waits until everything sent has run; throws the error of the step that failed. */
export function finish(sent: Sent): void {
  for (let i = 0; i < sent.batches.length; i++) {
    if (i > 0) sendNext(sent, i);
    receiveReply(sent, sent.batches[i]!);
  }
}

export function runInAgent(agent: Agent, programs: readonly Program[], slots: SlotTable): void {
  finish(send(agent, programs, slots));
}

/** As `finish` for programs that end in execve: the end of the conversation is the success. */
export function finishExec(sent: Sent): void {
  for (let i = 0; i < sent.batches.length; i++) {
    if (i > 0) sendNext(sent, i);
    const batch = sent.batches[i]!;
    if (i < sent.batches.length - 1) receiveReply(sent, batch);
    else receiveEnd(sent, batch);
  }
}

function sendNext(sent: Sent, index: number): void {
  if (isTracing()) sent.sentAt = nanoseconds();
  sendBatch(sent.agent, sent.batches[index]!);
}

function sendBatch(agent: Agent, batch: Batch): void {
  sendMessage(agent, batch.message);
  for (const chunk of batch.chunks) sendMessage(agent, chunk);
}

function sendMessage(agent: Agent, message: Uint8Array): void {
  const MSG_NOSIGNAL = 0x4000;
  for (;;) {
    const sent = sys("sendto", agent.socket, message, message.length, MSG_NOSIGNAL, 0, 0);
    if (sent === message.length) return;
    if (sent === -errnoNumber("EINTR")) continue;
    throw agentGone();
  }
}

const buffer = new Uint8Array(0x20000);
const view = new DataView(buffer.buffer);

/** How long nothing may come from a process before it is looked at. */
const PATIENCE_SECONDS = 5n;

/** For tsrun's end of a socket to an agent. */
export function limitPatience(socket: number): void {
  const [SOL_SOCKET, SO_RCVTIMEO] = [1, 20];
  sys("setsockopt", socket, SOL_SOCKET, SO_RCVTIMEO, BigUint64Array.of(PATIENCE_SECONDS, 0n), 16);
}

function receive(agent: Agent): number {
  for (;;) {
    const length = sys("recvfrom", agent.socket, buffer, buffer.length, 0, 0, 0);
    if (length === -errnoNumber("EINTR")) continue;
    if (length !== -errnoNumber("EAGAIN")) return Math.max(0, length);
    if (isStopped(agent)) throw stoppedInside();
  }
}

/**
 * True when the process at the other end does nothing because of a signal: whoever shares its pid namespace and user may
 * send it SIGSTOP. One that works, or waits for a disk or for its frozen cgroup, may take as long as it likes.
 */
function isStopped({ pid }: Agent): boolean {
  if (lookAtChild(WSTOPPED) !== undefined) return true;
  // The first process of a container that waited for start is no child of this tsrun.
  const stat = readText(`/proc/${pid}/stat`);
  return typeof stat === "string" && /\) T /.test(stat);
}

function stoppedInside(): TsrunError {
  return new TsrunError("the process has been stopped by a signal on its way into the container", {
    code: "ESTOPPED",
    hint: "something in the container, or in one that shares its process ids, sends SIGSTOP to what begins there",
  });
}

function receiveReply(sent: Sent, batch: Batch): void {
  const length = receive(sent.agent);
  if (length <= REPORT_SIZE) throw length === 0 ? agentGone() : reportedError(sent, batch, length);
  for (const slot of batch.writes) slot.value = Number(view.getBigInt64(slot.index * 8, true));
  if (batch.times !== undefined) askForTimes(sent, batch, batch.times.address);
}

/** A program that ends in execve sends its times, when it is traced, and then nothing but an error. */
function receiveEnd(sent: Sent, batch: Batch): void {
  let length = receive(sent.agent);
  const times = batch.times?.sent;
  const hasTimes = times !== undefined && length === timesSize(times);
  const start = hasTimes ? nanoseconds() : 0;
  if (hasTimes) {
    traceReceived(sent, batch, length, start);
    length = receive(sent.agent);
    traceLast(batch, times, sent.agent, start);
  }
  if (length > 0) throw reportedError(sent, batch, length);
}

/** The times of a batch that has ended, or stopped at an error. */
function askForTimes(sent: Sent, batch: Batch, address: number): void {
  const { agent, slots } = sent;
  const asking = program("times", { silent: true });
  const size = timesSize(batch.steps.length + 1);
  asking.steps.push({ call: "write", args: [socket, address, size], what: "send the times" });
  sendBatch(agent, encodePrograms([asking], { arch: nativeArch, socket: agent.theirs, slots })[0]!);
  const length = receive(agent);
  if (length === size) traceReceived(sent, batch, length, nanoseconds());
}

function traceReceived({ agent, sentAt }: Sent, batch: Batch, length: number, receivedAt: number): void {
  traceBatch(batch, new DataView(buffer.buffer, 0, length), agent, sentAt, receivedAt);
}

function agentGone(): TsrunError {
  const signal = signalThatKilled();
  const by = signal === undefined ? "" : `, killed by ${signalName(signal)}`;
  return new TsrunError(`the container's first process ended before it could run the program${by}`, {
    code: "EAGENTGONE",
    hint: "was it killed for want of memory? the kernel's log tells (dmesg), and the memory limit may be too low",
  });
}

/** Of a child that nobody has waited for; its socket is closed a moment before it can be. */
function signalThatKilled(): number | undefined {
  const PATIENCE_MS = 20;
  let ended = lookAtChild(WEXITED);
  for (let waited = 0; waited < PATIENCE_MS && ended === undefined; waited++) {
    sleep(1);
    ended = lookAtChild(WEXITED);
  }
  return ended === undefined || ended.code === CLD_EXITED ? undefined : ended.status;
}

function reportedError(sent: Sent, batch: Batch, length: number): TsrunError {
  if (length !== REPORT_SIZE) throw new Error(`the agent answered with ${length} bytes`);
  const errno = view.getUint32(0, true);
  const step = batch.steps[Math.floor((view.getUint32(8, true) - batch.recordsAt) / RECORD_SIZE / batch.stride)];
  if (step === undefined) throw new Error(`the agent reports errno ${errno} of a step that was not sent`);
  if (batch.times !== undefined && batch.times.sent === undefined) askForTimes(sent, batch, batch.times.address);
  return stepError(step, errno, explanation(sent, step));
}

/** What the kernel wrote to the log of the file system context: lines such as `e tmpfs: Unknown parameter 'x'`. */
function explanation(sent: Sent, step: Step): string {
  if (step.fsContext === undefined) return "";
  const lines: string[] = [];
  for (;;) {
    const bytes = readInAgent(sent.agent, sent.slots, step.fsContext);
    if (bytes.length === 0) return lines.join("; ");
    lines.push(
      new TextDecoder()
        .decode(bytes)
        .trim()
        .replace(/^[ewi] /, ""),
    );
  }
}

/** Up to 4,096 bytes read by the agent from one of its descriptors, at `offset` or where it stands; empty on any error. */
export function readInAgent(agent: Agent, slots: SlotTable, fd: Slot, offset?: number): Uint8Array {
  return performRead(encodeRead(agent, slots, fd, offset));
}

/** A reading that is ready to be sent. */
export interface Reading {
  readonly sent: Sent;
  readonly count: Slot;
}

/** As readInAgent, for a moment when there is something to wait for. */
export function encodeRead(agent: Agent, slots: SlotTable, fd: Slot, offset?: number): Reading {
  const { reading, count } = planRead(slots, fd, offset);
  return { sent: encode(agent, [reading], slots), count };
}

export function performRead({ sent, count }: Reading): Uint8Array {
  transmit(sent);
  const length = receive(sent.agent);
  if (length !== READ_MESSAGE) return new Uint8Array(0);
  const content = buffer.slice(0, READ_MESSAGE);
  finish(sent);
  return content.subarray(0, Math.max(0, count.value ?? 0));
}
