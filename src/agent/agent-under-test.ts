/** For tests: an agent of either architecture, with `programs` encoded and sent as tsrun does; aarch64 runs in qemu-user. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { errnoName } from "../abi/errno.ts";
import { type Arch, nativeArch } from "../abi/syscalls.ts";
import { spawn, sys } from "../kernel/kernel.ts";
import { type Program, program, type Slot, type SlotTable, type Step, slotTable } from "../plan/step.ts";
import { agentImage } from "./image.ts";
import { RECORD_SIZE, REPORT_SIZE } from "./layout.ts";
import { type Batch, encodePrograms } from "./records.ts";
import { socketPair } from "./session.ts";

/** Descriptors in the agent. */
const SOCKET = 3;
export const PEER = 4;

export interface AgentUnderTest {
  readonly pid: number;
  /** A directory of its own, removed at the end. */
  readonly directory: string;
  readonly slots: SlotTable;
  /** The other end of the agent's descriptor PEER, a stream socket. */
  readonly peer: number;
  /** Runs steps as one program; an array of what the slots hold, or the error: `ENOENT of step 2`. */
  run(...steps: Step[]): Outcome;
  start(...steps: Step[]): Running;
  startProgram(program: Program): Running;
  /** Closes the socket; the status that wait4(2) gives. */
  end(): number;
}

export type Outcome = { values: Map<Slot, bigint>; failed?: undefined } | { failed: string; values?: undefined };

export interface Running {
  readonly batches: readonly Batch[];
  outcome(): Outcome;
}

export function emulator(arch: Arch): string | null {
  return arch === nativeArch ? "" : Bun.which(`qemu-${arch === "x86-64" ? "x86_64" : arch}`);
}

export function startAgent(arch: Arch): AgentUnderTest {
  const directory = mkdtempSync(`${tmpdir()}/tsrun-agent-`);
  const image = `${directory}/agent`;
  writeFileSync(image, agentImage(arch, SOCKET), { mode: 0o755 });
  const [mine, theirs] = socketPair();
  const [peer, theirPeer] = streamPair();
  const qemu = emulator(arch);
  const command = qemu ? [qemu, image] : [image];
  const high = [aboveTargets(theirs), aboveTargets(theirPeer)] as const;
  const pid = spawn(
    command[0]!,
    command,
    [],
    [
      [high[0], SOCKET],
      [high[1], PEER],
    ],
  );
  for (const fd of [theirs, theirPeer, ...high]) sys("close", fd);
  if (pid < 0) throw new Error(`cannot start ${command.join(" ")}: ${errnoName(-pid)}`);
  setTimeLimit(mine);
  const slots = slotTable();
  const agent = { pid, directory, slots, peer, socket: mine, arch };
  const startProgram = (program: Program) => sendProgram(agent, program);
  const start = (...steps: Step[]) => startProgram({ ...program("test"), steps });
  return {
    ...agent,
    start,
    startProgram,
    run: (...steps) => start(...steps).outcome(),
    end: () => endAgent(pid, mine, peer, directory),
  };
}

/** A copy of `fd` that no copying to the agent's descriptors overwrites. */
function aboveTargets(fd: number): number {
  const F_DUPFD_CLOEXEC = 1030;
  return sys("fcntl", fd, F_DUPFD_CLOEXEC, 100);
}

function streamPair(): [number, number] {
  const [AF_UNIX, SOCK_STREAM, SOCK_CLOEXEC] = [1, 1, 0o2000000];
  const pair = new Int32Array(2);
  sys("socketpair", AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
  return [pair[0]!, pair[1]!];
}

/** A broken agent must fail a test, not stop it for ever. */
function setTimeLimit(socket: number): void {
  const [SOL_SOCKET, SO_RCVTIMEO] = [1, 20];
  const failed = sys("setsockopt", socket, SOL_SOCKET, SO_RCVTIMEO, new BigUint64Array([10n, 0n]), 16);
  if (failed < 0) throw new Error(`setsockopt: ${errnoName(-failed)}`);
}

function sendProgram(agent: { socket: number; slots: SlotTable; arch: Arch }, program: Program): Running {
  const { socket, slots, arch } = agent;
  const batches = encodePrograms([program], { arch, socket: SOCKET, slots });
  const first = batches[0];
  if (first !== undefined) sendBatch(socket, first);
  return {
    batches,
    outcome() {
      let outcome: Outcome = { values: new Map() };
      for (const batch of batches) {
        if (batch !== first) sendBatch(socket, batch);
        outcome = receiveOutcome(socket, batch, slots);
        if (outcome.failed !== undefined) return outcome;
      }
      return outcome;
    },
  };
}

function sendBatch(socket: number, batch: Batch): void {
  for (const message of [batch.message, ...batch.chunks]) {
    const sent = sys("sendto", socket, message, message.length, 0, 0, 0);
    if (sent !== message.length) throw new Error(`cannot send ${message.length} bytes to the agent: ${sent}`);
  }
}

function receiveOutcome(socket: number, batch: Batch, slots: SlotTable): Outcome {
  const bytes = new Uint8Array(0x20000);
  const view = new DataView(bytes.buffer);
  const length = sys("recvfrom", socket, bytes, bytes.length, 0, 0, 0);
  if (length <= 0) return { failed: length === 0 ? "the agent is gone" : errnoName(-length) };
  if (length === REPORT_SIZE) {
    const step = Number(view.getBigUint64(8, true)) - batch.recordsAt;
    return { failed: `${errnoName(Number(view.getBigUint64(0, true)))} of step ${step / RECORD_SIZE}` };
  }
  if (length !== slots.next * 8) return { failed: `a reply of ${length} bytes` };
  return { values: new Map(batch.writes.map((slot) => [slot, view.getBigInt64(slot.index * 8, true)])) };
}

function endAgent(pid: number, socket: number, peer: number, directory: string): number {
  for (const fd of [socket, peer]) sys("close", fd);
  const status = waitFor(pid);
  rmSync(directory, { recursive: true });
  return status;
}

/** The status that wait4(2) gives; an agent that does not end is killed. */
function waitFor(pid: number): number {
  const [WNOHANG, SIGKILL] = [1, 9];
  const status = new Int32Array(1);
  for (let i = 0; i < 500; i++) {
    if (sys("wait4", pid, status, WNOHANG, 0) === pid) return status[0]!;
    Bun.sleepSync(10);
  }
  sys("kill", pid, SIGKILL);
  sys("wait4", pid, status, 0, 0);
  return status[0]!;
}

/** Everything that the agent has written to PEER so far, up to 1 MiB. */
export function readPeer(agent: AgentUnderTest): string {
  const MSG_DONTWAIT = 0x40;
  const bytes = new Uint8Array(1 << 20);
  const length = sys("recvfrom", agent.peer, bytes, bytes.length, MSG_DONTWAIT, 0, 0);
  return new TextDecoder().decode(bytes.subarray(0, Math.max(0, length)));
}

/** A file with `content` in the agent's directory. */
export function makeFile(agent: AgentUnderTest, name: string, content: string | Uint8Array): string {
  const path = `${agent.directory}/${name}`;
  writeFileSync(path, content);
  return path;
}
