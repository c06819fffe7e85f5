import { expect, test } from "bun:test";
import type { Mount } from "../spec/types.ts";
import { planMaskedPaths } from "./masked-paths.ts";
import { planMounts } from "./mounts.ts";
import { stepError } from "./step-error.ts";
import { printProgram, testContext } from "./test-printer.ts";

const LABEL = "u:object_r:file_t:s0:c1,c2";

function plan(mount: Partial<Mount>, mountLabel = LABEL, facts = {}) {
  const mounts = [{ destination: "/x", ...mount }];
  const context = testContext({ mounts, linux: { namespaces: [{ type: "mount" }], mountLabel } }, facts);
  planMounts(context);
  return { lines: printProgram(context.build), steps: context.build.steps };
}

const contexts = (lines: readonly string[]): string[] => lines.filter((line) => line.includes("context="));
const options = (lines: readonly string[]): string[] => lines.filter((line) => line.includes('"context"'));

for (const type of ["tmpfs", "devpts", "overlay", "ext4", "bpf"]) {
  test(`${type} gets the label as one option, whatever is in it`, () => {
    const { lines } = plan({ type, source: "s", options: ["size=1m"] });
    expect(options(lines)).toEqual([`fsconfig($context of ${type}, 1, "context", "${LABEL}", 0)`]);
    expect(lines.findIndex((line) => line.includes('"context"'))).toBeLessThan(
      lines.indexOf(`fsconfig($context of ${type}, 6, 0, 0, 0)`),
    );
  });
}

for (const [what, mount] of [
  ["procfs", { destination: "/proc", type: "proc" }],
  ["sysfs", { type: "sysfs" }],
  ["a bind mount", { type: "bind", source: "/host" }],
  ["cgroup2", { type: "cgroup2" }],
  ["a remount", { type: "tmpfs", options: ["remount", "size=1m"] }],
] as const) {
  test(`${what} does not`, () => {
    const { lines } = plan(mount as unknown as Mount);
    expect([...options(lines), ...contexts(lines)]).toEqual([]);
  });
}

test("without a label nothing is labelled", () => {
  expect(options(plan({ type: "tmpfs" }, "").lines)).toEqual([]);
});

for (const name of ["context", "fscontext", "defcontext", "rootcontext"]) {
  test(`a mount that has ${name} keeps its own: the kernel takes one`, () => {
    const { lines } = plan({ type: "tmpfs", options: [`${name}=u:r:own_t`] });
    expect(lines.filter((line) => line.includes(LABEL))).toEqual([]);
    expect(lines).toContain(`fsconfig($context of tmpfs, 1, "${name}", "u:r:own_t", 0)`);
  });
}

test("mount(2) has it in quotation marks, for there may be a comma in it", () => {
  const { lines } = plan({ type: "overlay", source: "o", options: ["lowerdir=/a:/b", "iversion"] });
  expect(contexts(lines)).toEqual([`mount("o", ".", "overlay", 0x800000, "lowerdir=/a:/b,context=\\"${LABEL}\\"")`]);
});

test("the root of an mqueue file system is labelled as a file, before anyone sees it", () => {
  const { lines } = plan({ type: "mqueue", source: "mqueue" });
  const at = lines.indexOf("fchdir($mount of mqueue)");
  expect(lines.slice(at, at + 3)).toEqual([
    "fchdir($mount of mqueue)",
    `setxattr(".", "security.selinux", "${LABEL}", 0x${LABEL.length.toString(16)}, 0) ? EOPNOTSUPP`,
    "fchdir($working directory)",
  ]);
  expect(options(lines)).toEqual([]);
  expect(lines.findIndex((line) => line.startsWith("move_mount"))).toBeGreaterThan(at);
});

test("the directories of cgroup v1, and what hides directories", () => {
  const facts = { cgroup: { mode: "v1", hierarchies: [] } };
  const { lines } = plan({ destination: "/sys/fs/cgroup", type: "cgroup" }, LABEL, facts);
  expect(options(lines)).toEqual([`fsconfig($context of tmpfs, 1, "context", "${LABEL}", 0)`]);
  const masks = { namespaces: [{ type: "mount" as const }], maskedPaths: ["/proc/acpi"], mountLabel: LABEL };
  const context = testContext({ linux: masks });
  planMaskedPaths(context);
  expect(options(printProgram(context.enter))).toHaveLength(1);
});

test("a label that the kernel refuses is linux.mountLabel's fault", () => {
  const { steps } = plan({ type: "tmpfs", source: "tmpfs" });
  const { message, details } = stepError(steps.find(({ args }) => args.includes("context"))!, 22);
  expect(message).toBe(
    `cannot mount "tmpfs" on "/x" with the SELinux label "${LABEL}": invalid argument (linux.mountLabel)`,
  );
  expect(details.pointer).toBe("/linux/mountLabel");
});
