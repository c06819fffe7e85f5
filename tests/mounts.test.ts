import { expect } from "bun:test";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import type { Config, Mount } from "./helpers/config.ts";
import { grant } from "./helpers/config.ts";
import { type Change, mustSucceed, suite } from "./helpers/suite.ts";

const { test, see, refusal, bundle, run, started, exec, mountHere } = suite("mounts");

interface Seen {
  /** Of the mount: `rw,nosuid,relatime`. */
  readonly mount: string;
  /** `shared`, `master`, `unbindable`, or nothing. */
  readonly propagation: string;
  readonly type: string;
  readonly source: string;
  /** Of the file system: `rw,size=64k`. */
  readonly filesystem: string;
}

/** The line of /proc/self/mountinfo for a mount point. */
function mountAt(point: string, change: Change): Seen {
  const lines = see("cat /proc/self/mountinfo", change).split("\n");
  const line = lines.findLast((text) => text.split(" ")[4] === point);
  if (line === undefined) throw new Error(`nothing is mounted on ${point}:\n${lines.join("\n")}`);
  const [before, after] = line.split(" - ") as [string, string];
  const [type, source, filesystem] = after.split(" ") as [string, string, string];
  const propagation = before
    .split(" ")
    .slice(6)
    .map((field) => field.replace(/:\d+/, ""))
    .join(" ");
  return { mount: before.split(" ")[5]!, propagation, type, source, filesystem };
}

const add =
  (...mounts: Mount[]): Change =>
  (config) => {
    config.mounts.push(...mounts);
  };

const tmpfs = (...options: string[]): Change => add({ destination: "/mnt", type: "tmpfs", source: "tmpfs", options });

/** options of a tmpfs → what the mount then has. */
const ATTRIBUTES: readonly (readonly [options: string[], shown: string])[] = [
  [[], "rw,relatime"],
  [["defaults"], "rw,relatime"],
  [["ro"], "ro,relatime"],
  [["ro", "rw"], "rw,relatime"],
  [["rw", "ro"], "ro,relatime"],
  [["nosuid"], "rw,nosuid,relatime"],
  [["nosuid", "suid"], "rw,relatime"],
  [["nodev"], "rw,nodev,relatime"],
  [["nodev", "dev"], "rw,relatime"],
  [["noexec"], "rw,noexec,relatime"],
  [["noexec", "exec"], "rw,relatime"],
  [["noatime"], "rw,noatime"],
  [["noatime", "atime"], "rw,relatime"],
  [["nodiratime"], "rw,nodiratime,relatime"],
  [["nodiratime", "diratime"], "rw,relatime"],
  [["relatime"], "rw,relatime"],
  [["norelatime"], "rw,relatime"],
  [["strictatime"], "rw"],
  [["strictatime", "nostrictatime"], "rw,relatime"],
  [["nosymfollow"], "rw,relatime,nosymfollow"],
  [["nosymfollow", "symfollow"], "rw,relatime"],
  [["silent"], "rw,relatime"],
  [["loud"], "rw,relatime"],
  [["iversion"], "rw,relatime"],
  [["noiversion"], "rw,relatime"],
  [["nomand"], "rw,relatime"],
  [["ro", "nosuid", "nodev", "noexec", "noatime"], "ro,nosuid,nodev,noexec,noatime"],
];

for (const [options, shown] of ATTRIBUTES) {
  test(`tmpfs with ${options.join(",") || "no option"}`, () => {
    const seen = mountAt("/mnt", tmpfs(...options));
    expect(seen.mount).toBe(shown);
    expect(seen.type).toBe("tmpfs");
  });
}

/** options of a tmpfs → what the file system then has. */
const FLAGS: readonly (readonly [options: string[], shown: string])[] = [
  [["sync"], "rw,sync"],
  [["sync", "async"], "rw"],
  [["dirsync"], "rw,dirsync"],
  [["lazytime"], "rw,lazytime"],
  [["lazytime", "nolazytime"], "rw"],
  [["mand"], "rw,mand"],
  [["mand", "nomand"], "rw"],
  [["size=64k"], "rw,size=64k"],
  [["mode=0711"], "rw,mode=711"],
  [["uid=7", "gid=8"], "rw,uid=7,gid=8"],
  [["nr_inodes=77", "size=128k", "mode=700"], "rw,size=128k,nr_inodes=77,mode=700"],
];

for (const [options, shown] of FLAGS) {
  test(`the file system of a tmpfs with ${options.join(",")}`, () => {
    // How wide inode numbers are is for whoever built the kernel to say.
    expect(mountAt("/mnt", tmpfs(...options)).filesystem.replace(/,inode(32|64)$/, "")).toBe(shown);
  });
}

test("a tmpfs takes mode and owner of the directory that it covers", () => {
  const seen = see("stat -c '%a %u:%g' /mnt", (config, at) => {
    chmodSync(`${at.rootfs}/mnt`, 0o1770);
    chownSync(`${at.rootfs}/mnt`, 12, 34);
    tmpfs()(config, at);
  });
  expect(seen.split(" ")[0]).toBe("1770");
});

/** propagation option → what mountinfo shows. */
const PROPAGATION: readonly (readonly [option: string, shown: string])[] = [
  ["private", ""],
  ["rprivate", ""],
  ["shared", "shared"],
  ["rshared", "shared"],
  ["slave", ""],
  ["rslave", ""],
  ["unbindable", "unbindable"],
  ["runbindable", "unbindable"],
];

for (const [option, shown] of PROPAGATION) {
  test(`propagation ${option}`, () => expect(mountAt("/mnt", tmpfs(option)).propagation).toBe(shown));
}

/** A directory of the bundle with one file in it, to bind. */
function volume(at: { readonly dir: string }, name = "volume"): string {
  const dir = `${at.dir}/${name}`;
  mkdirSync(`${dir}/inner`, { recursive: true });
  writeFileSync(`${dir}/file`, "in the volume\n");
  return dir;
}

const bind =
  (...options: string[]): Change =>
  (config, at) => {
    config.mounts.push({ destination: "/mnt", type: "bind", source: volume(at), options });
  };

test("bind: the source's files", () => {
  expect(see("cat /mnt/file; echo from inside > /mnt/new", bind("bind"))).toBe("in the volume");
});

test("bind: writes reach the source", () => {
  const b = bundle((config, at) => {
    bind("bind")(config, at);
    config.process.args = ["/bin/sh", "-c", "echo from inside > /mnt/new"];
  });
  mustSucceed(run(b));
  expect(readFileSync(`${b.dir}/volume/new`, "utf8")).toBe("from inside\n");
});

test("bind without a type: the option says it", () => {
  const seen = see("cat /mnt/file", (config, at) => {
    config.mounts.push({ destination: "/mnt", source: volume(at), options: ["bind"] });
  });
  expect(seen).toBe("in the volume");
});

/** options of a bind → what the mount then has. */
const BOUND: readonly (readonly [options: string[], shown: RegExp])[] = [
  [["bind"], /^rw,relatime$/],
  [["bind", "ro"], /^ro,relatime$/],
  [["rbind", "ro"], /^ro,relatime$/],
  [["bind", "nosuid", "nodev", "noexec"], /^rw,nosuid,nodev,noexec,relatime$/],
  [["bind", "ro", "noatime"], /^ro,noatime$/],
  [["bind", "nodiratime"], /^rw,nodiratime,relatime$/],
  [["bind", "strictatime"], /^rw$/],
  [["bind", "nosymfollow"], /^rw,relatime,nosymfollow$/],
];

for (const [options, shown] of BOUND) {
  test(`bind with ${options.join(",")}`, () => expect(mountAt("/mnt", bind(...options)).mount).toMatch(shown));
}

test("bind ro: writing fails, and the host's own mount stays writable", () => {
  const b = bundle((config, at) => {
    bind("bind", "ro")(config, at);
    config.process.args = ["/bin/sh", "-c", "echo x > /mnt/x"];
  });
  const result = run(b);
  expect(result.status).toBe(1);
  expect(result.stderr).toContain("Read-only file system");
  writeFileSync(`${b.dir}/volume/x`, "");
});

test("bind leaves mounts below the source out, rbind takes them along", () => {
  for (const [option, count] of [
    ["bind", "0"],
    ["rbind", "1"],
  ] as const) {
    const seen = see("ls /mnt/inner | wc -l", (config, at) => {
      nested(at);
      config.mounts.push({ destination: "/mnt", type: "bind", source: `${at.dir}/outer`, options: [option] });
    });
    expect([option, seen]).toEqual([option, count]);
  }
});

/** A tmpfs `outer` in the bundle, with the given flags, and another in it on `inner`, with one file. */
function nested(at: { readonly dir: string }, flags = "rw"): string {
  const outer = `${at.dir}/outer`;
  mkdirSync(outer);
  mountHere("-t", "tmpfs", "-o", flags, "none", outer);
  mkdirSync(`${outer}/inner`);
  mountHere("-t", "tmpfs", "none", `${outer}/inner`);
  writeFileSync(`${outer}/inner/file`, "");
  if (flags !== "rw") mountHere("-o", `remount,bind,${flags}`, `${outer}/inner`);
  return outer;
}

/** The options of the bound tmpfs and of the one in it. */
function nestedMounts(flags: string, ...options: string[]): string[] {
  const lines = see("grep ' /mnt' /proc/self/mountinfo", (config, at) => {
    const outer = nested(at, flags);
    config.mounts.push({ destination: "/mnt", type: "bind", source: outer, options: ["rbind", ...options] });
  }).split("\n");
  const options_ = new Map(lines.map((line) => [line.split(" ")[4], line.split(" ")[5]]));
  return [options_.get("/mnt") ?? "none", options_.get("/mnt/inner") ?? "none"];
}

/** option → what both mounts then have. */
const RECURSIVE: readonly (readonly [option: string, shown: string])[] = [
  ["rro", "ro,relatime"],
  ["rnosuid", "rw,nosuid,relatime"],
  ["rnodev", "rw,nodev,relatime"],
  ["rnoexec", "rw,noexec,relatime"],
  ["rnoatime", "rw,noatime"],
  ["rnodiratime", "rw,nodiratime,relatime"],
  ["rstrictatime", "rw"],
  ["rrelatime", "rw,relatime"],
  ["rnosymfollow", "rw,relatime,nosymfollow"],
];

for (const [option, shown] of RECURSIVE) {
  test(`${option} holds for the mounts below too`, () => {
    expect(nestedMounts("rw", option)).toEqual([shown, shown]);
  });
}

/** flags of both sources, option that takes them back → what both mounts then have. */
const RECURSIVE_BACK: readonly (readonly [flags: string, option: string, shown: string])[] = [
  ["nosuid", "rsuid", "rw,relatime"],
  ["nodev", "rdev", "rw,relatime"],
  ["noexec", "rexec", "rw,relatime"],
  ["noatime", "ratime", "rw,relatime"],
  ["nodiratime", "rdiratime", "rw,relatime"],
  ["strictatime", "rnostrictatime", "rw,relatime"],
  ["nosymfollow", "rsymfollow", "rw,relatime"],
];

for (const [flags, option, shown] of RECURSIVE_BACK) {
  test(`${option} takes ${flags} from the mounts below too`, () => {
    expect(nestedMounts(flags, option)).toEqual([shown, shown]);
  });
}

test("rrw takes ro from the mount below", () => {
  const lines = see("grep ' /mnt/inner' /proc/self/mountinfo", (config, at) => {
    const outer = nested(at);
    mountHere("-o", "remount,bind,ro", `${outer}/inner`);
    config.mounts.push({ destination: "/mnt", type: "bind", source: outer, options: ["rbind", "rrw"] });
  });
  expect(lines.split(" ")[5]).toBe("rw,relatime");
});

test("ro alone leaves the mount below writable", () => {
  expect(nestedMounts("rw", "ro")).toEqual(["ro,relatime", "rw,relatime"]);
});

test("rro holds for the mount itself, whatever rw says", () => {
  expect(nestedMounts("rw", "rro", "rw")).toEqual(["ro,relatime", "ro,relatime"]);
  expect(nestedMounts("rw", "rw", "rro")).toEqual(["ro,relatime", "ro,relatime"]);
});

for (const option of ["rasync", "rsync", "rdirsync", "rmand", "rnomand", "rnorelatime"]) {
  test(`${option} is taken`, () => expect(see("ls /mnt/inner", bind("rbind", option))).toBe(""));
}

test("slave: a mount that the host makes later appears inside", () => {
  const b = started((config, at) => {
    const dir = `${at.dir}/shared`;
    mkdirSync(dir);
    mountHere("-t", "tmpfs", "none", dir);
    mountHere("--make-shared", dir);
    mkdirSync(`${dir}/later`);
    config.mounts.push({ destination: "/mnt", type: "bind", source: dir, options: ["rbind", "rslave"] });
  });
  expect(mustSucceed(exec(b, ["/bin/ls", "/mnt/later"])).stdout).toBe("");
  mountHere("-t", "tmpfs", "none", `${b.dir}/shared/later`);
  writeFileSync(`${b.dir}/shared/later/file`, "");
  expect(mustSucceed(exec(b, ["/bin/ls", "/mnt/later"])).stdout).toBe("file\n");
});

test("private: a mount that the host makes later does not appear inside", () => {
  const b = started((config, at) => {
    const dir = `${at.dir}/shared`;
    mkdirSync(dir);
    mountHere("-t", "tmpfs", "none", dir);
    mountHere("--make-shared", dir);
    mkdirSync(`${dir}/later`);
    config.mounts.push({ destination: "/mnt", type: "bind", source: dir, options: ["rbind", "rprivate"] });
  });
  mountHere("-t", "tmpfs", "none", `${b.dir}/shared/later`);
  writeFileSync(`${b.dir}/shared/later/file`, "");
  expect(mustSucceed(exec(b, ["/bin/ls", "/mnt/later"])).stdout).toBe("");
});

test("a file is bound on a file that is made for it", () => {
  const b = bundle((config, at) => {
    writeFileSync(`${at.dir}/one`, "one file\n");
    config.mounts.push({ destination: "/etc/deep/er/one", type: "bind", source: `${at.dir}/one`, options: ["bind"] });
    config.process.args = ["/bin/cat", "/etc/deep/er/one"];
  });
  expect(mustSucceed(run(b)).stdout).toBe("one file\n");
  expect(readFileSync(`${b.rootfs}/etc/deep/er/one`, "utf8")).toBe("");
});

test("a file is bound over a file", () => {
  const seen = see("cat /etc/passwd", (config, at) => {
    writeFileSync(`${at.dir}/one`, "covers\n");
    config.mounts.push({ destination: "/etc/passwd", type: "bind", source: `${at.dir}/one`, options: ["bind", "ro"] });
  });
  expect(seen).toBe("covers");
});

test("a relative source is relative to the bundle", () => {
  const seen = see("cat /mnt/file", (config, at) => {
    volume(at);
    config.mounts.push({ destination: "/mnt", type: "bind", source: "volume", options: ["bind"] });
  });
  expect(seen).toBe("in the volume");
});

test("a relative destination is relative to the root", () => {
  expect(mountAt("/mnt/here", add({ destination: "mnt/here", type: "tmpfs", source: "x" })).source).toBe("x");
});

test("directories on the way to a destination are made", () => {
  expect(mountAt("/a/b/c", add({ destination: "/a/b/c", type: "tmpfs", source: "x" })).type).toBe("tmpfs");
});

test("a later mount covers an earlier one", () => {
  const change = add(
    { destination: "/mnt", type: "tmpfs", source: "first" },
    { destination: "/mnt", type: "tmpfs", source: "second" },
    { destination: "/mnt/in", type: "tmpfs", source: "third" },
  );
  expect(mountAt("/mnt", change).source).toBe("second");
  expect(mountAt("/mnt/in", change).source).toBe("third");
});

test("an absolute symlink on the way to a destination stays inside", () => {
  const seen = see("cat /tmp/real/inside; ls /link/", (config, at) => {
    mkdirSync(`${at.rootfs}/tmp/real`);
    symlinkSync("/tmp/real", `${at.rootfs}/link`);
    writeFileSync(`${at.dir}/one`, "inside\n");
    config.mounts.push({ destination: "/link/inside", type: "bind", source: `${at.dir}/one`, options: ["bind"] });
  });
  expect(seen.split("\n")).toEqual(["inside", "inside"]);
});

test("a symlink that climbs stays inside", () => {
  const b = bundle((config, at) => {
    symlinkSync(`../../../../../../..${at.dir}/outside`, `${at.rootfs}/link`);
    mkdirSync(`${at.dir}/outside`);
    config.mounts.push({ destination: "/link/made", type: "tmpfs", source: "x" });
    config.process.args = ["/bin/grep", "-c", "/made tmpfs\\|/made rw", "/proc/self/mountinfo"];
  });
  run(b);
  expect(existsSync(`${b.dir}/outside/made`)).toBe(false);
});

test("a destination with .. in it stays inside", () => {
  const b = bundle((config) => {
    config.mounts.push({ destination: "/../../../../escaped-from-a-test", type: "tmpfs", source: "x" });
    config.process.args = ["/bin/ls", "-d", "/escaped-from-a-test"];
  });
  run(b);
  expect(existsSync("/escaped-from-a-test")).toBe(false);
});

test("/proc may not be a symlink", () => {
  expect(refusal((_config, at) => swapForLink(at.rootfs, "proc"))).not.toBe("");
});

test("/sys may not be a symlink when sysfs is mounted on it", () => {
  const stderr = refusal((config, at) => {
    swapForLink(at.rootfs, "sys");
    config.mounts.push({ destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro"] });
  });
  expect(stderr).not.toBe("");
});

function swapForLink(rootfs: string, name: string): void {
  Bun.spawnSync(["rmdir", `${rootfs}/${name}`]);
  symlinkSync("/tmp", `${rootfs}/${name}`);
}

test("something else on /proc is refused", () => {
  const stderr = refusal((config) => {
    config.mounts = config.mounts.filter((mount) => mount.destination !== "/proc");
    config.mounts.push({ destination: "/proc", type: "tmpfs", source: "tmpfs" });
  });
  expect(stderr).toMatch(/\/proc/);
});

test("tmpcopyup: what was in the directory is in the tmpfs, with owners, modes and links", () => {
  const b = bundle((config, at) => {
    mkdirSync(`${at.rootfs}/data/sub`, { recursive: true });
    writeFileSync(`${at.rootfs}/data/sub/file`, "copied\n");
    chmodSync(`${at.rootfs}/data/sub/file`, 0o640);
    chownSync(`${at.rootfs}/data/sub/file`, 12, 34);
    symlinkSync("sub/file", `${at.rootfs}/data/link`);
    config.mounts.push({ destination: "/data", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup"] });
    grant(config, "CAP_DAC_OVERRIDE");
    config.process.args = [
      "/bin/sh",
      "-c",
      "cat /data/link; stat -c '%a %u:%g' /data/sub/file; readlink /data/link; echo no > /data/sub/file",
    ];
  });
  expect(mustSucceed(run(b)).stdout.split("\n")).toEqual(["copied", "640 12:34", "sub/file", ""]);
  expect(readFileSync(`${b.rootfs}/data/sub/file`, "utf8")).toBe("copied\n");
});

test("tmpcopyup: mode= and uid= are those of the tmpfs, not of the directory that it hides", () => {
  const seen = see("stat -c %a /data /data/file; stat -c %u /data; stat -c '%a' /other", (config, { rootfs }) => {
    for (const name of ["data", "other"]) mkdirSync(`${rootfs}/${name}`, { mode: 0o711 });
    writeFileSync(`${rootfs}/data/file`, "", { mode: 0o604 });
    const tmpfs = { type: "tmpfs", source: "tmpfs" };
    grant(config, "CAP_DAC_OVERRIDE");
    config.mounts.push({ ...tmpfs, destination: "/data", options: ["tmpcopyup", "mode=700", "uid=77"] });
    config.mounts.push({ ...tmpfs, destination: "/other", options: ["tmpcopyup"] });
  });
  expect(seen.split("\n")).toEqual(["700", "604", "77", "711"]);
});

test("mqueue, shm and sysfs", () => {
  const lines = see("awk '$5 ~ \"^/(dev/|sys)\"' /proc/self/mountinfo; touch /dev/shm/x; ls /dev/mqueue", (config) => {
    config.mounts.push(
      {
        destination: "/dev/shm",
        type: "tmpfs",
        source: "shm",
        options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
      },
      { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
      { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
    );
  }).split("\n");
  const shown = lines.map(
    (line) => `${line.split(" ")[4]} ${line.split(" ")[5]} ${line.split(" - ")[1]?.split(" ")[0]}`,
  );
  expect(shown).toEqual([
    "/dev/pts rw,nosuid,noexec,relatime devpts",
    "/dev/shm rw,nosuid,nodev,noexec,relatime tmpfs",
    "/dev/mqueue rw,nosuid,nodev,noexec,relatime mqueue",
    "/sys ro,nosuid,nodev,noexec,relatime sysfs",
  ]);
});

test("proc ro, and proc with options of its own", () => {
  const change: Change = (config) => {
    config.mounts[0] = { destination: "/proc", type: "proc", source: "proc", options: ["ro", "nosuid", "hidepid=2"] };
  };
  const seen = mountAt("/proc", change);
  expect(seen.mount).toBe("ro,nosuid,relatime");
  expect(seen.filesystem).toMatch(/^r[ow],hidepid=(2|invisible)$/);
});

test("an overlay", () => {
  const seen = see("cat /mnt/file; echo x > /mnt/new; ls /mnt", (config, at) => {
    const lower = volume(at);
    for (const name of ["upper", "work"]) mkdirSync(`${at.dir}/${name}`);
    const options = [`lowerdir=${lower}`, `upperdir=${at.dir}/upper`, `workdir=${at.dir}/work`];
    config.mounts.push({ destination: "/mnt", type: "overlay", source: "overlay", options });
  });
  expect(seen.split("\n")).toEqual(["in the volume", "file", "inner", "new"]);
});

test("the mount points' directories stay in the bundle, the mounts do not", () => {
  const b = bundle(tmpfs());
  mustSucceed(run(b));
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(b.id);
});

test("a source that does not exist is refused by name", () => {
  const stderr = refusal(add({ destination: "/mnt", type: "bind", source: "/no/such/source", options: ["bind"] }));
  expect(stderr).toContain("/no/such/source");
  expect(stderr).toContain("no such file or directory");
});

test("a directory on a file is refused by name", () => {
  const stderr = refusal((config, at) => {
    config.mounts.push({ destination: "/etc/passwd", type: "bind", source: volume(at), options: ["bind"] });
  });
  expect(stderr).toContain("/etc/passwd");
  expect(stderr).toContain("not a directory");
});

test("an unknown file system is refused by name", () => {
  const stderr = refusal(add({ destination: "/mnt", type: "nosuchfs", source: "x" }));
  expect(stderr).toContain("nosuchfs");
  expect(stderr).toContain("no such device");
});

test("a wrong value is refused with the kernel's explanation", () => {
  const stderr = refusal(tmpfs("size=nonsense"));
  expect(stderr).toMatch(/Bad value for 'size'/);
  expect(stderr).toContain("mounts[3]");
});

test("an unknown option is refused with the kernel's explanation", () => {
  const stderr = refusal(tmpfs("colour=blue"));
  expect(stderr).toMatch(/Unknown parameter 'colour'/);
  expect(stderr).toContain("mounts[3]");
});

test("the empty option is nothing", () => {
  expect(mountAt("/mnt", tmpfs("", "ro")).mount).toBe("ro,relatime");
});

const SYMLINK_OPTIONS: readonly (readonly [
  title: string,
  mount: (dir: string) => Mount,
  script: string,
  seen: string,
])[] = [
  [
    "copy-symlink: the source, a symlink, is made anew inside",
    (dir) => ({ destination: "/mnt/link", type: "bind", source: `${dir}/link`, options: ["bind", "copy-symlink"] }),
    "readlink /mnt/link",
    "where/to",
  ],
  [
    "src-nofollow: the source, a symlink, is bound itself",
    (dir) => ({ destination: "/mnt/link", type: "bind", source: `${dir}/link`, options: ["bind", "src-nofollow"] }),
    "grep -c ' /mnt/link ' /proc/self/mountinfo",
    "1",
  ],
];

for (const [title, mount, script, seen] of SYMLINK_OPTIONS) {
  test(title, () => {
    const shown = see(script, (config, at) => {
      symlinkSync("where/to", `${at.dir}/link`);
      config.mounts.push(mount(at.dir));
    });
    expect(shown).toBe(seen);
  });
}

test("dest-nofollow: the symlink is covered, not what it points to", () => {
  const seen = see("cat /link; grep -c root /etc/passwd", (config: Config, at) => {
    writeFileSync(`${at.dir}/one`, "covers\n");
    symlinkSync("/etc/passwd", `${at.rootfs}/link`);
    config.mounts.push({
      destination: "/link",
      type: "bind",
      source: `${at.dir}/one`,
      options: ["bind", "dest-nofollow"],
    });
  });
  expect(seen.split("\n")).toEqual(["covers", "1"]);
});

test("remount: an earlier mount gets other attributes", () => {
  const seen = mountAt("/mnt", (config, at) => {
    tmpfs("nosuid")(config, at);
    config.mounts.push({ destination: "/mnt", type: "tmpfs", source: "tmpfs", options: ["remount", "ro", "nosuid"] });
  });
  expect(seen.mount).toBe("ro,nosuid,relatime");
});

test("what CAP_SYS_ADMIN mounts inside stays inside", () => {
  const b = bundle((config) => {
    grant(config, "CAP_SYS_ADMIN");
    config.process.args = ["/bin/mount", "-t", "tmpfs", "x", "/mnt"];
  });
  mustSucceed(run(b));
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(b.id);
});
