import { AT_FDCWD, AT_SYMLINK_NOFOLLOW } from "../abi/fcntl.ts";
import { MS_PRIVATE, MS_SHARED, MS_UNBINDABLE } from "../abi/mount.ts";
import { hasUserNamespace, type PlanContext } from "./context.ts";
import { planIdmap } from "./idmap.ts";
import { planOutsideProc } from "./inside-proc.ts";
import { planAttributes } from "./mount-attributes.ts";
import { destinationOf, isKernelMount, type MountEntry, propertyOfMount, refused } from "./mount-entry.ts";
import { isIdmapped } from "./mount-options.ts";
import {
  attachMount,
  branchOnError,
  changeAttributes,
  cloneTree,
  closeFd,
  type Extras,
  jump,
  type Origin,
} from "./mount-steps.ts";
import { components, createParents, type Kind, openDestination } from "./paths.ts";
import { basePropagation, opensOnHost } from "./rootfs.ts";
import { add, type Label, label, type Program, place, type Slot, slot, space } from "./step.ts";

/** A bind mount: a copy of the source, changed while nobody sees it, then attached (config.md "Linux Example"). */
export function planBind(context: PlanContext, entry: MountEntry): void {
  const { options, mount, origin } = entry;
  const { build, slots } = context;
  const end = label();
  const source = sourcePath(context, entry);
  if (options.copySymlink) planCopySymlink(context, entry, source, end);
  const idmapped = isIdmapped(mount);
  if (idmapped && !context.facts.canMount) throw refused(entry, "idmapped mounts need CAP_SYS_ADMIN on the host");
  const onHost = opensOnHost(context);
  const opener = onHost ? context.prepare : build;
  const tree = slot(slots, `source ${source}`);
  const flags = options.sourceNoFollow || options.copySymlink ? AT_SYMLINK_NOFOLLOW : 0;
  const missing = {
    says: {
      ENOENT: `cannot ${origin.what}: "${source}": no such file or directory (${propertyOfMount(entry.origin)})`,
    },
  };
  const recursive = options.bind === "rbind";
  cloneTree(opener, tree, { from: AT_FDCWD, path: source, recursive, flags, inherited: onHost }, origin, missing);
  const kind = onHost ? kindOnHost(context, tree, source, origin) : kindInInit(tree, origin);
  planTreeAttributes(context, opener, tree, entry, onHost);
  if (idmapped) planIdmap(context, entry, tree);
  const wanted = { ...destinationOf(context, entry), kind, noFollow: options.destinationNoFollow };
  const target = openDestination(build, slots, wanted, origin);
  planOutsideProc(context, entry, target);
  attachMount(build, tree, target, origin, mismatch(entry));
  closeFd(build, target);
  if (isKernelMount(entry)) context.kernelMounts.set(entry.destination, tree);
  else closeFd(build, tree);
  place(build, end);
}

/** move_mount(2) says EINVAL where mount(2) said ENOTDIR, which people and engines know. */
function mismatch(entry: MountEntry): Extras {
  return {
    says: { EINVAL: `cannot ${entry.origin.what}: not a directory (${propertyOfMount(entry.origin)})` },
    hint: "a directory can only be mounted on a directory, and a file on a file",
  };
}

function sourcePath(context: PlanContext, entry: MountEntry): string {
  const { source } = entry.mount;
  if (source === undefined || source === "") throw refused(entry, "a bind mount needs a source");
  return source.startsWith("/") ? source : `${context.bundle}/${source}`;
}

/** tsrun may look into directories that a mapped user may not: it finds out whether the source is one. */
function kindOnHost(context: PlanContext, tree: Slot, source: string, origin: Origin): Kind {
  const kind = slot(context.slots, `${source} is a directory`);
  add(context.prepare, {
    call: "faccessat2",
    args: [tree, ".", 0, 0],
    into: kind,
    tolerate: ["ENOTDIR"],
    ...origin,
  });
  return { branch: (program, file) => branchOnError(program, kind, file) };
}

function kindInInit(tree: Slot, origin: Origin): Kind {
  return {
    branch: (program, file) =>
      add(program, {
        call: "faccessat2",
        args: [tree, ".", 0, 0],
        tolerate: ["ENOTDIR"],
        onTolerated: file,
        ...origin,
      }),
  };
}

/**
 * On the detached copy, before anyone can see it: what it takes over from the host, its own attributes, those of everything
 * below, which hold for itself too whatever the options' order, then propagation. Attributes that are not named stay as they are on the host: a source that is nosuid there never
 * loses that because the container wants it read-only.
 */
function planTreeAttributes(
  context: PlanContext,
  program: Program,
  tree: Slot,
  entry: MountEntry,
  onHost: boolean,
): void {
  const { options, origin } = entry;
  const base = basePropagation(context);
  const last = options.propagation.at(-1);
  const replaced = last?.recursive === true && (last.type === MS_PRIVATE || last.type === MS_UNBINDABLE);
  if (onHost && base !== MS_SHARED && !replaced) {
    changeAttributes(program, tree, { propagation: base, recursive: true }, origin);
  }
  const locked = !onHost && (hasUserNamespace(context) || context.facts.inUserNamespace);
  planAttributes(program, tree, options.attributes, false, locked, origin);
  planAttributes(program, tree, options.recursive, true, locked, origin);
  for (const { type, recursive } of options.propagation) {
    changeAttributes(program, tree, { propagation: type, recursive }, origin);
  }
}

const PATH_MAX = 4096;

/** crun's copy-symlink: a source that is a symlink is made again at the destination; everything else is bound. */
function planCopySymlink(context: PlanContext, entry: MountEntry, source: string, end: Label): void {
  const { build, slots } = context;
  const origin = { ...entry.origin, what: `copy the symlink "${source}" to "${entry.destination}"` };
  if (opensOnHost(context)) throw refused(entry, "copy-symlink needs sources that the container's init can open");
  const names = components(entry.destination);
  const ordinary = label();
  // One byte less is read than there is room for, so that the text always ends in NUL.
  const target = space(PATH_MAX);
  add(build, {
    call: "readlinkat",
    args: [AT_FDCWD, source, target, PATH_MAX - 1],
    tolerate: ["EINVAL"],
    onTolerated: ordinary,
    ...origin,
  });
  const parent = createParents(build, slots, context.rootfs, names, origin);
  add(build, {
    call: "symlinkat",
    args: [target, parent, names.at(-1) ?? "."],
    tolerate: ["EEXIST"],
    ...origin,
  });
  if (parent !== context.rootfs) closeFd(build, parent);
  jump(build, end);
  place(build, ordinary);
}
