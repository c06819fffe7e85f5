/** Rules that hold for everything that is planned on the container's file system. */
import { expect, test } from "bun:test";
import type { Config } from "../spec/types.ts";
import type { PlanContext } from "./context.ts";
import { planDevices } from "./devices.ts";
import { planMaskedPaths, planReadonlyPaths } from "./masked-paths.ts";
import { planMounts } from "./mounts.ts";
import { planPivot, planRootfs } from "./rootfs.ts";
import type { Data, Program, Slot, Step, Word } from "./step.ts";
import { testContext } from "./test-printer.ts";

const AT_FDCWD = -100;

function everything(namespaces: string[], facts = {}): PlanContext {
  const mounts: Config["mounts"] = [
    { destination: "/proc", type: "proc", source: "proc" },
    { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "ro", "mode=755"] },
    { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "gid=5"] },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid"] },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro"] },
    { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["ro", "relatime"] },
    { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup"] },
    { destination: "/a/b/c", type: "bind", source: "/host/dir", options: ["rbind", "rro", "rprivate", "rw"] },
    { destination: "/etc/hosts", type: "bind", source: "hosts", options: ["bind", "ro"] },
    { destination: "/o", type: "overlay", source: "o", options: [`lowerdir=${"/host/l:".repeat(50)}`, "rslave"] },
    { destination: "/a", type: "none", options: ["remount", "bind", "ro"] },
  ];
  const linux = {
    namespaces: namespaces.map((type) => ({ type: type as "mount" })),
    devices: [
      { type: "c" as const, path: "/dev/deep/fuse", major: 10, minor: 229 },
      { type: "p" as const, path: "/run/fifo" },
    ],
    maskedPaths: many("/proc/kcore"),
    readonlyPaths: many("/proc/sys"),
  };
  const context = testContext({ mounts, linux, root: { path: "rootfs", readonly: true } }, facts);
  planRootfs(context);
  planMounts(context);
  planDevices(context);
  planMaskedPaths(context);
  planReadonlyPaths(context);
  planPivot(context);
  return context;
}

/** So many that it matters to close what was opened for them. */
function many(path: string): string[] {
  return Array.from({ length: 100 }, (_, i) => `${path}/${i}`);
}

const cases: [string, () => PlanContext][] = [
  ["ordinary", () => everything(["mount"])],
  ["user namespace", () => everything(["mount", "user", "cgroup"])],
  ["rootless", () => everything(["mount", "user"], { canMount: false, canMknod: false })],
];

/** Host paths that may be named after the root file system is attached, each resolved before pivot_root(2). */
const HOST_PATHS = ["/host/dir", "/bundle/hosts", "/sys/fs/cgroup", "/sys/fs/cgroup/test", "/proc/kcore", "/"];

function isHostPath(path: string): boolean {
  return HOST_PATHS.includes(path) || path.startsWith("/dev/");
}

for (const [name, context] of cases) {
  test(`${name}: below the root, nothing is named by a path of the host`, () => {
    const { build, enter } = context();
    const steps = [...build.steps, ...enter.steps];
    const attached = steps.findIndex((step) => step.call === "move_mount");
    for (const step of steps.slice(attached + 1)) expect(violation(step)).toBe("");
  });

  test(`${name}: paths that are followed below the root are resolved inside it`, () => {
    const { build, enter } = context();
    for (const step of [...build.steps, ...enter.steps]) {
      if (step.call !== "openat2") continue;
      const how = step.args[2] as Extract<Data, { kind: "words" }>;
      const [inRoot, beneathWithoutSymlinks, plain] = [0x12, 0x0c, 0x0e];
      const resolve = Number(how.words[2]);
      expect([inRoot, plain, beneathWithoutSymlinks]).toContain(resolve);
      expect(String(step.args[1])).not.toStartWith("/");
    }
  });

  test(`${name}: jumps land inside, structs have their size, strings end`, () => {
    const { prepare, attach, build, enter } = context();
    for (const program of [prepare, attach, build, enter]) checkShape(program);
  });

  test(`${name}: a slot is computed before it is used, and what is opened is closed`, () => {
    const { prepare, attach, build, enter, rootfs, copies, initPid, dev, kernelMounts } = context();
    const known = new Set<Slot>([initPid]);
    const open = new Set<Slot>();
    for (const step of [prepare, attach, build, enter].flatMap((program) => program.steps)) {
      for (const used of slotsOf(step))
        expect([step.what, used.name, known.has(used)]).toEqual([step.what, used.name, true]);
      for (const written of writtenBy(step)) known.add(written);
      if (step.into !== undefined && OPENERS.includes(step.call)) open.add(step.into);
      if (step.call === "close") open.delete(step.args[0] as Slot);
    }
    const kept = new Set([
      rootfs,
      dev.mount,
      ...kernelMounts.values(),
      ...copies.flatMap(({ from, to }) => [from, to]),
    ]);
    expect([...open].filter((slot) => !kept.has(slot)).map(({ name }) => name)).toEqual([]);
  });

  test(`${name}: every step says what it does and for which property`, () => {
    const { prepare, attach, build, enter } = context();
    for (const step of [prepare, attach, build, enter].flatMap((program) => program.steps)) {
      expect(step.what).toMatch(/^[a-z]/);
      if (step.pointer !== undefined && step.pointer !== "") expect(step.pointer).toMatch(/^\/(mounts|linux|root)\//);
    }
  });
}

const OPENERS = ["openat", "openat2", "open_tree", "fsopen", "fspick", "fsmount"];

/** mount(2) and umount2(2) take paths only: "." after fchdir(2), and "/" before the root is attached. */
function violation(step: Step): string {
  const [first, second] = step.args;
  if (["mount", "umount2", "pivot_root", "chdir", "chroot"].includes(step.call)) {
    const target = step.call === "mount" ? second : first;
    return target === "." || (step.call === "chdir" && target === "/") ? "" : `${step.call} on ${target}`;
  }
  if (first !== AT_FDCWD) return "";
  return typeof second === "string" && (second === "." || isHostPath(second)) ? "" : `${step.call} of ${second}`;
}

const SIZES: Record<string, number> = { open_how: 24, mount_attr: 32 };

function checkShape(program: Program): void {
  for (const step of program.steps) {
    for (const jump of [step.onPositive, step.onZero, step.onTolerated]) {
      if (jump !== undefined) expect(jump.at).toBeWithin(0, program.steps.length + 1);
    }
    expect(step.args.length).toBeLessThanOrEqual(6);
    for (const arg of step.args) {
      if (typeof arg === "string") expect(arg).not.toContain("\0");
      if (typeof arg === "object" && arg.kind === "words") expect(arg.words.length * 8).toBe(SIZES[arg.type]!);
    }
  }
}

function slotsOf(step: Step): Slot[] {
  const used: Slot[] = [];
  const look = (word: Word): void => {
    if (typeof word !== "object") return;
    if (word.kind === "slot") used.push(word);
    else if (word.kind === "words") word.words.map(look);
    else if (word.kind === "text") used.push(...word.parts.filter((part) => typeof part !== "string"));
  };
  step.args.map(look);
  return used;
}

function writtenBy(step: Step): Slot[] {
  const written = step.into === undefined ? [] : [step.into];
  for (const arg of step.args) {
    if (typeof arg === "object" && arg.kind === "address") written.push(arg.slot, ...(arg.rest ?? []));
  }
  return written;
}
