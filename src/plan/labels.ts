import type { ErrnoName } from "../abi/errno.ts";
import { propertyOf } from "../errors.ts";
import type { Process } from "../spec/types.ts";
import { utf8 } from "../text.ts";
import { closeFd, onSuccess } from "./mount-steps.ts";
import { openAttribute } from "./private-proc.ts";
import { add, bytes, CAUSE, label, type Program, place, type Slot, type SlotTable, slot } from "./step.ts";

/** What a process is to be labelled with; at least one of the two. */
export interface Labels {
  readonly apparmor?: Label | undefined;
  readonly selinux?: Label | undefined;
}

export interface Label {
  readonly value: string;
  /** JSON pointer of the property, empty for an option. */
  readonly pointer: string;
  /** Where it was asked for, as errors say it: `process.apparmorProfile`, `--apparmor`. */
  readonly from: string;
}

/** Options of exec in whose place the properties of the process stand. */
export type LabelOptions = Partial<Record<"apparmorProfile" | "selinuxLabel", string>>;

/** Undefined when the process has no labels; an empty one is none. `pointer` is that of the process. */
export function labelsOf(
  process: Process | undefined,
  pointer: string,
  options: LabelOptions = {},
): Labels | undefined {
  const one = (name: keyof LabelOptions): Label | undefined => {
    const value = process?.[name] ?? "";
    if (value === "") return undefined;
    const option = options[name];
    const where = `${pointer}/${name}`;
    return option === undefined
      ? { value, pointer: where, from: propertyOf(where) }
      : { value, pointer: "", from: option };
  };
  const labels = { apparmor: one("apparmorProfile"), selinux: one("selinuxLabel") };
  return labels.apparmor === undefined && labels.selinux === undefined ? undefined : labels;
}

/**
 * What the process is labelled with when it executes its program, as the kernel keeps it until then (AppArmor's
 * change_onexec, SELinux's setexeccon):
 * - after the file systems are built and entered, and after createContainer hooks, which are the engine's own;
 * - before the change of user and the loss of capabilities: who has no CAP_MAC_OVERRIDE is not let out of "unconfined"
 *   where kernel.apparmor_restrict_unprivileged_unconfined is set;
 * - before the seccomp filter, which need not allow any of this;
 * - through a procfs that nothing of the container's can take the place of.
 *
 * Children until execve have it too: startContainer hooks, whose programs are the image's.
 */
export function planExecLabels(program: Program, slots: SlotTable, procfs: Slot, labels: Labels): void {
  if (labels.apparmor !== undefined) planProfile(program, slots, procfs, labels.apparmor);
  if (labels.selinux !== undefined) planContext(program, slots, procfs, labels.selinux);
}

/** attr/apparmor/ is there since Linux 5.8, so that AppArmor can be beside another module that has attr/exec. */
function planProfile(program: Program, slots: SlotTable, procfs: Slot, { value, pointer, from }: Label): void {
  const origin = { what: `apply the AppArmor profile ${JSON.stringify(value)}`, pointer };
  const file = slot(slots, "attr/apparmor/exec");
  const shared = label();
  const opened = label();
  const extras = { tolerate: ["ENOENT"] as const, onTolerated: shared, ...onSuccess(opened) };
  openAttribute(program, file, procfs, "apparmor/exec", origin, extras);
  place(program, shared);
  openAttribute(program, file, procfs, "exec", origin);
  place(program, opened);
  const failed = `cannot ${origin.what}`;
  planWriteAttribute(program, file, `exec ${value}`, {
    ...origin,
    says: {
      ENOENT: `${failed}: no profile of this name is loaded (${from})`,
      EINVAL: `${failed}: invalid argument: AppArmor is not enabled, or cannot read the name (${from})`,
      EACCES: `${failed}: permission denied: tsrun is confined by a profile that does not allow it (${from})`,
      "*": `${failed}: ${CAUSE} (${from})`,
    },
    hint: "aa-status lists the profiles that are loaded, apparmor_parser --replace FILE loads those of a file",
  });
}

function planContext(program: Program, slots: SlotTable, procfs: Slot, selinux: Label): void {
  const file = slot(slots, "attr/exec");
  const origin = { what: `set the SELinux label ${JSON.stringify(selinux.value)}`, pointer: selinux.pointer };
  openAttribute(program, file, procfs, "exec", origin);
  planWriteAttribute(program, file, selinux.value, { ...origin, ...selinuxRefusals(origin.what, "exec", selinux) });
}

/**
 * Has the session keyring that `planJoin` makes belong to the process by its SELinux label as well: it would get tsrun's
 * own, and the process could not use it.
 */
export function planKeyringWithLabel(
  program: Program,
  slots: SlotTable,
  procfs: Slot | undefined,
  labels: Labels | undefined,
  planJoin: () => void,
): void {
  const selinux = labels?.selinux;
  if (selinux === undefined || procfs === undefined) {
    planJoin();
    return;
  }
  const file = slot(slots, "attr/keycreate");
  const what = `label the session keyring with ${JSON.stringify(selinux.value)}`;
  const origin = { what, pointer: selinux.pointer };
  openAttribute(program, file, procfs, "keycreate", origin);
  add(program, writeAttribute(file, selinux.value, { ...origin, ...selinuxRefusals(what, "keycreate", selinux) }));
  planJoin();
  // What is empty but for a newline takes the label back.
  planWriteAttribute(program, file, "\n", { ...origin, what: "label keys as usual again" });
}

/** Podman knows the path in backticks for what it is about. */
function selinuxRefusals(what: string, attribute: string, { from }: Label): Pick<Writing, "says" | "hint"> {
  const failed = `cannot ${what}: write \`/proc/thread-self/attr/${attribute}\``;
  return {
    says: {
      EINVAL: `${failed}: invalid argument: the policy does not know the label (${from})`,
      "*": `${failed}: ${CAUSE} (${from})`,
    },
    hint: "the label is user:role:type or user:role:type:range, such as system_u:system_r:container_t:s0:c1,c2",
  };
}

interface Writing {
  readonly what: string;
  readonly pointer: string;
  readonly says?: Readonly<Record<string, string>>;
  readonly hint?: string;
}

/** One write(2) is one setting. */
function writeAttribute(file: Slot, text: string, writing: Writing) {
  const data = utf8(text);
  return { call: "write", args: [file, bytes(data), data.length], ...writing } as const;
}

function planWriteAttribute(program: Program, file: Slot, text: string, writing: Writing): void {
  add(program, writeAttribute(file, text, writing));
  closeFd(program, file);
}

/** What execve(2) says when a label forbids it: the words of an ordinary refusal, and whose it may be. */
export function labelRefusals(process: Process, failed: string): Partial<Record<ErrnoName, string>> {
  const { apparmorProfile = "", selinuxLabel = "" } = process;
  const suspects = [
    ...(apparmorProfile === "" ? [] : [`the AppArmor profile ${JSON.stringify(apparmorProfile)}`]),
    ...(selinuxLabel === "" ? [] : [`the SELinux label ${JSON.stringify(selinuxLabel)}`]),
  ];
  if (suspects.length === 0) return {};
  const says = `${failed}: ${CAUSE}: ${suspects.join(" or ")} may forbid it`;
  return { EACCES: says, EPERM: says };
}
