import { utf8 } from "../../text.ts";
import type { Process } from "../types.ts";
import { addFault, type ConfigCheck, type Report } from "./report.ts";

/** /proc/self/attr/exec takes one page, and AppArmor's profile comes behind "exec ". */
const PROCESS_LIMIT = 4091;
/** fsconfig(2) takes no longer values. */
const MOUNT_LIMIT = 255;

/** What is wrong with a label that is written to /proc/self/attr; undefined when nothing is. A NUL is wrong in any string. */
export function labelFault(label: string, limit = PROCESS_LIMIT): { found: string; expected: string } | undefined {
  // The kernel would take what is before it for the whole label.
  if (label.includes("\n")) return { found: `found ${shown(label)}`, expected: "a label without newlines" };
  if (label.length * 3 <= limit) return undefined;
  const { length } = utf8(label);
  return length <= limit ? undefined : { found: `found ${length} bytes`, expected: `at most ${limit} bytes` };
}

function shown(label: string): string {
  return JSON.stringify(label.length <= 100 ? label : `${label.slice(0, 100)}…`);
}

/** config.md "Linux Process". */
export function checkProcessLabels(process: Process, at: string, report: Report): void {
  for (const name of ["apparmorProfile", "selinuxLabel"] as const) {
    const fault = labelFault(process[name] ?? "");
    if (fault !== undefined) addFault(report, `${at}/${name}`, fault.found, fault.expected);
  }
}

/** config-linux.md "Mount Label". mount(2) has it in quotation marks, among options that the label must not add to. */
export const mountLabelFits: ConfigCheck = ({ linux }, report) => {
  const label = linux?.mountLabel ?? "";
  const fault = labelFault(label, MOUNT_LIMIT);
  if (fault !== undefined) addFault(report, "/linux/mountLabel", fault.found, fault.expected);
  else if (label.includes('"')) {
    addFault(report, "/linux/mountLabel", `found ${JSON.stringify(label)}`, "a label without quotation marks");
  }
};
