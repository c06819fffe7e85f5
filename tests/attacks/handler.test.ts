import { readdirSync } from "node:fs";
import type { RunOptions } from "../helpers/suite.ts";
import { attacks, mustBe } from "./helpers/attack.ts";
import { canary } from "./helpers/canary.ts";
import { LINKS, type Link } from "./helpers/links.ts";

const { attack, weakened, bundle, run, home } = attacks("attack-handler");

let number = 0;

/** A container that asks to be a virtual machine, with an image that has a symlink where its description would be written. */
function attempt(handler: string, link: Link, options: RunOptions = {}): string[] {
  const host = canary(`${home}/canary-${++number}`, { file: "somebody's file\n" });
  const b = bundle((config, at) => {
    link(at.rootfs, ".krun_config.json", `${host.dir}/file`);
    config.annotations = { "run.oci.handler": handler };
  });
  const before = readdirSync(b.rootfs);
  run(b, options);
  const made = readdirSync(b.rootfs).filter((name) => !before.includes(name));
  return [...host.changed(), ...made.map((name) => `/${name} was made in the image`)];
}

attack(["CVE-2025-24965"], "no description of a virtual machine is written where an image has a symlink", () => {
  // The file of the host that it leads to would be overwritten.
  for (const link of Object.values(LINKS)) mustBe([], attempt("krun", link));
  for (const handler of ["krun-sev", "wasm"]) mustBe([], attempt(handler, LINKS.absolute!));
});

weakened(
  ["CVE-2025-24965"],
  "leaving the image alone, as if tsrun described its containers there",
  [
    {
      file: "container/create.ts",
      from: 'stage("encode build");',
      to: 'sys("openat", -100, plan.rootfsPath + "/.krun_config.json", 0o1101, 0o644);\n  stage("encode build");',
    },
  ],
  (options) => attempt("krun", LINKS.absolute!, options),
);
