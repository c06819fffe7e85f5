import { expect, test } from "bun:test";
import {
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MS_PRIVATE,
  MS_SHARED,
  MS_SLAVE,
} from "../abi/mount.ts";
import { parseMountOptions, wholeAttributes } from "./mount-options.ts";

/** What runc 1.4 or crun 1.29 understand: none of these may end up as data for a file system. */
const KNOWN =
  "async atime bind copy-symlink defaults dest-nofollow dev diratime dirsync exec idmap iversion lazytime loud mand noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private rasync ratime rbind rdev rdiratime rdirsync relatime remount rexec ridmap rmand rnoatime rnodev rnodiratime rnoexec rnomand rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow rsync runbindable rw shared silent slave src-nofollow strictatime suid symfollow sync tmpcopyup unbindable";

test("every option of runc and crun is understood", () => {
  for (const option of KNOWN.split(" ")) expect([option, parseMountOptions([option]).data]).toEqual([option, []]);
});

test("what is not known goes to the file system, in order", () => {
  expect(parseMountOptions(["mode=755", "", "ro", "constructor", "size=65536k"]).data).toEqual([
    "mode=755",
    "constructor",
    "size=65536k",
  ]);
});

test("attributes are set and cleared, the later one holds", () => {
  const parsed = parseMountOptions(["nosuid", "noexec", "nodev", "ro", "exec", "rw", "ro"]);
  expect(parsed.attributes).toEqual({
    set: MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY,
    clear: MOUNT_ATTR_NOEXEC,
  });
  expect(parsed.recursive).toEqual({ set: 0, clear: 0 });
});

test("access times are one field, cleared as a whole", () => {
  expect(parseMountOptions(["noatime"]).attributes).toEqual({ set: MOUNT_ATTR_NOATIME, clear: MOUNT_ATTR__ATIME });
  expect(parseMountOptions(["noatime", "relatime"]).attributes).toEqual({ set: 0, clear: MOUNT_ATTR__ATIME });
});

test("recursive forms change everything below", () => {
  const parsed = parseMountOptions(["rro", "rnosymfollow", "relatime"]);
  expect(parsed.recursive).toEqual({ set: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSYMFOLLOW, clear: 0 });
  expect(parsed.attributes.clear).toBe(MOUNT_ATTR__ATIME);
});

test("propagation keeps its order", () => {
  expect(parseMountOptions(["rslave", "shared", "rprivate"]).propagation).toEqual([
    { type: MS_SLAVE, recursive: true },
    { type: MS_SHARED, recursive: false },
    { type: MS_PRIVATE, recursive: true },
  ]);
});

test("crun's idmap with mappings", () => {
  const parsed = parseMountOptions(["idmap=uids=0-1-2;gids=3-4-5"]);
  expect(parsed.idmap).toBe("idmap");
  expect(parsed.idmapMappings).toBe("uids=0-1-2;gids=3-4-5");
});

test.each([
  [["rro", "rw"], MOUNT_ATTR_RDONLY],
  [["rw", "rro"], MOUNT_ATTR_RDONLY],
  [["ro", "rrw"], 0],
  [["rnoatime", "strictatime", "nodev"], MOUNT_ATTR_NOATIME | MOUNT_ATTR_NODEV],
])("%j: what holds for all below holds for the mount", (options, attributes) => {
  expect(wholeAttributes(parseMountOptions(options))).toBe(attributes);
});
