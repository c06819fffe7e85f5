import { rmSync, symlinkSync } from "node:fs";

/** From the root file system up to the host's "/", and then some. */
const UP = "../".repeat(20).slice(0, -1);

/** Puts a symlink in the place of `name` in a root file system that leads to `target`, a path of the host, outside. */
export type Link = (rootfs: string, name: string, target: string) => void;

function replace(rootfs: string, name: string, target: string): void {
  rmSync(`${rootfs}/${name}`, { recursive: true, force: true });
  symlinkSync(target, `${rootfs}/${name}`);
}

/** The ways that an image has to lead a runtime astray. */
export const LINKS: Readonly<Record<string, Link>> = {
  absolute: replace,
  "relative, with as many .. as it takes": (rootfs, name, target) => replace(rootfs, name, `${UP}${target}`),
  "a chain": (rootfs, name, target) => {
    replace(rootfs, name, `${"../".repeat(name.split("/").length - 1)}mnt/second`);
    replace(rootfs, "mnt/second", "../home/third");
    replace(rootfs, "home/third", `${UP}${target}`);
  },
  "by way of the runtime's own root": (rootfs, name, target) => replace(rootfs, name, `/proc/self/root${target}`),
};
