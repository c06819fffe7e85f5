import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import type { Mount } from "../helpers/config.ts";
import type { RunOptions } from "../helpers/suite.ts";
import { attacks, mustBe } from "./helpers/attack.ts";
import { canary } from "./helpers/canary.ts";
import { LINKS, type Link } from "./helpers/links.ts";

const { attack, weakened, bundle, run, home } = attacks("attack-proc");

let number = 0;

const RUNS = ["/bin/sh", "-c", "echo it runs"];

/** What happens with an image whose /proc or /sys is a symlink to a directory of the host that looks like a procfs. */
function attemptLink(name: "proc" | "sys", link: Link, options: RunOptions = {}): string[] {
  const host = canary(`${home}/canary-${++number}`, { "self/attr/": "", "self/attr/exec": "", version: "" });
  const b = bundle((config, at) => {
    link(at.rootfs, name, host.dir);
    // So that there is something to mount on where it leads inside.
    mkdirSync(`${at.rootfs}${host.dir}`, { recursive: true });
    config.process.args = RUNS;
    if (name === "sys") config.mounts.push({ destination: "/sys", type: "sysfs", source: "sysfs", options: ["ro"] });
  });
  const { stdout } = run(b, options);
  return [...host.changed(), ...(stdout === "" ? [] : [stdout.trim()])];
}

for (const [kind, link] of Object.entries(LINKS)) {
  for (const name of ["proc", "sys"] as const) {
    attack(
      ["CVE-2019-19921", "CVE-2023-27561", "CVE-2023-28642", "CVE-2025-54867"],
      `nothing runs from an image whose /${name} is a symlink: ${kind}`,
      () => {
        // procfs would be mounted elsewhere, and what confines the process be written to files of the image.
        mustBe([], attemptLink(name, link));
      },
    );
  }
}

weakened(
  ["CVE-2019-19921", "CVE-2023-27561", "CVE-2023-28642", "CVE-2025-54867"],
  "refusing symlinks on the way to a procfs",
  [{ file: "plan/paths.ts", from: "wanted.plain === true ? PLAIN : IN_ROOT", to: "IN_ROOT" }],
  (options) => attemptLink("proc", LINKS.absolute!, options),
);

/** Volumes that an image asks for (VOLUME /proc), on /proc or on what the image leads there. */
const VOLUMES: Readonly<Record<string, (source: string) => Mount>> = {
  "a tmpfs": () => ({ destination: "/proc", type: "tmpfs", source: "tmpfs" }),
  "a volume": (source) => ({ destination: "/proc", type: "bind", source, options: ["rbind"] }),
  "a volume in it": (source) => ({ destination: "/proc/self/attr", type: "bind", source, options: ["bind"] }),
  "a volume, by way of a symlink": (source) => ({ destination: "/x", type: "bind", source, options: ["bind"] }),
  "a volume in it, by way of a symlink": (source) => ({
    destination: "/x/self/attr",
    type: "bind",
    source: `${source}/attr`,
    options: ["bind"],
  }),
  "a tmpfs in it, by way of a symlink": () => ({ destination: "/x/sys", type: "tmpfs", source: "tmpfs" }),
};

function attemptVolume(make: (source: string) => Mount, options: RunOptions = {}): string[] {
  const b = bundle((config, at) => {
    mkdirSync(`${at.dir}/fake/attr`, { recursive: true });
    writeFileSync(`${at.dir}/fake/attr/exec`, "");
    symlinkSync("/proc", `${at.rootfs}/x`);
    config.mounts.push(make(`${at.dir}/fake`));
    config.process.args = RUNS;
  });
  const { stdout } = run(b, options);
  return stdout === "" ? [] : [stdout.trim()];
}

for (const [kind, make] of Object.entries(VOLUMES)) {
  attack(["CVE-2019-16884"], `nothing runs with something else on /proc: ${kind}`, () => {
    // The label of the process would be written to a file of the volume, and it would run without one.
    mustBe([], attemptVolume(make));
  });
}

weakened(
  ["CVE-2019-16884"],
  "looking at what is mounted on",
  [{ file: "container/create.ts", from: "checkOutsideProc(plan.landings.list);", to: "" }],
  (options) => attemptVolume(VOLUMES["a volume, by way of a symlink"]!, options),
);
