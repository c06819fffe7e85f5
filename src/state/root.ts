import { TsrunError } from "../errors.ts";
import { inUserNamespace } from "../host/read-facts.ts";
import { currentDirectory } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { variable } from "../kernel/warm-start.ts";

/** What the default of --root depends on. */
export interface Caller {
  readonly euid: number;
  /** A function: asking the kernel is only worth it when the answer matters. */
  readonly inUserNamespace: () => boolean;
  /** Environment variables. */
  readonly runtimeDirectory: string | undefined;
  readonly user: () => string | undefined;
}

/**
 * The absolute directory that holds a directory per container: --root, else `$XDG_RUNTIME_DIR/tsrun` for those who are
 * not the machine's root, else `/run/tsrun`.
 */
export function stateRoot(option: string | undefined): string {
  if (option !== undefined) return checkRoot(absolute(option));
  const runtimeDirectory = variable("XDG_RUNTIME_DIR");
  return defaultRoot({ euid: sys("geteuid"), inUserNamespace, runtimeDirectory, user: () => variable("USER") });
}

/** As runc chooses: root of a user namespace counts as root when $USER says so, and without $USER it does not. */
export function defaultRoot({ euid, inUserNamespace, runtimeDirectory, user }: Caller): string {
  if (runtimeDirectory === undefined || runtimeDirectory === "") return "/run/tsrun";
  const owned = euid !== 0 || (user() !== "root" && inUserNamespace());
  return owned ? `${runtimeDirectory}/tsrun` : "/run/tsrun";
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${currentDirectory()}/${path}`;
}

/** Deleting a container removes a directory below the root: not a thing to do to a machine's. */
function checkRoot(path: string): string {
  let depth = 0;
  for (const part of path.split("/")) {
    if (part === "..") depth = Math.max(0, depth - 1);
    else if (part !== "" && part !== ".") depth++;
  }
  if (depth === 0) throw new TsrunError("Option --root argument should not be set to /");
  return path;
}
