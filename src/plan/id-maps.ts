import { capabilityBit } from "../abi/capability.ts";
import { AT_FDCWD, O_WRONLY } from "../abi/fcntl.ts";
import type { HostFacts, MapTools } from "../host/facts.ts";
import type { Config, IdMapping } from "../spec/types.ts";
import { utf8 } from "../text.ts";
import type { PlanContext } from "./context.ts";
import { add, addAll, bytes, commandLine, type Program, type Slot, slot, text } from "./step.ts";

/** User ids or group ids. */
export interface IdKind {
  readonly of: "user" | "group";
  readonly file: "uid_map" | "gid_map";
  readonly property: "uidMappings" | "gidMappings";
  readonly tool: keyof MapTools;
  readonly capability: "CAP_SETUID" | "CAP_SETGID";
  readonly own: "euid" | "egid";
  /** Where root gives users ids besides their own, subuid(5). */
  readonly given: "/etc/subuid" | "/etc/subgid";
}

export const USER_IDS: IdKind = {
  of: "user",
  file: "uid_map",
  property: "uidMappings",
  tool: "newuidmap",
  capability: "CAP_SETUID",
  own: "euid",
  given: "/etc/subuid",
};

export const GROUP_IDS: IdKind = {
  of: "group",
  file: "gid_map",
  property: "gidMappings",
  tool: "newgidmap",
  capability: "CAP_SETGID",
  own: "egid",
  given: "/etc/subgid",
};

/** The id maps of a new user namespace, from outside of it (user_namespaces(7)), in `attach`. */
export function planIdMaps(context: PlanContext): void {
  if (!makesUserNamespace(context.config)) return;
  for (const kind of [USER_IDS, GROUP_IDS]) planMap(context, kind);
}

/** True when newuidmap(1) or newgidmap(1) will write a map, so that it has to be looked for. */
export function needsMapTools(config: Config, facts: HostFacts): boolean {
  return makesUserNamespace(config) && [USER_IDS, GROUP_IDS].some((kind) => needsTool(config, facts, kind));
}

/** True when the container's groups are for ever those that it begins with, see planMap. */
export function losesSetgroups(config: Config, facts: HostFacts): boolean {
  return makesUserNamespace(config) && !hasCapability(facts, GROUP_IDS) && !needsTool(config, facts, GROUP_IDS);
}

function makesUserNamespace({ linux }: Config): boolean {
  const user = linux?.namespaces?.find(({ type }) => type === "user");
  return user !== undefined && (user.path === undefined || user.path === "");
}

function hasCapability(facts: HostFacts, { capability }: IdKind): boolean {
  return (facts.effectiveCapabilities & capabilityBit(capability)) !== 0n;
}

/** Without the capability the kernel takes one line, of the writer's own id; set-uid programs know who may have others. */
function needsTool({ linux }: Config, facts: HostFacts, kind: IdKind): boolean {
  const mappings = linux?.[kind.property] ?? [];
  if (mappings.length === 0 || hasCapability(facts, kind)) return false;
  const [{ hostID, size }] = mappings as [IdMapping];
  return mappings.length > 1 || size !== 1 || hostID !== facts[kind.own];
}

/**
 * Without CAP_SETGID the kernel takes a gid map only when setgroups(2) is given up for ever: who is in a group to be kept
 * from something must not get rid of it (CVE-2014-8989). newgidmap does that itself where it has to.
 */
function planMap(context: PlanContext, kind: IdKind): void {
  const { config, facts, attach, initPid } = context;
  const mappings = config.linux?.[kind.property] ?? [];
  if (mappings.length === 0) return;
  const pointer = `/linux/${kind.property}`;
  const what = `map ${kind.of} id ${rangesOf(mappings)}`;
  if (needsTool(config, facts, kind)) {
    planTool(context, kind, mappings, what, pointer);
    return;
  }
  if (kind === GROUP_IDS && !hasCapability(facts, kind)) {
    planWriteProc(context, attach, initPid, "setgroups", "deny", pointer);
  }
  const map = mapText(mappings);
  planWriteProc(context, attach, initPid, kind.file, map, pointer, { what, says: tooLong(what, map, pointer) });
}

/** `0 to 1000, 1-65536 to 100000-165535`; of many only the first. */
function rangesOf(mappings: readonly IdMapping[]): string {
  const SHOWN = 3;
  const range = (first: number, size: number) => (size === 1 ? `${first}` : `${first}-${first + size - 1}`);
  const shown = mappings
    .slice(0, SHOWN)
    .map(({ containerID, hostID, size }) => `${range(containerID, size)} to ${range(hostID, size)}`);
  const more = mappings.length - SHOWN;
  return `${shown.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** The kernel takes a map in one write of less than a page, which is larger on some machines than on others. */
function tooLong(what: string, map: string, pointer: string): Record<string, string> | undefined {
  if (map.length < 4096) return undefined;
  const property = pointer.slice(1).replace("/", ".");
  return {
    EINVAL: `cannot ${what}: the map takes ${map.length} bytes, and the kernel only one page, less than 4096 (${property})`,
  };
}

function planTool(
  context: PlanContext,
  kind: IdKind,
  mappings: readonly IdMapping[],
  what: string,
  pointer: string,
): void {
  const { tool } = kind;
  const numbers = mappings.flatMap(({ containerID, hostID, size }) => [containerID, hostID, size].map(String));
  const line = commandLine(tool, context.initPid, ...numbers);
  add(context.attach, {
    call: "execve",
    args: [context.mapTools?.[tool] ?? `/usr/bin/${tool}`, line, 0],
    what,
    pointer,
  });
}

export function mapText(mappings: readonly IdMapping[] | undefined): string {
  return (mappings ?? []).map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join("");
}

/** Writes a file below /proc/<pid>, on the host's /proc: steps for tsrun. `told`: other words for errors. */
export function planWriteProc(
  context: Pick<PlanContext, "slots">,
  program: Program,
  pid: Slot,
  file: string,
  content: string,
  pointer: string,
  told?: { readonly what: string; readonly says?: Record<string, string> | undefined },
): void {
  if (content === "") return;
  const fd = slot(context.slots, file);
  const what = told?.what ?? `write ${JSON.stringify(content.trim())} to ${file} of the container's process`;
  const data = utf8(content);
  const O_CLOEXEC = 0o2000000;
  addAll(program, [
    {
      call: "openat",
      args: [AT_FDCWD, text("/proc/", pid, `/${file}`), O_WRONLY | O_CLOEXEC, 0],
      into: fd,
      what,
      pointer,
    },
    { call: "write", args: [fd, bytes(data), data.length], what, pointer, says: told?.says },
    { call: "close", args: [fd], what },
  ]);
}
