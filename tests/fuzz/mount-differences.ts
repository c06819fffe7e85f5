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
  /** For a mount that both make: what is left of a line when this is passed over; undefined for mounts without it. */
  readonly passesOver?: (mount: Mount) => ((seen: SeenMount) => SeenMount | undefined) | undefined;
  /** True for a mount that only one refuses, of which this is the explanation. */
  readonly explains?: (mount: Mount, ours: Outcome, theirs: Outcome) => boolean;
}

/** True when all that differs has its reason in the list, which only ever shrinks. */
export function isExpected(mount: Mount, ours: Outcome, theirs: Outcome): boolean {
  if (ours.mounts === undefined || theirs.mounts === undefined) {
    return DIFFERENCES.some(({ explains }) => explains?.(mount, ours, theirs) ?? false);
  }
  const views = DIFFERENCES.map(({ passesOver }) => passesOver?.(mount)).filter((view) => view !== undefined);
  const left = (list: readonly SeenMount[]) =>
    list.flatMap((seen) => views.reduce<SeenMount | undefined>((so, view) => so && view(so), seen) ?? []);
  return Bun.deepEquals(left(ours.mounts), left(theirs.mounts));
}

const DIFFERENCES: readonly Difference[] = [
  {
    reason:
      "on cgroup v1 runc gives the options to the hierarchies, and leaves the tmpfs that holds them writable; here the tmpfs " +
      "has them, no hierarchy allows devices, set-uid or execution, and v2's is there besides",
    passesOver: ({ type }) => (type === "cgroup" ? hierarchyOnly : undefined),
  },
  {
    reason: "runc hands the option defaults to the file system",
    explains: ({ options = [] }, ours, theirs) =>
      options.includes("defaults") && ours.mounts !== undefined && /data: [^"]*defaults/.test(theirs.stderr),
  },
  {
    reason: "of the kernel's own file systems only the mount becomes read-only here, with runc the superblock too",
    passesOver: ({ type = "" }) => (["proc", "sysfs", "mqueue"].includes(type) ? withoutReadOnlySystem : undefined),
  },
  {
    reason:
      "of a recursive option and its opposite runc lets the one that sets hold, in any order; here the last one counts",
    passesOver: ({ options = [] }) => {
      const words = OPPOSITES.filter((pair) => pair.every((option) => options.includes(`r${option}`))).flat();
      return words.length > 0 ? (seen) => withoutWords(seen, words) : undefined;
    },
  },
  {
    reason: "mount(2) passes over an option without a name",
    explains: ({ options = [] }, ours, theirs) =>
      options.some((option) => option.startsWith("=")) &&
      theirs.mounts !== undefined &&
      /: Unknown parameter ''/.test(ours.stderr),
  },
  {
    reason: "of several ways to keep access times runc adds up the flags; here the last one counts",
    passesOver: ({ options = [] }) =>
      options.some((option) => TIMES.test(option)) ? (seen) => withoutWords(seen, ["noatime", "relatime"]) : undefined,
  },
  {
    reason: "of several recursive ways to keep access times runc adds up the flags, which mount_setattr(2) refuses",
    explains: ({ options = [] }, ours, theirs) =>
      options.some((option) => option.startsWith("r") && TIMES.test(option)) &&
      ours.mounts !== undefined &&
      /error mounting .*: invalid argument/.test(theirs.stderr),
  },
];

const TIMES = /^r?(no)?(rel|strict)?atime$/;

const OPPOSITES: readonly (readonly string[])[] = [
  ["ro", "rw"],
  ["nosuid", "suid"],
  ["nodev", "dev"],
  ["noexec", "exec"],
  ["nodiratime", "diratime"],
];

/** Where each hierarchy of v1 is, what it is, and whether it can be written to. */
function hierarchyOnly(mount: SeenMount): SeenMount | undefined {
  if (mount.type === "cgroup2") return undefined;
  const options = mount.type === "tmpfs" ? "" : mount.options.slice(0, 2);
  return { ...mount, options, propagation: "" };
}

function withoutReadOnlySystem(mount: SeenMount): SeenMount {
  return { ...mount, system: mount.system.replace(/^r[ow]/, "") };
}

function withoutWords(mount: SeenMount, words: readonly string[]): SeenMount {
  const options = mount.options.split(",").filter((option) => !words.includes(option));
  return { ...mount, options: options.join(",") };
}
