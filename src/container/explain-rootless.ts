import { TsrunError } from "../errors.ts";
import type { HostFacts, MapTools } from "../host/facts.ts";
import { findMapTools } from "../host/map-tools.ts";
import { readText } from "../kernel/files.ts";
import { GROUP_IDS, type IdKind, USER_IDS } from "../plan/id-maps.ts";
import type { Config, NamespaceType } from "../spec/types.ts";
import { grantRemedies, type Remedy, readIdAccess, toolRemedies } from "./explain-maps.ts";

/** What the kernel lets a caller without root do; each undefined where it has no such setting. */
export interface UserNamespaceSettings {
  /** /proc/sys/user/max_user_namespaces */
  readonly most: number | undefined;
  /** /proc/sys/kernel/unprivileged_userns_clone: Debian's kernels before 6.x, and those derived from them. */
  readonly clone: number | undefined;
  /** /proc/sys/kernel/apparmor_restrict_unprivileged_userns: Ubuntu since 23.10. */
  readonly apparmor: number | undefined;
}

/**
 * An error of create, with what is missing on this machine and the command that brings it where the cause is that the
 * caller is not root, or a root without the capabilities of one. Other errors come back as they are.
 */
export function explainPrivileges(error: unknown, config: Config, facts: HostFacts): unknown {
  if (!(error instanceof TsrunError)) return error;
  if (facts.euid === 0 && !facts.inUserNamespace) return explainForRoot(error);
  const kind = [USER_IDS, GROUP_IDS].find(({ property }) => error.details.pointer === `/linux/${property}`);
  if (kind !== undefined) return explainMap(error, kind, config, facts);
  return explainWithoutRoot(error, config, readUserNamespaceSettings());
}

function readUserNamespaceSettings(): UserNamespaceSettings {
  const read = (name: string): number | undefined => {
    const text = readText(`/proc/sys/${name}`);
    return typeof text === "number" ? undefined : Number(text.trim());
  };
  return {
    most: read("user/max_user_namespaces"),
    clone: read("kernel/unprivileged_userns_clone"),
    apparmor: read("kernel/apparmor_restrict_unprivileged_userns"),
  };
}

/** A map that the kernel did not take from tsrun, or newuidmap did not write. */
function explainMap(error: TsrunError, kind: IdKind, config: Config, facts: HostFacts): TsrunError {
  const { step, code } = error.details;
  const mappings = config.linux?.[kind.property] ?? [];
  if (step === "execve") {
    const tools: MapTools = findMapTools();
    const access = readIdAccess(kind, tools[kind.tool], facts);
    const missing = toolRemedies(kind, access);
    return withRemedies(error, missing.length > 0 ? missing : grantRemedies(kind, mappings, access));
  }
  if (code !== "EPERM") return error;
  const why = `not every ${kind.of} id is there in the user namespace that tsrun is in`;
  return explained(error, why, `cat /proc/self/${kind.file} shows those that are: its second column is the host's`);
}

function withRemedies(error: TsrunError, remedies: readonly Remedy[]): TsrunError {
  if (remedies.length === 0) return error;
  return explained(error, remedies.map(({ why }) => why).join("; "), remedies.map(({ hint }) => hint).join("; "));
}

const MOUNTS = ["mount", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "mount_setattr"];

/** The namespace that a file system shows: without one of the container's own, the container may not mount it. */
const SHOWN: readonly [type: string, namespace: NamespaceType][] = [
  ["proc", "pid"],
  ["sysfs", "network"],
  ["mqueue", "ipc"],
];

export function explainWithoutRoot(error: TsrunError, config: Config, settings: UserNamespaceSettings): TsrunError {
  const { code, step = "" } = error.details;
  if (step === "clone3") return explainClone(error, settings);
  if (code !== "EPERM" && code !== "EACCES") return error;
  const isMount = MOUNTS.includes(step);
  if (settings.apparmor === 1 && (isMount || step === "write" || step.startsWith("set"))) {
    return withSetting(error, "AppArmor allows user namespaces, but nothing in them", {
      name: "kernel.apparmor_restrict_unprivileged_userns",
      now: 1,
      value: 0,
    });
  }
  return isMount ? explainMount(error, config) : error;
}

function explainMount(error: TsrunError, config: Config): TsrunError {
  const { message } = error;
  for (const [type, namespace] of SHOWN) {
    if (!message.includes(`mount "${type}"`) || hasOwn(config, namespace)) continue;
    const why = `${type} shows the ${namespace} namespace, which is not the container's own`;
    return explained(error, why, `add {"type": "${namespace}"} to linux.namespaces, or bind the host's (rbind, ro)`);
  }
  if (message.includes('"/proc"')) {
    const why = "parts of this machine's own /proc are hidden, as in a container of an engine";
    return explained(error, why, "run tsrun on the machine itself, or as root");
  }
  if (message.includes("throw-away layer")) {
    return explained(error, "overlays in user namespaces need Linux 5.11", "run tsrun as root");
  }
  return error;
}

function hasOwn({ linux }: Config, wanted: NamespaceType): boolean {
  return linux?.namespaces?.some(({ type, path = "" }) => type === wanted && path === "") ?? false;
}

/** The same for root: whose capabilities an engine may have taken away. */
export function explainForRoot(error: TsrunError): TsrunError {
  if (error.details.step !== "clone3" || error.details.code !== "EPERM") return error;
  const why = "this root lacks CAP_SYS_ADMIN, or a seccomp filter is in the way, as in a container of an engine";
  return explained(error, why, "run tsrun on the machine itself, or in a privileged container");
}

function explainClone(error: TsrunError, { most, clone }: UserNamespaceSettings): TsrunError {
  const { code } = error.details;
  if (most === 0) {
    return withSetting(error, "user namespaces are switched off", {
      name: "user.max_user_namespaces",
      now: 0,
      value: 15000,
    });
  }
  if (code === "EPERM" && clone === 0) {
    const why = "user namespaces are switched off for all but root";
    return withSetting(error, why, { name: "kernel.unprivileged_userns_clone", now: 0, value: 1 });
  }
  if (code === "ENOSPC" || code === "EUSERS") {
    const why = "there are as many user namespaces as this machine allows";
    return withSetting(error, why, { name: "user.max_user_namespaces", value: 2 * (most ?? 15000) });
  }
  if (code !== "EPERM") return error;
  const why =
    "something keeps this process from making user namespaces: a seccomp filter, a chroot, or a security module";
  return explained(error, why, "run tsrun as root, or outside the container that this is");
}

interface Setting {
  readonly name: string;
  /** What it is, where that says it all. */
  readonly now?: number;
  /** What it should be. */
  readonly value: number;
}

function withSetting(error: TsrunError, why: string, { name, now, value }: Setting): TsrunError {
  const state = now === undefined ? name : `${name} is ${now}`;
  return explained(error, `${why} (${state})`, `as root: sysctl -w ${name}=${value}; or run tsrun as root`);
}

function explained(error: TsrunError, why: string, hint: string): TsrunError {
  return new TsrunError(`${error.message}: ${why}`, { ...error.details, hint });
}
