import { chmodSync, copyFileSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";

const BUSYBOX = "/bin/busybox";

/** A static busybox and the names of its applets: all that a root file system of these tests is made of. */
export interface Template {
  readonly busybox: string;
  readonly applets: readonly string[];
}

/** Copies the distribution's static busybox into `dir`; the root file systems are hard links to the copy. */
export function rootfsTemplate(dir: string): Template {
  const busybox = `${dir}/busybox`;
  copyFileSync(BUSYBOX, busybox);
  chmodSync(busybox, 0o755);
  const list = Bun.spawnSync({ cmd: [busybox, "--list"], stdout: "pipe" });
  if (!list.success) throw new Error(`cannot list the applets of ${BUSYBOX}: install busybox-static`);
  const applets = list.stdout.toString().trim().split("\n");
  return { busybox, applets: applets.filter((name) => name !== "busybox" && !name.includes("/")) };
}

/** A new root file system in `dir`, which must not exist: some milliseconds, 30 kB. */
export function makeRootfs(template: Template, dir: string): void {
  for (const folder of ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "home/someone", "mnt"]) {
    mkdirSync(`${dir}/${folder}`, { recursive: true, mode: 0o755 });
  }
  chmodSync(`${dir}/tmp`, 0o1777);
  linkSync(template.busybox, `${dir}/bin/busybox`);
  for (const applet of template.applets) linkSync(template.busybox, `${dir}/bin/${applet}`);
  symlinkSync("bin", `${dir}/sbin`);
  writeFileSync(`${dir}/etc/passwd`, "root:x:0:0:root:/root:/bin/sh\nsomeone:x:1000:1000::/home/someone:/bin/sh\n");
  writeFileSync(`${dir}/etc/group`, "root:x:0:\nsomeone:x:1000:\nstaff:x:50:someone\n");
}
