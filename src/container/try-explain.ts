import { TsrunError } from "../errors.ts";
import { readText } from "../kernel/files.ts";

/** What the kernel lets a caller without root do; each undefined where it has no such setting. */
export interface UserNamespaceSettings {
  /** /proc/sys/user/max_user_namespaces */
  readonly most: number | undefined;
  /** /proc/sys/kernel/unprivileged_userns_clone: Debian's kernels before 6.x, and those derived from them. */
  readonly clone: number | undefined;
  /** /proc/sys/kernel/apparmor_restrict_unprivileged_userns: Ubuntu since 23.10. */
  readonly apparmor: number | undefined;
}

export function readUserNamespaceSettings(): UserNamespaceSettings {
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

/**
 * An error of a container without root, with the setting of this machine that is in the way and the command that
 * changes it. Other errors come back as they are.
 */
export function explainWithoutRoot(error: unknown, settings: UserNamespaceSettings): unknown {
  if (!(error instanceof TsrunError)) return error;
  const { code, step } = error.details;
  if (step === "clone3") return explainClone(error, settings);
  const denied = code === "EPERM" || code === "EACCES";
  const isMount = ["mount", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "mount_setattr"].includes(
    step ?? "",
  );
  if (denied && settings.apparmor === 1 && (isMount || step === "write" || step?.startsWith("set"))) {
    return withSetting(error, "AppArmor allows user namespaces, but nothing in them", {
      name: "kernel.apparmor_restrict_unprivileged_userns",
      now: 1,
      value: 0,
    });
  }
  if (denied && isMount && error.message.includes('"/proc"')) {
    const why = "parts of this machine's own /proc are hidden, as in a container of an engine";
    return explained(error, why, "run tsrun try on the machine itself, or as root");
  }
  if (denied && isMount && error.message.includes("throw-away layer")) {
    return explained(error, "overlays in user namespaces need Linux 5.11", "run tsrun try as root");
  }
  return error;
}

/** The same for root: whose capabilities an engine may have taken away. */
export function explainForRoot(error: unknown): unknown {
  if (!(error instanceof TsrunError) || error.details.step !== "clone3" || error.details.code !== "EPERM") return error;
  const why = "this root lacks CAP_SYS_ADMIN, or a seccomp filter is in the way, as in a container of an engine";
  return explained(error, why, "run tsrun try on the machine itself, or in a privileged container");
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
  if (clone === 0) {
    const why = "user namespaces are switched off for all but root";
    return withSetting(error, why, { name: "kernel.unprivileged_userns_clone", now: 0, value: 1 });
  }
  if (code === "ENOSPC" || code === "EUSERS") {
    const why = "there are as many user namespaces as this machine allows";
    return withSetting(error, why, { name: "user.max_user_namespaces", value: 2 * (most ?? 15000) });
  }
  const why =
    "something keeps this process from making user namespaces: a seccomp filter, a chroot, or a security module";
  return explained(error, why, "run tsrun try as root, or outside the container that this is");
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
  return explained(error, `${why} (${state})`, `as root: sysctl -w ${name}=${value}; or run tsrun try as root`);
}

function explained(error: TsrunError, why: string, hint: string): TsrunError {
  return new TsrunError(`${error.message}: ${why}`, { ...error.details, hint });
}
