import {
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_RELATIME,
  MOUNT_ATTR_STRICTATIME,
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
} from "../abi/mount.ts";

import type { Mount } from "../spec/types.ts";

/** `mounts[].options`, understood: those of runc and of crun, and for the file system whatever is left. */
export type MountOptions = {
  readonly [Name in keyof Draft]: Draft[Name] extends (infer Item)[] ? readonly Item[] : Readonly<Draft[Name]>;
};

interface Draft {
  /** MOUNT_ATTR_… of the mount itself. */
  attributes: Attributes;
  /** The same for everything below it (rro, rnosuid, …). */
  recursive: Attributes;
  /** MS_PRIVATE, …, in the order given; more than one can make sense: slave, then shared. */
  propagation: { type: number; recursive: boolean }[];
  /** bind: this mount; rbind: with all that is mounted below the source. */
  bind: "" | "bind" | "rbind";
  remount: boolean;
  /** Flags of the superblock, as fsconfig(2) names them: sync, dirsync, mand, lazytime and their opposites. */
  superblock: string[];
  /** Superblock flags that only mount(2) knows: iversion, silent. */
  classic: string[];
  copyUp: boolean;
  /** idmap: by the container's user namespace; with the mappings of crun's `idmap=…` when there are any. */
  idmap: "" | "idmap" | "ridmap";
  idmapMappings: string;
  copySymlink: boolean;
  sourceNoFollow: boolean;
  destinationNoFollow: boolean;
  /** For the file system: `mode=755`. */
  data: string[];
}

export interface Attributes {
  set: number;
  clear: number;
}

const known = new Map<string, MountOptions>();

/**
 * Reads the options in order: of two that contradict each other the later one holds. The same are read once: engines give
 * the same to the file systems that every container has.
 */
export function parseMountOptions(options: readonly string[]): MountOptions {
  const text = JSON.stringify(options);
  const before = known.get(text);
  if (before !== undefined) return before;
  const parsed = parse(options);
  known.set(text, parsed);
  return parsed;
}

function parse(options: readonly string[]): MountOptions {
  const parsed = noOptions();
  for (const option of options) {
    if (!readFlag(parsed, option) && option !== "") parsed.data.push(option);
  }
  return parsed;
}

function noOptions(): Draft {
  return {
    attributes: { set: 0, clear: 0 },
    recursive: { set: 0, clear: 0 },
    propagation: [],
    bind: "",
    remount: false,
    superblock: [],
    classic: [],
    copyUp: false,
    idmap: "",
    idmapMappings: "",
    copySymlink: false,
    sourceNoFollow: false,
    destinationNoFollow: false,
    data: [],
  };
}

function readFlag(parsed: Draft, option: string): boolean {
  return (
    readAttribute(parsed.attributes, option) ||
    (option.startsWith("r") && readAttribute(parsed.recursive, option.slice(1))) ||
    readPropagation(parsed, option) ||
    readSuperblockFlag(parsed, option) ||
    readExtension(parsed, option)
  );
}

/** What a new mount has, which has nothing below it: as with runc and crun, rro holds whether rw stands before it or behind. */
export function wholeAttributes({ attributes, recursive }: MountOptions): number {
  return (attributes.set & ~recursive.clear) | recursive.set;
}

/** The attribute that `option` sets or clears; false when it is none. mount_setattr(2) wants the whole atime field cleared. */
function readAttribute(attributes: Attributes, option: string): boolean {
  const change = attributeChange(option);
  if (change === undefined) return false;
  const [set, clear] = change;
  attributes.set = (attributes.set & ~clear) | set;
  attributes.clear = (attributes.clear & ~set) | clear;
  return true;
}

function attributeChange(option: string): [number, number] | undefined {
  switch (option) {
    case "ro":
      return [MOUNT_ATTR_RDONLY, 0];
    case "rw":
      return [0, MOUNT_ATTR_RDONLY];
    case "nosuid":
      return [MOUNT_ATTR_NOSUID, 0];
    case "suid":
      return [0, MOUNT_ATTR_NOSUID];
    case "nodev":
      return [MOUNT_ATTR_NODEV, 0];
    case "dev":
      return [0, MOUNT_ATTR_NODEV];
    case "noexec":
      return [MOUNT_ATTR_NOEXEC, 0];
    case "exec":
      return [0, MOUNT_ATTR_NOEXEC];
    case "nosymfollow":
      return [MOUNT_ATTR_NOSYMFOLLOW, 0];
    case "symfollow":
      return [0, MOUNT_ATTR_NOSYMFOLLOW];
    case "nodiratime":
      return [MOUNT_ATTR_NODIRATIME, 0];
    case "diratime":
      return [0, MOUNT_ATTR_NODIRATIME];
    case "noatime":
      return [MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME];
    case "strictatime":
      return [MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME];
    // The kernel has three ways to keep access times, and relatime is what is left when the other two are switched off.
    case "relatime":
    case "atime":
    case "nostrictatime":
    case "norelatime":
      return [MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME];
    default:
      return undefined;
  }
}

function readPropagation(parsed: Draft, option: string): boolean {
  const type = propagationType(option);
  if (type === undefined) return false;
  parsed.propagation.push(type);
  return true;
}

/** `rslave` → slave for everything below; also the values of linux.rootfsPropagation. */
export function propagationType(name: string): { type: number; recursive: boolean } | undefined {
  switch (name) {
    case "private":
    case "rprivate":
      return { type: MS_PRIVATE, recursive: name === "rprivate" };
    case "slave":
    case "rslave":
      return { type: MS_SLAVE, recursive: name === "rslave" };
    case "shared":
    case "rshared":
      return { type: MS_SHARED, recursive: name === "rshared" };
    case "unbindable":
    case "runbindable":
      return { type: MS_UNBINDABLE, recursive: name === "runbindable" };
    default:
      return undefined;
  }
}

/** crun's forms with "r" mean the same: a superblock has nothing below it. */
function readSuperblockFlag(parsed: Draft, option: string): boolean {
  switch (option) {
    case "defaults":
    case "loud":
    case "noiversion":
      return true;
    case "iversion":
    case "silent":
      parsed.classic.push(option);
      return true;
    case "sync":
    case "async":
    case "dirsync":
    case "mand":
    case "nomand":
    case "lazytime":
    case "nolazytime":
      parsed.superblock.push(option);
      return true;
    case "rsync":
    case "rasync":
    case "rdirsync":
    case "rmand":
    case "rnomand":
      parsed.superblock.push(option.slice(1));
      return true;
    default:
      return false;
  }
}

function readExtension(parsed: Draft, option: string): boolean {
  switch (option) {
    case "bind":
    case "rbind":
      parsed.bind = option;
      return true;
    case "remount":
      parsed.remount = true;
      return true;
    case "tmpcopyup":
      parsed.copyUp = true;
      return true;
    case "idmap":
    case "ridmap":
      parsed.idmap = option;
      return true;
    case "copy-symlink":
      parsed.copySymlink = true;
      return true;
    case "src-nofollow":
      parsed.sourceNoFollow = true;
      return true;
    case "dest-nofollow":
      parsed.destinationNoFollow = true;
      return true;
    default:
      return readIdmap(parsed, option);
  }
}

/** crun: `idmap=uids=0-1000-10#10-2000-5;gids=0-1000-10`. */
function readIdmap(parsed: Draft, option: string): boolean {
  if (!option.startsWith("idmap=") && !option.startsWith("ridmap=")) return false;
  const at = option.indexOf("=");
  parsed.idmap = option.startsWith("r") ? "ridmap" : "idmap";
  parsed.idmapMappings = option.slice(at + 1);
  return true;
}

/** True when the owners of files are to be shown through a mapping. */
export function isIdmapped({ options, uidMappings, gidMappings }: Mount): boolean {
  if (uidMappings !== undefined || gidMappings !== undefined) return true;
  return parseMountOptions(options ?? []).idmap !== "";
}
