import type { Change, RunOptions } from "../helpers/suite.ts";
import { attacks, mustBe } from "./helpers/attack.ts";
import { canary } from "./helpers/canary.ts";
import { LINKS, type Link } from "./helpers/links.ts";

const { attack, bundle, run, home } = attacks("attack-dev");

let number = 0;

const FILES = {
  ptmx: "somebody's file\n",
  null: "another one\n",
  console: "a third one\n",
  "pts/ptmx": "a fourth one\n",
};

/** What making and running a container with such an image does to the directory. */
function attempt(link: Link, change: Change, options: RunOptions = {}): string[] {
  const host = canary(`${home}/canary-${++number}`, { "pts/": "", ...FILES });
  const b = bundle((config, at) => {
    link(at.rootfs, "dev", host.dir);
    change(config, at);
  });
  run(b, options);
  return host.changed();
}

const asConfigured: Change = () => {};

/** As of an engine that leaves /dev to the image. */
const withoutMountOnDev: Change = (config) => {
  config.mounts = config.mounts.filter(({ destination }) => !destination.startsWith("/dev"));
};

for (const [kind, link] of Object.entries(LINKS)) {
  attack(
    ["CVE-2026-41579", "CVE-2026-47766"],
    `an image's /dev that is a symlink changes nothing on the host: ${kind}`,
    () => {
      // The host's file named ptmx would be removed, and symlinks named fd, stdin, … be made beside it.
      mustBe([], attempt(link, asConfigured));
      mustBe([], attempt(link, withoutMountOnDev));
    },
  );
}
