import { SOCK_FILTER_SIZE } from "../abi/filter.ts";
import {
  SECCOMP_FILTER_FLAG_NEW_LISTENER,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
  SECCOMP_SET_MODE_FILTER,
} from "../abi/seccomp.ts";
import type { Filter } from "../seccomp/filter.ts";
import { type LastCapabilities, planCapset } from "./capabilities.ts";
import { add, bytes, label, type Program, place, type Slot, type SlotTable, slot, socket, struct } from "./step.ts";

const POINTER = "/linux/seccomp";

/**
 * Loads the filter: after everything that a process needs to become what it is, and right before execve, so that the
 * profile has to allow no more than the container's own program needs. Without no_new_privs that takes CAP_SYS_ADMIN in the
 * process's user namespace, which planIdentity leaves it for this, and planLastCapabilities takes away.
 *
 * Where calls are to be notified of, the slot is the listener's descriptor in the process; it is close-on-exec.
 */
export function planFilter(program: Program, slots: SlotTable, filter: Filter): Slot | undefined {
  const listener = filter.notifies ? slot(slots, "seccomp listener") : undefined;
  const count = filter.program.length / SOCK_FILTER_SIZE;
  const fprog = struct("sock_fprog", count, bytes(filter.program));
  const load = (flags: number, more: { tolerate?: ["EINVAL"]; onPositive?: ReturnType<typeof label> } = {}) =>
    add(program, {
      call: "seccomp",
      args: [SECCOMP_SET_MODE_FILTER, flags, fprog],
      into: listener,
      what: `load the seccomp filter of ${count} instructions`,
      pointer: POINTER,
      says: {
        EACCES:
          "cannot load the seccomp filter: without no_new_privs it takes CAP_SYS_ADMIN, which this process does not have (linux.seccomp)",
        EBUSY: "cannot load the seccomp filter: another filter has a listener already (linux.seccomp)",
        EINVAL: "cannot load the seccomp filter: this kernel does not know all of its flags or actions (linux.seccomp)",
      },
      hint: "set process.noNewPrivileges when tsrun has no privileges itself",
      ...more,
    });
  if (listener === undefined) {
    // Without a listener it says nothing, and the kernel refuses it.
    load(filter.flags & ~SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    return undefined;
  }
  const flags = filter.flags | SECCOMP_FILTER_FLAG_NEW_LISTENER;
  const loaded = label();
  // What a call waits for, only a deadly signal interrupts: otherwise a Go program's own signals make it begin again and
  // again. By default where the kernel has it.
  const optional = (filter.flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) === 0;
  load(flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, optional ? { tolerate: ["EINVAL"], onPositive: loaded } : {});
  if (optional) load(flags);
  place(program, loaded);
  return listener;
}

/**
 * For a tsrun that may not take the listener, number `listener` in the process, out of it: the process hides from ptrace,
 * which only CAP_SYS_PTRACE in the user namespace that it was executed in overrides (pidfd_getfd(2)), so not for users who
 * are not root. The message with the descriptor is the reply.
 */
export function planSendListener(program: Program, listener: number): void {
  const SOL_SOCKET = 1;
  const SCM_RIGHTS = 1;
  const MSG_NOSIGNAL = 0x4000;
  const control = struct("cmsg_rights", 20, SOL_SOCKET + SCM_RIGHTS * 0x100000000, listener);
  const name = "seccomp";
  const header = struct("msghdr", 0, 0, struct("iovec", name, name.length), 1, control, 24, 0);
  add(program, { call: "sendmsg", args: [socket, header, MSG_NOSIGNAL], what: "send the listener", pointer: POINTER });
}

/** The one step between a filter and execve, and only without no_new_privs: a profile for such a process allows capset. */
export function planLastCapabilities(program: Program, sets: LastCapabilities, pointer: string): void {
  planCapset(program, sets, pointer, "linux.seccomp must allow capset, or process.noNewPrivileges be set");
}
