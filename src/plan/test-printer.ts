import type { HostFacts } from "../host/facts.ts";
import type { Config } from "../spec/types.ts";
import type { PlanContext } from "./context.ts";
import { type Arg, type Label, type Program, program, type Step, slot, slotTable } from "./step.ts";

/**
 * A program as text for tests, one line a step: `move_mount($tree, "", $target, "", 0x44) ? EINVAL → 7`. Slots by name,
 * what is tolerated behind "?", jumps as the index of the step they lead to.
 */
export function printProgram(program: Program): string[] {
  return program.steps.map(printStep);
}

export function printStep(step: Step): string {
  const call = `${step.call}(${step.args.map(printArg).join(", ")})`;
  const into = step.into === undefined ? "" : `$${step.into.name} = `;
  const tolerated = step.tolerate === undefined || step.tolerate.length === 0 ? "" : ` ? ${step.tolerate.join(" ")}`;
  const jumps = [
    printJump("", step.onTolerated),
    printJump("+", step.onPositive === step.onZero ? undefined : step.onPositive),
    printJump("0", step.onPositive === step.onZero ? undefined : step.onZero),
    step.onPositive === step.onZero ? printJump("ok", step.onPositive) : "",
  ];
  return into + call + tolerated + jumps.join("");
}

function printJump(when: string, target: Label | undefined): string {
  return target === undefined ? "" : ` ${when}→${target.at}`;
}

export function printArg(arg: Arg): string {
  if (typeof arg === "string") return JSON.stringify(arg);
  if (typeof arg === "number") return arg > 9 ? `0x${arg.toString(16)}` : String(arg);
  if (typeof arg === "bigint") return String(arg);
  switch (arg.kind) {
    case "slot":
      return `$${arg.name}`;
    case "words":
      return `{${arg.words.map((word) => printArg(word)).join(", ")}}`;
    case "address":
      return `&$${arg.slot.name}`;
    case "words of a command":
      return `[${arg.words.map((word) => (typeof word === "string" ? JSON.stringify(word) : `$${word.name}`)).join(", ")}]`;
    case "text":
      return arg.parts.map((part) => (typeof part === "string" ? JSON.stringify(part) : `$${part.name}`)).join(" ");
    case "pair":
      return `${printArg(arg.low)}|${printArg(arg.high)}<<32`;
    case "bytes":
      return printBytes(arg.bytes);
    case "strings":
      return JSON.stringify(arg.strings);
    default:
      return arg.kind;
  }
}

/** Text as it is, everything else as hexadecimal digits. */
function printBytes(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes);
  return /^[ -~\n]*$/.test(text) ? JSON.stringify(text) : `0x${bytes.toHex()}`;
}

/** A machine with everything allowed and unified cgroups. */
export function testFacts(changes: Partial<HostFacts> = {}): HostFacts {
  return {
    arch: "x86-64",
    euid: 0,
    egid: 0,
    canMount: true,
    canMknod: true,
    inUserNamespace: false,
    effectiveCapabilities: 0x1ffffffffffn,
    boundingCapabilities: 0x1ffffffffffn,
    lastCapability: 40,
    cgroup: {
      mode: "unified",
      hierarchies: [{ version: 2, controllers: [], mount: "/sys/fs/cgroup", own: "/" }],
    },
    nofile: { soft: 1024, hard: 4096 },
    ...changes,
  } as HostFacts;
}

/** A context with a mount namespace, for a container "test" of /bundle with /bundle/rootfs. */
export function testContext(config: Partial<Config> = {}, facts: Partial<HostFacts> = {}): PlanContext {
  const slots = slotTable();
  const linux = { namespaces: [{ type: "mount" }], ...config.linux };
  return {
    config: { ociVersion: "1.3.0", root: { path: "rootfs" }, ...config, linux } as Config,
    id: "test",
    namespaceTypes: new Set(linux.namespaces?.map(({ type }) => type)),
    bundle: "/bundle",
    rootfsPath: "/bundle/rootfs",
    facts: testFacts(facts),
    slots,
    prepare: program("prepare"),
    unshare: program("unshare"),
    attach: program("attach"),
    build: program("build"),
    restrict: program("restrict"),
    enter: program("enter"),
    identity: program("identity"),
    exec: program("exec"),
    warnings: [],
    initPid: slot(slots, "init"),
    lock: slot(slots, "state directory"),
    rootfs: slot(slots, "rootfs"),
    noPivot: false,
    cgroupPaths: new Map([["/sys/fs/cgroup", "/sys/fs/cgroup/test"]]),
    idmapNamespaces: [],
    checks: [],
    copies: [],
    dev: {},
    kernelMounts: new Map(),
    landings: { next: 0, list: [] },
    procfs: {},
    hostMounts: [],
  };
}
