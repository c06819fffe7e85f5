import { propertyOf, TsrunError } from "../errors.ts";
import type { Mount } from "../spec/types.ts";
import type { PlanContext } from "./context.ts";
import { type MountOptions, parseMountOptions } from "./mount-options.ts";
import type { Origin } from "./mount-steps.ts";
import { cleanPath, type Destination } from "./paths.ts";

/** One of config.mounts, understood. */
export interface MountEntry {
  readonly mount: Mount;
  readonly options: MountOptions;
  /** Absolute and without "." and "..". */
  readonly destination: string;
  readonly origin: Origin;
}

/** Reads the options and the destination of `mounts[n]`; `pointer` is `/mounts/n`. */
export function readEntry(context: PlanContext, mount: Mount, pointer: string): MountEntry {
  const options = withType(parseMountOptions(mount.options ?? []), mount.type);
  const destination = cleanPath(mount.destination);
  if (!mount.destination.startsWith("/")) {
    context.warnings.push(
      `mount destination "${mount.destination}" is not absolute, "${destination}" is meant (${propertyOf(pointer)}.destination)`,
    );
  }
  const name = mount.source ?? mount.type ?? "";
  return { mount, options, destination, origin: { what: `mount "${name}" on "${destination}"`, pointer } };
}

/** As runc: with bind among the options the type means nothing; crun also takes the type alone for it. */
function withType(options: MountOptions, type: string | undefined): MountOptions {
  if (type === "rbind") return { ...options, bind: "rbind" };
  return type === "bind" && options.bind === "" ? { ...options, bind: "bind" } : options;
}

/** `mounts[3]`. */
export function propertyOfMount(origin: Origin): string {
  return propertyOf(origin.pointer);
}

/** A mount that cannot be what the config wants it to be: nothing has been done yet. */
export function refused(entry: { readonly origin: Origin }, why: string): TsrunError {
  const { what, pointer } = entry.origin;
  return new TsrunError(`cannot ${what}: ${why} (${propertyOf(pointer)})`, { code: "EINVALIDCONFIG", pointer });
}

/** Its descriptor is kept, see PlanContext.kernelMounts. */
export function isKernelMount({ destination }: MountEntry): boolean {
  return destination === "/proc" || destination === "/sys" || destination === "/dev/pts";
}

type Where = Pick<Destination, "root" | "path" | "parent" | "resolved">;

/** Where it is mounted: below the root, and made by its resolved name when a symlink leads to where nothing is yet. */
export function destinationOf(context: PlanContext, entry: MountEntry): Where {
  const directlyInDev =
    entry.destination.startsWith("/dev/") && entry.destination.length > 5 && !entry.destination.includes("/", 5);
  const parent = directlyInDev ? context.dev.mount : undefined;
  const resolved = context.resolvedDestinations?.get(entry.destination);
  return { root: context.rootfs, path: entry.destination, parent, resolved };
}
