import { expect, test } from "bun:test";
import type { MountLine } from "../host/parse-mountinfo.ts";
import type { RootPart } from "../plan/overlay-root.ts";
import { type HostTree, type Look, openDirectories, splitParts, wholeParts } from "./try-root.ts";

const directory: Look = { type: "directory", mode: 0o755, uid: 0, gid: 0 };

/** A machine with these directories; `name -> target` is a symlink, `=name` a file. */
function machine(paths: readonly string[], mounts: readonly (readonly [string, string, string?])[]): HostTree {
  const looks = new Map<string, Look>([["/", directory]]);
  for (const path of paths) {
    const [name = "", target] = path.split(" -> ");
    if (target !== undefined) looks.set(name, { type: "symlink", target });
    else if (path.startsWith("=")) looks.set(path.slice(1), { type: "file" });
    else looks.set(path, directory);
  }
  const parentOf = (path: string) => path.slice(0, path.lastIndexOf("/")) || "/";
  return {
    mounts: mounts.map(([point, type, options = "rw"]): MountLine => ({ point, type, options: options.split(",") })),
    look: (path) => looks.get(path),
    list: (path) =>
      [...looks.keys()]
        .filter((each) => each !== "/" && parentOf(each) === path)
        .map((each) => each.slice(each.lastIndexOf("/") + 1)),
  };
}

const show = (parts: readonly RootPart[]) => parts.map(({ kind, path }) => `${kind} ${path}`);

const ROOT = ["/", "ext4"] as const;

test("one file system: one overlay", () => {
  expect(show(wholeParts(machine(["/etc", "/proc"], [ROOT, ["/proc", "proc"], ["/run/user", "tmpfs"]])))).toEqual([
    "overlay /",
  ]);
});

test("each file system that can be a layer gets one, with the directories that lead to it", () => {
  const paths = ["/home", "/var", "/var/lib", "/var/lib/data", "/boot", "/boot/efi", "=/etc/resolv.conf", "/mnt"];
  const mounts = [
    ROOT,
    ["/var/lib/data", "xfs", "rw,nosuid"],
    ["/home", "ext4"],
    ["/boot/efi", "vfat"],
    ["/etc/resolv.conf", "ext4"],
    ["/mnt", "fuse.sshfs"],
    ["/mnt/below", "ext4"],
    ["/gone", "ext4"],
    ["/var/lib/docker/merged", "overlay"],
  ] as const;
  const parts = wholeParts(machine([...paths, "/mnt/below", "/var/lib/docker/merged"], mounts));
  expect(show(parts)).toEqual([
    "overlay /",
    "bind /boot/efi",
    "bind /etc/resolv.conf",
    "overlay /home",
    "bind /mnt",
    "directory /var",
    "directory /var/lib",
    "overlay /var/lib/data",
  ]);
  expect(parts.at(-1)).toMatchObject({ attributes: 0x2 | 0x4 });
});

test("in a user namespace: no overlay over a directory with mounts below it", () => {
  const paths = ["/bin -> usr/bin", "/usr", "/etc", "=/etc/hosts", "/etc/apt", "/proc", "/tmp", "/efi", "=/swap"];
  const mounts = [ROOT, ["/etc/hosts", "ext4"], ["/proc", "proc"], ["/efi", "vfat"], ["/tmp", "tmpfs"]] as const;
  const parts = splitParts(machine(paths, mounts), []);
  expect(show(parts)).toEqual([
    "directory /",
    "symlink /bin",
    "bind /efi",
    "directory /etc",
    "overlay /etc/apt",
    "bind /etc/hosts",
    "directory /proc",
    "bind /swap",
    "directory /tmp",
    "overlay /usr",
  ]);
});

test("in a user namespace: the way to where the caller works is open, as far as it is on an overlay", () => {
  const paths = ["/home", "/home/me", "/home/me/src", "/usr", "/usr/local", "/usr/local/bin", "/usr/local/share"];
  const tree = machine(
    [...paths, "/usr/local/share/man", "/tmp", "/tmp/here", "/efi", "/efi/in"],
    [ROOT, ["/efi", "vfat"]],
  );
  const open = openDirectories(tree, ["/home/me/src", "/tmp/here", "/efi/in", "/no/such", undefined, "/"]);
  expect(show(splitParts(tree, open)).filter((part) => part.startsWith("directory"))).toEqual([
    "directory /",
    "directory /home/me",
    "directory /home/me/src",
    "directory /tmp",
    "directory /usr/local",
    "directory /usr/local/bin",
    "directory /usr/local/share",
    "directory /usr/local/share/man",
  ]);
});
