import { errnoNumber, errnoText } from "../abi/errno.ts";
import { type Agent, send } from "../agent/session.ts";
import { TsrunError } from "../errors.ts";
import { nanoseconds, timespec } from "../kernel/clock.ts";
import { sleep } from "../kernel/files.ts";
import { addressOf, sys } from "../kernel/kernel.ts";
import { planSendListener } from "../plan/seccomp.ts";
import { program, type SlotTable } from "../plan/step.ts";
import { unixAddress } from "../plan/terminal.ts";
import type { Seccomp } from "../spec/types.ts";
import type { ContainerState } from "../state/state.ts";
import { receiveDescriptor } from "../terminal/pty.ts";
import { utf8 } from "../text.ts";
import { sendDescriptor } from "./notify.ts";
import { stateDocument } from "./state-document.ts";

/**
 * How long a seccomp agent may take to accept and read one small message, and then to answer for execve. Agents decide
 * in microseconds, or do some mounts; whoever waits for create or start gives up after minutes, and holds locks meanwhile.
 */
export const PATIENCE_MS = 10_000;

const EAGAIN = -errnoNumber("EAGAIN");
const EINTR = -errnoNumber("EINTR");
const EPERM = -errnoNumber("EPERM");
const POINTER = "/linux/seccomp/listenerPath";

export interface ListenerRequest {
  readonly profile: Seccomp;
  readonly state: ContainerState;
  /** The process that has loaded the filter, as tsrun sees it, and whether exec has added it to a container that runs. */
  readonly pid: number;
  readonly isExec: boolean;
  /** Milliseconds; PATIENCE_MS where absent. */
  readonly patience?: number;
  /** Gets the listener by the process's own hand, where it cannot be taken out of it. */
  readonly ask?: () => number;
}

/**
 * Gives the listener, descriptor `theirs` of the process, to the seccomp agent at listenerPath (config-linux.md,
 * "ContainerProcessState"): a connection for each, one JSON document, the descriptor with its first byte, end of file.
 */
export function sendListener(request: ListenerRequest, theirs: number): void {
  const listener = takeDescriptor(request, theirs);
  try {
    sendState(request, listener);
  } finally {
    sys("close", listener);
  }
}

function takeDescriptor({ pid, ask }: ListenerRequest, theirs: number): number {
  const pidfd = sys("pidfd_open", pid, 0);
  const listener = pidfd < 0 ? pidfd : sys("pidfd_getfd", pidfd, theirs, 0);
  if (pidfd >= 0) sys("close", pidfd);
  if (listener >= 0) return listener;
  if (listener === EPERM && ask !== undefined) return ask();
  throw new TsrunError(
    `cannot take the seccomp listener from process ${pid}: ${errnoText(-listener)} (linux.seccomp.listenerPath)`,
    { code: "EPERM", step: "pidfd_getfd", pointer: POINTER, hint: "it takes CAP_SYS_PTRACE" },
  );
}

function sendState({ profile, state, pid, isExec, patience = PATIENCE_MS }: ListenerRequest, listener: number): void {
  const text = JSON.stringify({
    ociVersion: state.ociVersion,
    fds: ["seccompFd"],
    pid,
    ...(profile.listenerMetadata === undefined ? {} : { metadata: profile.listenerMetadata }),
    state: stateDocument(state, isExec ? "running" : "creating"),
  });
  const path = profile.listenerPath ?? "";
  const patiently = (action: () => number) => again(path, patience, action);
  const connection = connect(path, patiently);
  try {
    let sent = patiently(() => sendDescriptor(connection, text, listener));
    for (const bytes = utf8(text); sent < bytes.length; ) {
      sent += patiently(() => sys("write", connection, bytes.subarray(sent), bytes.length - sent));
    }
  } finally {
    sys("close", connection);
  }
}

function connect(path: string, patiently: (action: () => number) => number): number {
  const AF_UNIX = 1;
  const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000;
  const address = unixAddress(path);
  const connection = sys("socket", AF_UNIX, SOCK_STREAM_NONBLOCK_CLOEXEC, 0);
  try {
    patiently(() => sys("connect", connection, address, address.length));
    return connection;
  } catch (error) {
    sys("close", connection);
    throw error;
  }
}

/** Again as long as the other side has no room, but not for ever: an agent that hangs must not hang the runtime. */
function again(path: string, patience: number, action: () => number): number {
  const LOOK_EVERY_MS = 10;
  for (let waited = 0; ; waited += LOOK_EVERY_MS) {
    const result = action();
    if (result >= 0) return result;
    if (result !== EAGAIN && result !== EINTR) throw failed(path, errnoText(-result), -result);
    if (waited >= patience) throw failed(path, `no answer in ${patience / 1000} seconds`, -EAGAIN);
    sleep(LOOK_EVERY_MS);
  }
}

/** The beginning is runc's, which engines know. */
function failed(path: string, cause: string, errno: number): TsrunError {
  return new TsrunError(
    `failed to connect with seccomp agent at ${JSON.stringify(path)}: ${cause} (linux.seccomp.listenerPath)`,
    { code: errno === -EAGAIN ? "ETIMEDOUT" : "ECONNREFUSED", step: "connect", pointer: POINTER, hint: HINT },
  );
}

const HINT = "whoever decides on the calls has to listen there before the container starts";

/** Has the process send its listener, descriptor `theirs`, over its socket to tsrun. */
export function askForListener(agent: Agent, slots: SlotTable, theirs: number, patience = PATIENCE_MS): number {
  const asking = program("send the listener", { silent: true });
  planSendListener(asking, theirs);
  send(agent, [asking], slots, false);
  waitForProcess(agent, patience, "given tsrun its listener", "it must not be asked for sendmsg and recvfrom");
  const listener = receiveDescriptor(agent.socket, addressOf);
  if (listener >= 0) return listener;
  throw new TsrunError("cannot take the seccomp listener: the profile denies sendmsg (linux.seccomp)", {
    code: "EPERM",
    step: "sendmsg",
    pointer: "/linux/seccomp",
    hint: "allow sendmsg in linux.seccomp.syscalls, or run tsrun as root",
  });
}

/** Waits until the process says something, or ends, or executes its program; an agent that hangs must not hang tsrun. */
export function waitForProcess({ socket }: Agent, patience: number, what: string, hint: string): void {
  const POLLIN = 1;
  const end = nanoseconds() + patience * 1e6;
  for (;;) {
    const left = timespec(end - nanoseconds());
    const ready = sys("ppoll", Int32Array.of(socket, POLLIN), 1, left, 0, 8);
    if (ready === EINTR) continue;
    if (ready !== 0) return;
    throw new TsrunError(
      `the container's process has not ${what} in ${patience / 1000} seconds: no answer from the seccomp agent (linux.seccomp.listenerPath)`,
      { code: "ETIMEDOUT", step: "execve", pointer: POINTER, hint },
    );
  }
}
