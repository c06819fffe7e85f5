import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH, O_WRONLY } from "../abi/fcntl.ts";
import { FSCONFIG_CMD_CREATE, FSMOUNT_CLOEXEC, FSOPEN_CLOEXEC } from "../abi/mount.ts";
import { RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV } from "../abi/openat2.ts";
import type { PlanContext } from "./context.ts";
import { openAt } from "./paths.ts";
import { add, bytes, label, place, type Slot, slot } from "./step.ts";

/**
 * Kernel parameters of the container's namespaces. They are written through a procfs of our own that is mounted nowhere,
 * so that nothing in the container's mount tree can send a write elsewhere (CVE-2025-52881).
 */
export function planSysctl(context: PlanContext): void {
  const entries = Object.entries(context.config.linux?.sysctl ?? {});
  if (entries.length === 0) return;
  const procfs = planPrivateProc(context);
  for (const [name, value] of entries) {
    const pointer = `/linux/sysctl/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    const what = `set sysctl ${JSON.stringify(name)} to ${JSON.stringify(value)}`;
    const file = slot(context.slots, "sysctl");
    const resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    const data = new TextEncoder().encode(value);
    openAt(context.build, file, procfs, `sys/${sysctlPath(name)}`, { flags: O_WRONLY, resolve }, { what, pointer });
    add(
      context.build,
      { call: "write", args: [file, bytes(data), data.length], what, pointer },
      { call: "close", args: [file], what },
    );
  }
  add(context.build, { call: "close", args: [procfs], what: "close the private procfs" });
}

/**
 * `net.ipv4.conf.eth0/1.rp_filter` → `net/ipv4/conf/eth0.1/rp_filter`: the first separator decides which of the two is
 * the other's stand-in (sysctl.d(5)).
 */
export function sysctlPath(name: string): string {
  const first = /[./]/.exec(name)?.[0];
  if (first !== ".") return name;
  return name.replaceAll(/[./]/g, (separator) => (separator === "." ? "/" : "."));
}

/**
 * Where the kernel does not allow a new procfs (a user namespace that sees only a part of the host's), the host's own
 * takes its place; RESOLVE_NO_XDEV then refuses whatever is mounted over it.
 */
function planPrivateProc({ build, slots }: PlanContext): Slot {
  const context = slot(slots, "procfs context");
  const procfs = slot(slots, "private procfs");
  const fallback = label();
  const done = label();
  const what = "open a private procfs";
  const refusal = { tolerate: ["EPERM", "EACCES"] as const, onTolerated: fallback, what };
  add(
    build,
    { call: "fsopen", args: ["proc", FSOPEN_CLOEXEC], into: context, ...refusal },
    { call: "fsconfig", args: [context, FSCONFIG_CMD_CREATE, 0, 0, 0], ...refusal },
    { call: "fsmount", args: [context, FSMOUNT_CLOEXEC, 0], into: procfs, ...refusal, onPositive: done },
  );
  place(build, fallback);
  const flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  add(build, { call: "openat", args: [AT_FDCWD, "/proc", flags, 0], into: procfs, what });
  place(build, done);
  return procfs;
}
