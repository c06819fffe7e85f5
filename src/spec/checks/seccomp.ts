import type { Seccomp } from "../types.ts";
import { addFault, type ConfigCheck, type Report } from "./report.ts";

const MAX_ERRNO = 4095;
const ARGUMENTS = 6;

/** Rules of config-linux.md "Seccomp"; what SCMP_ACT_NOTIFY cannot be used for, in runc's words, which engines know. */
export const seccompMakesSense: ConfigCheck = ({ linux }, report) => {
  const seccomp = linux?.seccomp;
  if (seccomp === undefined) return;
  const { defaultAction, defaultErrnoRet, syscalls = [] } = seccomp;
  if (defaultAction === "SCMP_ACT_NOTIFY") {
    addFault(report, "/linux/seccomp/defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action");
  }
  checkData(defaultAction, defaultErrnoRet, "/linux/seccomp/defaultErrnoRet", report);
  checkListener(seccomp, report);
  for (const [at, { action, names, errnoRet, args = [] }] of syscalls.entries()) {
    const pointer = `/linux/seccomp/syscalls/${at}`;
    checkData(action, errnoRet, `${pointer}/errnoRet`, report);
    if (names.includes("")) addFault(report, `${pointer}/names`, 'found ""', "names of system calls");
    if (action === "SCMP_ACT_NOTIFY" && names.includes("write")) {
      addFault(report, `${pointer}/names`, "SCMP_ACT_NOTIFY cannot be used for the write syscall");
    }
    for (const [i, { index }] of args.entries()) {
      if (index < ARGUMENTS) continue;
      addFault(report, `${pointer}/args/${i}/index`, `found ${index}`, `below ${ARGUMENTS}: which argument, from 0`);
    }
  }
};

/** The kernel takes larger error numbers for 4095, and has 16 bits for a tracer. */
function checkData(action: string, data: number | undefined, pointer: string, report: Report): void {
  const max = action === "SCMP_ACT_TRACE" ? 0xffff : action === "SCMP_ACT_ERRNO" ? MAX_ERRNO : undefined;
  if (data === undefined || max === undefined || data <= max) return;
  addFault(report, pointer, `found ${data}`, `at most ${max}`);
}

function checkListener({ listenerPath = "", listenerMetadata = "", syscalls = [] }: Seccomp, report: Report): void {
  if (listenerPath !== "") {
    if (!listenerPath.startsWith("/")) {
      addFault(report, "/linux/seccomp/listenerPath", `found ${JSON.stringify(listenerPath)}`, "an absolute path");
    }
    return;
  }
  if (listenerMetadata !== "") {
    addFault(report, "/linux/seccomp/listenerMetadata", "found without listenerPath", "given only together with it");
  }
  const at = syscalls.findIndex(({ action }) => action === "SCMP_ACT_NOTIFY");
  if (at < 0) return;
  const pointer = `/linux/seccomp/syscalls/${at}/action`;
  addFault(report, pointer, "SCMP_ACT_NOTIFY without listenerPath", "used only with a socket to notify");
}
