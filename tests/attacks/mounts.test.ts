import { writeFileSync } from "node:fs";
import type { RunOptions } from "../helpers/suite.ts";
import { attacks, mustBe } from "./helpers/attack.ts";
import { type Canary, canary } from "./helpers/canary.ts";
import { LINKS, type Link } from "./helpers/links.ts";

const { attack, weakened, bundle, run, home } = attacks("attack-mounts");

let number = 0;

function newCanary(): Canary {
  return canary(`${home}/canary-${++number}`, { file: "somebody's file\n", "etc/": "", "data/": "" });
}

/** What is made or changed outside when mounts have symlinks of the image on their way: a directory, a new one, a new file. */
function attemptDestinations(link: Link, options: RunOptions = {}): string[] {
  const host = newCanary();
  const b = bundle((config, at) => {
    link(at.rootfs, "x", host.dir);
    writeFileSync(`${at.dir}/file`, "of the volume\n");
    const source = `${at.dir}/file`;
    config.mounts.push(
      { destination: "/x/data", type: "tmpfs", source: "tmpfs" },
      { destination: "/x/made/deep", type: "tmpfs", source: "tmpfs" },
      { destination: "/x/new/file", type: "bind", source, options: ["bind"] },
      { destination: "/x/file", type: "bind", source, options: ["bind"] },
    );
  });
  run(b, options);
  return host.changed();
}

/** The same for one file, as engines mount it on /etc/resolv.conf, where images often have a symlink that leads nowhere. */
function attemptFile(link: Link, options: RunOptions = {}): string[] {
  const host = newCanary();
  const b = bundle((config, at) => {
    writeFileSync(`${at.dir}/file`, "of the volume\n");
    link(at.rootfs, "etc/resolv.conf", `${host.dir}/made`);
    config.mounts.push({
      destination: "/etc/resolv.conf",
      type: "bind",
      source: `${at.dir}/file`,
      options: ["bind"],
    });
  });
  run(b, options);
  return host.changed();
}

for (const [kind, link] of Object.entries(LINKS)) {
  attack(
    ["CVE-2019-18837", "CVE-2021-30465", "CVE-2024-45310"],
    `mounts make nothing on the host where the image has a symlink: ${kind}`,
    () => {
      // Directories and files would be made on the host, and file systems be mounted there.
      mustBe([], attemptDestinations(link));
      mustBe([], attemptFile(link));
    },
  );
}

weakened(
  ["CVE-2019-18837", "CVE-2021-30465", "CVE-2024-45310"],
  "resolving destinations inside the root",
  [
    { file: "plan/paths.ts", from: "const IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS", to: "const IN_ROOT = 0" },
    { file: "plan/paths.ts", from: "components(wanted.resolved ?? wanted.path)", to: "components(wanted.path)" },
  ],
  (options) => attemptDestinations(LINKS.absolute!, options),
);
