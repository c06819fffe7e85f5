import { MFD_CLOEXEC, MFD_NOEXEC_SEAL } from "../abi/memfd.ts";
import { CLOSE_RANGE_CLOEXEC, UINT_MAX } from "../abi/prctl.ts";
import { CLONE_ARGS_SIZE_VER2, CLONE_PIDFD, CLONE_VFORK, CLONE_VM } from "../abi/sched.ts";
import type { Hook } from "../spec/types.ts";
import { utf8 } from "../text.ts";
import {
  add,
  addAll,
  addressOf,
  bytes,
  label,
  type Program,
  place,
  type Slot,
  type SlotTable,
  slot,
  strings,
  struct,
} from "./step.ts";

/** Where a hook's fate is told: what tsrun looks at when the program has run. */
export interface HookResult {
  /** 0, or the negative errno of execve. */
  readonly execve: Slot;
  /** 0 when the time was over. */
  readonly poll: Slot;
  /** As of wait4(2). */
  readonly status: Slot;
  /** A memfd with what the hook wrote to stdout and stderr. */
  readonly output: Slot;
}

const SIGCHLD = 17;
const SIGKILL = 9;
const POLLIN = 1;

/**
 * A hook that runs inside the container's namespaces, as a child of the init. Its state comes from a memfd and its
 * output goes to another: neither can block, whatever the hook does with them, and there is no pipe to be killed by.
 * The child shares the agent's memory until execve (as vfork does), so that its errno can be seen.
 */
export function planHook(program: Program, slots: SlotTable, hook: Hook, state: string, pointer: string): HookResult {
  const input = slot(slots, "hook's stdin");
  const output = slot(slots, "hook's output");
  const result = {
    execve: slot(slots, "execve of the hook"),
    poll: slot(slots, "poll of the hook"),
    status: slot(slots, "status of the hook"),
    output,
  };
  const json = utf8(state);
  const what = `run the hook ${JSON.stringify(hook.path)}`;
  planMemory(program, "state", input, what, pointer);
  planMemory(program, "output", output, what, pointer);
  addAll(program, [
    { call: "write", args: [input, bytes(json), json.length], what, pointer },
    // Also the way to make the slot 0: an earlier hook may have left its errno there.
    { call: "lseek", args: [input, 0, 0], into: result.execve, what, pointer },
  ]);
  planChild(program, slots, hook, { input, ...result }, what, pointer);
  add(program, { call: "close", args: [input], what, pointer });
  return result;
}

/** Not executable: where vm.memfd_noexec is 2 there is no other kind; kernels before 6.3 do not know the flag. */
function planMemory(program: Program, name: string, into: Slot, what: string, pointer: string): void {
  const done = label();
  addAll(program, [
    {
      call: "memfd_create",
      args: [name, MFD_CLOEXEC | MFD_NOEXEC_SEAL],
      into,
      tolerate: ["EINVAL"],
      onPositive: done,
      onZero: done,
      what,
      pointer,
    },
    { call: "memfd_create", args: [name, MFD_CLOEXEC], into, what, pointer },
  ]);
  place(program, done);
}

interface HookSlots extends HookResult {
  readonly input: Slot;
}

function planChild(
  program: Program,
  slots: SlotTable,
  hook: Hook,
  own: HookSlots,
  what: string,
  pointer: string,
): void {
  const child = slot(slots, "hook");
  const parent = label();
  const poll = struct("pollfd", POLLIN * 0x100000000);
  const args = struct("clone_args", CLONE_VM + CLONE_VFORK + CLONE_PIDFD, poll, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, 0);
  const anyError = [
    "ENOENT",
    "EACCES",
    "ENOEXEC",
    "ENOTDIR",
    "ELOOP",
    "E2BIG",
    "EPERM",
    "ENOMEM",
    "EISDIR",
    "ETXTBSY",
    "EINVAL",
    "EIO",
    "ENAMETOOLONG",
    "ELIBBAD",
  ] as const;
  addAll(program, [
    { call: "clone3", args: [args, CLONE_ARGS_SIZE_VER2], into: child, onPositive: parent, what, pointer },
    { call: "setpgid", args: [0, 0], what, pointer },
    { call: "dup3", args: [own.input, 0, 0], what, pointer },
    { call: "dup3", args: [own.output, 1, 0], what, pointer },
    { call: "dup3", args: [own.output, 2, 0], what, pointer },
    { call: "close_range", args: [3, UINT_MAX, CLOSE_RANGE_CLOEXEC], what, pointer },
    {
      call: "execve",
      args: [hook.path, strings(hook.args ?? [hook.path]), strings(hook.env ?? [])],
      into: own.execve,
      tolerate: anyError,
      what,
      pointer: `${pointer}/path`,
    },
    { call: "exit_group", args: [127], what },
  ]);
  place(program, parent);
  planWait(program, hook, own, child, poll, what, pointer);
}

function planWait(
  program: Program,
  hook: Hook,
  own: HookSlots,
  child: Slot,
  poll: ReturnType<typeof struct>,
  what: string,
  pointer: string,
): void {
  const ended = label();
  const timeout = hook.timeout === undefined ? 0 : struct("timespec", hook.timeout, 0);
  add(program, {
    call: "ppoll",
    args: [poll, 1, timeout, 0, 8],
    into: own.poll,
    retry: true,
    onPositive: ended,
    what,
    pointer: `${pointer}/timeout`,
  });
  add(program, { call: "kill", args: [child, SIGKILL], tolerate: ["ESRCH"], what: "kill the hook", pointer });
  place(program, ended);
  add(program, { call: "wait4", args: [child, addressOf(own.status), 0, 0], retry: true, what, pointer });
}
