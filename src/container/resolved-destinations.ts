import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH } from "../abi/fcntl.ts";
import { OPEN_HOW_SIZE, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS } from "../abi/openat2.ts";
import { close } from "../kernel/files.ts";
import { type Sys, sys } from "../kernel/kernel.ts";
import { cleanPath, resolveInRoot } from "../plan/paths.ts";
import type { Config } from "../spec/types.ts";

/**
 * Where symlinks of the root file system lead the destinations of mounts, for those that they lead anywhere. An image's
 * /etc/resolv.conf often points to what no image has; the file to bind on must be made there. What is read here may have
 * changed when the init makes it: it only gives a name to make, below the root and without following a symlink.
 */
export function readResolvedDestinations(config: Config, rootfsPath: string, call: Sys = sys): Map<string, string> {
  const resolved = new Map<string, string>();
  const root = call("openat", AT_FDCWD, rootfsPath, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (root < 0) return resolved; // planRootfs says why
  for (const mount of config.mounts ?? []) {
    const destination = cleanPath(mount.destination);
    if (isNew(destination) || !passesSymlink(call, root, destination)) continue;
    const path = resolveInRoot(destination, (name) => readLink(call, root, name));
    if (path !== undefined) resolved.set(destination, path);
  }
  close(root);
  return resolved;
}

/** File systems that are mounted anew in almost every container: what the image has there is hidden. */
function isNew(destination: string): boolean {
  const first = destination.split("/")[1];
  return first === "proc" || first === "sys" || first === "dev";
}

const ELOOP = 40;

function passesSymlink(call: Sys, root: number, path: string): boolean {
  const fd = openBelow(call, root, path, RESOLVE_NO_SYMLINKS);
  if (fd >= 0) close(fd);
  return fd === -ELOOP;
}

function openBelow(call: Sys, root: number, path: string, resolve: number): number {
  const how = BigUint64Array.of(
    BigInt(O_PATH | O_CLOEXEC),
    0n,
    BigInt(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve),
  );
  return call("openat2", root, path, how, OPEN_HOW_SIZE);
}

const PATH_MAX = 4096;

function readLink(call: Sys, root: number, path: string): string | undefined {
  const at = path.lastIndexOf("/");
  const directory = openBelow(call, root, path.slice(0, at) || "/", RESOLVE_NO_SYMLINKS);
  if (directory < 0) return undefined;
  const target = new Uint8Array(PATH_MAX);
  const length = call("readlinkat", directory, path.slice(at + 1), target, PATH_MAX);
  close(directory);
  return length <= 0 ? undefined : new TextDecoder().decode(target.subarray(0, length));
}
