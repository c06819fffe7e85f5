import { expect, test } from "bun:test";
import type { Mount } from "../spec/types.ts";
import { planMounts } from "./mounts.ts";
import { printProgram, testContext } from "./test-printer.ts";

function plan(mounts: Mount[], facts = {}, linux = {}) {
  const context = testContext({ mounts, linux: { namespaces: [{ type: "mount" }], ...linux } }, facts);
  planMounts(context);
  return context;
}

function calls(mounts: Mount[], facts = {}, linux = {}): string[] {
  return printProgram(plan(mounts, facts, linux).build);
}

const userNamespace = { namespaces: [{ type: "mount" }, { type: "user" }] };

test("procfs on a directory that is reached without any symlink", () => {
  expect(calls([{ destination: "/proc", type: "proc", source: "proc" }])).toEqual([
    '$destination /proc = openat2($rootfs, "proc", {0x290000, 0, 0xe}, 0x18) ? ENOENT →1 ok→3',
    'mkdirat($rootfs, "proc", 0x1ed) ? EEXIST',
    '$destination /proc = openat2($rootfs, "proc", {0x2b0000, 0, 0xe}, 0x18) ok→3',
    '$context of proc = fsopen("proc", 1)',
    'fsconfig($context of proc, 1, "source", "proc", 0)',
    "fsconfig($context of proc, 6, 0, 0, 0)",
    "$mount of proc = fsmount($context of proc, 1, 0)",
    "close($context of proc)",
    'move_mount($mount of proc, "", $destination /proc, "", 0x44)',
    "close($destination /proc)",
  ]);
});

test("missing directories are made one by one, each in its parent", () => {
  const made = calls([{ destination: "/a/b/c", type: "ramfs" }]).filter((line) => line.includes("mkdirat"));
  expect(made).toEqual([
    'mkdirat($rootfs, "a", 0x1ed) ? EEXIST',
    'mkdirat($directory a, "b", 0x1ed) ? EEXIST',
    'mkdirat($directory a/b, "c", 0x1ed) ? EEXIST',
  ]);
});

test("attributes of a new mount, and options for the file system", () => {
  const lines = calls([
    { destination: "/x", type: "ext4", source: "/dev/x", options: ["ro", "nosuid", "sync", "data=ordered", "acl"] },
  ]);
  expect(lines).toContain('fsconfig($context of ext4, 1, "data", "ordered", 0)');
  expect(lines).toContain('fsconfig($context of ext4, 0, "ro", 0, 0)');
  expect(lines).toContain('fsconfig($context of ext4, 0, "sync", 0, 0)');
  expect(lines).toContain('fsconfig($context of ext4, 0, "acl", 0, 0)');
  expect(lines).toContain("$mount of ext4 = fsmount($context of ext4, 1, 3)");
});

test("a read-only tmpfs becomes so in `enter`, when everything in it has been made", () => {
  const context = plan([{ destination: "/run", type: "tmpfs", options: ["ro", "mode=755"] }]);
  expect(printProgram(context.build)).toContain("$mount of tmpfs = fsmount($context of tmpfs, 1, 0)");
  expect(printProgram(context.enter)).toEqual([
    'mount_setattr($mount of tmpfs, "", 0x1000, {1, 0, 0, 0}, 0x20)',
    "close($mount of tmpfs)",
  ]);
});

test("a tmpfs without mode= takes that of the directory it hides, if there is one", () => {
  const lines = calls([{ destination: "/tmp", type: "tmpfs" }]);
  expect(lines[0]).toBe('$hidden /tmp = openat2($rootfs, "tmp", {0x280000, 0, 0x12}, 0x18) ? ENOENT');
  expect(lines[1]).toBe('newfstatat($hidden /tmp, "", &$stat of /tmp, word 0, 0x1000) ? EBADF');
  const chmod = lines.indexOf('fchmodat($mount of tmpfs, ".", $stat of /tmp, word 3)');
  expect(lines[chmod - 1]).toBe(`close($hidden /tmp) ? EBADF →${chmod + 1}`);
  expect(calls([{ destination: "/tmp", type: "tmpfs", options: ["mode=700"] }]).join()).not.toContain("fchmodat");
});

test("tmpcopyup leaves both directories open for the copy", () => {
  const { copies, build } = plan([{ destination: "/etc", type: "tmpfs", options: ["tmpcopyup", "mode=755"] }]);
  expect(copies[0]!.asked).toEqual(["mode"]);
  expect(copies.map(({ from, to, destination }) => [from.name, to.name, destination])).toEqual([
    ["destination /etc", "copy of /etc", "/etc"],
  ]);
  expect(printProgram(build)).toContain('$copy of /etc = open_tree($mount of tmpfs, "", 0x81001)');
  expect(printProgram(build)).not.toContain("close($destination /etc)");
  expect(() => plan([{ destination: "/x", type: "ramfs", options: ["tmpcopyup"] }])).toThrow("tmpcopyup is for tmpfs");
});

test("a bind mount is changed while it is detached, and takes a file or a directory", () => {
  const lines = calls([
    { destination: "/etc/hosts", type: "bind", source: "hosts", options: ["rbind", "ro", "rprivate"] },
  ]);
  expect(lines.slice(0, 3)).toEqual([
    '$source /bundle/hosts = open_tree(-100, "/bundle/hosts", 0x88001)',
    'mount_setattr($source /bundle/hosts, "", 0x1000, {1, 0, 0, 0}, 0x20)',
    'mount_setattr($source /bundle/hosts, "", 0x9000, {0, 0, 0x40000, 0}, 0x20)',
  ]);
  const kind = lines.findIndex((line) => line.startsWith("faccessat2"));
  const file = lines.findIndex((line) => line.startsWith("mknodat($directory etc"));
  expect(lines[kind]).toBe(`faccessat2($source /bundle/hosts, ".", 0, 0) ? ENOTDIR →${file}`);
  expect(lines.at(-3)).toBe('move_mount($source /bundle/hosts, "", $destination /etc/hosts, "", 0x44)');
});

test("for a user namespace tsrun opens the source, and says whether it is a directory", () => {
  const { prepare, build } = plan([{ destination: "/x", source: "/src", options: ["bind"] }], {}, userNamespace);
  expect(printProgram(prepare)).toEqual([
    '$source /src = open_tree(-100, "/src", 1)',
    '$/src is a directory = faccessat2($source /src, ".", 0, 0) ? ENOTDIR',
    'mount_setattr($source /src, "", 0x9000, {0, 0, 0x80000, 0}, 0x20)',
  ]);
  expect(printProgram(build)[1]).toStartWith("close_range(0xffffffff, 0xffffffff, $/src is a directory) ? EINVAL");
});

test("locked attributes that cannot be cleared stay", () => {
  const mounts = [{ destination: "/x", source: "/s", options: ["bind", "rw", "exec", "nosuid"] }];
  expect(calls(mounts, { canMount: false }, userNamespace).slice(1, 5)).toEqual([
    'mount_setattr($source /s, "", 0x1000, {2, 9, 0, 0}, 0x20) ? EPERM →2 0→5',
    'mount_setattr($source /s, "", 0x1000, {0, 1, 0, 0}, 0x20) ? EPERM',
    'mount_setattr($source /s, "", 0x1000, {0, 8, 0, 0}, 0x20) ? EPERM',
    'mount_setattr($source /s, "", 0x1000, {2, 0, 0, 0}, 0x20)',
  ]);
});

test("idmapped by the container's user namespace", () => {
  const context = plan([{ destination: "/x", source: "/s", options: ["rbind", "ridmap"] }], {}, userNamespace);
  expect(printProgram(context.attach)).toEqual([
    '$the container\'s user namespace = openat(-100, "/proc/" $init "/ns/user", 0x80000, 0)',
    'mount_setattr($source /s, "", 0x9000, {0x100000, 0, 0, $the container\'s user namespace}, 0x20)',
    "close($the container's user namespace)",
  ]);
});

test("idmapped by mappings of its own: equal ones share a namespace", () => {
  const ids = [{ containerID: 0, hostID: 1000, size: 10 }];
  const context = plan([
    { destination: "/x", source: "/s", options: ["bind"], uidMappings: ids, gidMappings: ids },
    { destination: "/y", source: "/s", options: ["bind", "idmap=uids=0-1000-10;gids=0-1000-10"] },
  ]);
  expect(context.idmapNamespaces.length).toBe(1);
  expect(context.idmapNamespaces[0]!.uidMappings).toEqual(ids);
  expect(context.attach.steps.length).toBe(2);
});

test("what cannot be idmapped is refused", () => {
  const ids = [{ containerID: 0, hostID: 1000, size: 10 }];
  const bind = { destination: "/x", source: "/s", options: ["bind"] };
  expect(() => plan([{ destination: "/x", type: "tmpfs", options: ["idmap"] }])).toThrow("only bind mounts");
  expect(() => plan([{ ...bind, uidMappings: ids }])).toThrow("both uidMappings and gidMappings are needed");
  expect(() => plan([{ ...bind, options: ["bind", "idmap"] }])).toThrow("user namespace");
  expect(() => plan([{ ...bind, options: ["bind", "idmap=uids=0-1x-2"] }])).toThrow('range "0-1x-2"');
  expect(() => plan([{ ...bind, options: ["bind", "idmap"] }], { canMount: false })).toThrow("CAP_SYS_ADMIN");
});

test("an overlay with more layers than fsconfig takes is mounted by mount(2) on the directory it resolved", () => {
  const lower = `lowerdir=${"/l:".repeat(100)}`;
  const lines = calls([{ destination: "/x", type: "overlay", source: "overlay", options: ["ro", lower, "iversion"] }]);
  const at = lines.indexOf("fchdir($destination /x)");
  expect(lines[at + 1]).toBe(`mount("overlay", ".", "overlay", 0x800001, "${lower}")`);
  expect(lines[at + 2]).toBe("fchdir($working directory)");
  expect(lines.join()).not.toContain("fsopen");
});

test("flags that only mount(2) has are nothing to a tmpfs, which keeps its mode, its copies and its delay", () => {
  const plain = ["ro", "tmpcopyup"];
  const mount = { destination: "/x", type: "tmpfs", source: "tmpfs" };
  expect(calls([{ ...mount, options: [...plain, "silent", "iversion"] }])).toEqual(
    calls([{ ...mount, options: plain }]),
  );
});

test("remount changes what is there", () => {
  expect(calls([{ destination: "/x", type: "tmpfs", options: ["remount", "ro", "size=1m"] }])).toEqual([
    '$remount /x = openat2($rootfs, "x", {0x280000, 0, 0x12}, 0x18)',
    '$context of /x = fspick($remount /x, "", 9)',
    'fsconfig($context of /x, 1, "size", "1m", 0)',
    "fsconfig($context of /x, 7, 0, 0, 0)",
    "close($context of /x)",
    'mount_setattr($remount /x, "", 0x1000, {1, 0, 0, 0}, 0x20)',
    "close($remount /x)",
  ]);
});

test("copy-symlink makes the symlink again, or binds what is none", () => {
  const lines = calls([{ destination: "/l", source: "/s", options: ["bind", "copy-symlink"] }]);
  expect(lines.slice(0, 4)).toEqual([
    'readlinkat(-100, "/s", space, 0xfff) ? EINVAL →3',
    'symlinkat(space, $rootfs, "l") ? EEXIST',
    `close_range(0xffffffff, 0xffffffff, 0) ? EINVAL →${lines.length} 0→${lines.length}`,
    '$source /s = open_tree(-100, "/s", 0x80101)',
  ]);
});

test("a destination behind a symlink that leads nowhere is made where it leads", () => {
  const mounts = [{ destination: "/etc/resolv.conf", source: "/s", options: ["bind"] }];
  const context = testContext({ mounts });
  planMounts({ ...context, resolvedDestinations: new Map([["/etc/resolv.conf", "/run/systemd/x"]]) });
  const lines = printProgram(context.build);
  expect(lines[1]).toStartWith('$destination /etc/resolv.conf = openat2($rootfs, "etc/resolv.conf", ');
  expect(lines.some((line) => line.startsWith('mknodat($directory run/systemd, "x", 0x81ed, 0)'))).toBe(true);
});

test("src-nofollow and dest-nofollow", () => {
  const lines = calls([{ destination: "/l", source: "/s", options: ["bind", "src-nofollow", "dest-nofollow"] }]);
  expect(lines[0]).toContain("0x80101");
  expect(lines[1]).toStartWith('$destination /l = openat2($rootfs, "l", {0x2a0000,');
});

test("no volume in place of or inside procfs", () => {
  const volume = { type: "bind", source: "/v", options: ["bind"] };
  expect(() => plan([{ ...volume, destination: "/proc" }])).toThrow("not of type proc (mounts[0])");
  expect(() => plan([{ ...volume, destination: "/proc/sys" }])).toThrow("inside /proc");
  expect(() => plan([{ ...volume, destination: "/x/../proc/./1" }])).toThrow("inside /proc");
  expect(() => plan([{ ...volume, destination: "/" }])).toThrow("root.path");
  expect(() => plan([{ ...volume, destination: "/proc", source: "/proc" }])).not.toThrow();
  expect(() => plan([{ ...volume, destination: "/proc/cpuinfo" }])).not.toThrow();
});

test("a relative destination is taken from the root, with a warning", () => {
  const { warnings } = plan([{ destination: "x/y", type: "tmpfs" }]);
  expect(warnings).toEqual(['mount destination "x/y" is not absolute, "/x/y" is meant (mounts[0].destination)']);
});

test("without a mount namespace what was mounted is remembered, in order", () => {
  const { hostMounts } = plan(
    [
      { destination: "/a", type: "tmpfs" },
      { destination: "/a/b", type: "tmpfs" },
    ],
    {},
    { namespaces: [] },
  );
  expect(hostMounts).toEqual(["/bundle/rootfs/a", "/bundle/rootfs/a/b"]);
});
