import type { Mount } from "../helpers/config.ts";

/** A line of mountinfo, without what is another for each mount: ids, device, peer groups. */
export interface SeenMount {
  readonly root: string;
  readonly point: string;
  /** Of the mount: `rw,nosuid,relatime`. */
  readonly options: string;
  /** `shared`, `master`, `unbindable`, or nothing. */
  readonly propagation: string;
  readonly type: string;
  readonly source: string;
  /** Of the file system: `rw,size=64k`. */
  readonly system: string;
}

/** What became of a container with the mount: what is mounted there, and below; undefined when it was refused. */
export interface Outcome {
  readonly mounts: readonly SeenMount[] | undefined;
  readonly stderr: string;
}

interface Difference {
  /** Why tsrun is not as runc 1.1.5 here. */
  readonly reason: string;
  /** True for a mount of which this is the explanation. */
  readonly explains: (mount: Mount, ours: Outcome, theirs: Outcome) => boolean;
}

/** The reason of a difference, if it is a known one; the list only ever shrinks. */
export function expectedDifference(mount: Mount, ours: Outcome, theirs: Outcome): string | undefined {
  return DIFFERENCES.find(({ explains }) => explains(mount, ours, theirs))?.reason;
}

const DIFFERENCES: readonly Difference[] = [
  {
    reason:
      "on cgroup v1 runc gives the options to the hierarchies, and leaves the tmpfs that holds them writable; here the tmpfs " +
      "has them, no hierarchy allows devices, set-uid or execution, and v2's is there besides",
    explains: ({ type }, ours, theirs) => type === "cgroup" && both(ours, theirs, sameHierarchies),
  },
  {
    reason: "runc hands the option defaults to the file system",
    explains: ({ options = [] }, ours, theirs) =>
      options.includes("defaults") && ours.mounts !== undefined && /data: [^"]*defaults/.test(theirs.stderr),
  },
  {
    reason: "of the kernel's own file systems only the mount becomes read-only here, with runc the superblock too",
    explains: ({ type = "" }, ours, theirs) =>
      ["proc", "sysfs", "mqueue"].includes(type) && both(ours, theirs, (a, b) => same(a, b, withoutReadOnlySystem)),
  },
  {
    reason: "mount(2) passes over an option without a name",
    explains: ({ options = [] }, ours, theirs) =>
      options.some((option) => option.startsWith("=")) &&
      theirs.mounts !== undefined &&
      /: Unknown parameter ''/.test(ours.stderr),
  },
  {
    reason:
      "of several ways to keep access times runc adds up the flags, which the kernel may refuse; here the last one counts",
    explains: ({ options = [] }, ours, theirs) =>
      options.filter((option) => /^r?(no)?(rel|strict)?atime$/.test(option)).length > 0 &&
      (both(ours, theirs, (a, b) => same(a, b, withoutTimes)) || isRefusedAttribute(ours, theirs)),
  },
];

type Mounts = readonly SeenMount[];

function both(ours: Outcome, theirs: Outcome, agree: (ours: Mounts, theirs: Mounts) => boolean): boolean {
  return ours.mounts !== undefined && theirs.mounts !== undefined && agree(ours.mounts, theirs.mounts);
}

function same(ours: Mounts, theirs: Mounts, view: (mount: SeenMount) => unknown): boolean {
  return Bun.deepEquals(ours.map(view), theirs.map(view));
}

/** Where each hierarchy of v1 is, what it is, and whether it can be written to. */
function sameHierarchies(ours: Mounts, theirs: Mounts): boolean {
  const shared = ours.filter(({ type, point }) => type !== "cgroup2" || theirs.some((other) => other.point === point));
  return same(shared, theirs, ({ root, point, type, source, system, options }) => {
    const writable = type === "tmpfs" ? undefined : options.startsWith("rw");
    return { root, point, type, source, system, writable };
  });
}

function withoutTimes(mount: SeenMount): SeenMount {
  return { ...mount, options: mount.options.replace(/,(noatime|relatime)/g, "") };
}

function withoutReadOnlySystem(mount: SeenMount): SeenMount {
  return { ...mount, system: mount.system.replace(/^r[ow]/, "") };
}

/** mount_setattr(2) wants the whole field cleared. */
function isRefusedAttribute(ours: Outcome, theirs: Outcome): boolean {
  return ours.mounts !== undefined && /mount_setattr.*invalid argument/.test(theirs.stderr);
}
