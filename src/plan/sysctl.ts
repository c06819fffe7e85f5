import { O_WRONLY } from "../abi/fcntl.ts";
import { RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV } from "../abi/openat2.ts";
import { utf8 } from "../text.ts";
import type { PlanContext } from "./context.ts";
import { openAt } from "./paths.ts";
import { planPrivateProc } from "./private-proc.ts";
import { add, addAll, bytes, slot } from "./step.ts";

/** Kernel parameters of the container's namespaces, written through a procfs that the container cannot reach. */
export function planSysctl(context: PlanContext): void {
  const entries = Object.entries(context.config.linux?.sysctl ?? {});
  if (entries.length === 0) return;
  const procfs = context.procfs.mount ?? planPrivateProc(context.build, context.slots);
  for (const [name, value] of entries) {
    const pointer = `/linux/sysctl/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    const what = `set sysctl ${JSON.stringify(name)} to ${JSON.stringify(value)}`;
    const file = slot(context.slots, "sysctl");
    const resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    const data = utf8(value);
    openAt(context.build, file, procfs, `sys/${sysctlPath(name)}`, { flags: O_WRONLY, resolve }, { what, pointer });
    addAll(context.build, [
      { call: "write", args: [file, bytes(data), data.length], what, pointer },
      { call: "close", args: [file], what },
    ]);
  }
  if (procfs === context.procfs.mount) return;
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
