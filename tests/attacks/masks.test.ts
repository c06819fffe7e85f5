import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { command } from "../helpers/command.ts";
import type { Config } from "../helpers/config.ts";
import { mustSucceed, type RunOptions } from "../helpers/suite.ts";
import { attacks, mustBe, ROUNDS } from "./helpers/attack.ts";
import { endOf, noRacer, raceRounds, startRacer } from "./helpers/racer.ts";

const tests = attacks("attack-masks");
const { attack, bundle, run } = tests;

const LOOK = `
[ "$(stat -c %t:%T /key)" = 1:3 ] || echo "/key is $(stat -c '%F %t:%T' /key)"
head -c 100 /key
(echo overwritten > /key) 2> /errors
exit 0
`;

/** A container that is to see nothing of /key, with an image that brings its own /dev. */
function hideKey(config: Config, rootfs: string): void {
  config.mounts = config.mounts.filter(({ destination }) => !destination.startsWith("/dev"));
  config.linux.maskedPaths = ["/key"];
  config.process.args = ["/bin/sh", "-c", LOOK];
  writeFileSync(`${rootfs}/key`, "the key\n");
  writeFileSync(`${rootfs}/target`, "the target\n");
}

function damage(rootfs: string, stdout: string): string[] {
  const files = ["key", "target"].filter((name) => readFileSync(`${rootfs}/${name}`, "utf8") !== `the ${name}\n`);
  return [...stdout.split("\n").filter((line) => line !== ""), ...files.map((name) => `/${name} was written to`)];
}

/** What an image may have in the place of /dev/null. */
const NULLS: Readonly<Record<string, (rootfs: string) => void>> = {
  "a symlink": (rootfs) => symlinkSync("/target", `${rootfs}/dev/null`),
  "a symlink that climbs": (rootfs) => symlinkSync("../../../target", `${rootfs}/dev/null`),
  "another device": (rootfs) => void mustSucceed(command(["mknod", `${rootfs}/dev/null`, "c", "1", "5"])),
};

function attempt(make: (rootfs: string) => void, options: RunOptions = {}): string[] {
  const b = bundle((config, at) => {
    hideKey(config, at.rootfs);
    make(at.rootfs);
  });
  return damage(b.rootfs, run(b, options).stdout);
}

for (const [kind, make] of Object.entries(NULLS)) {
  attack(
    ["CVE-2025-31133", "CVE-2025-62161"],
    `what is masked is masked by the null device, whatever an image's /dev/null is: ${kind}`,
    () => {
      // What the image chose would be mounted where nothing is to be seen, readable and writable.
      mustBe([], attempt(make));
    },
  );
}

/** /dev/null is the device at one moment, and a symlink at the next. */
function attemptRace(options: RunOptions = {}, rounds = ROUNDS): string[] {
  const victim = bundle((config, at) => {
    hideKey(config, at.rootfs);
    mustSucceed(command(["mknod", "-m", "666", `${at.rootfs}/dev/null`, "c", "1", "3"]));
    symlinkSync("/target", `${at.rootfs}/dev/other`);
  });
  const race = startRacer(tests, victim.rootfs, [["dev/null", "dev/other"]]);
  return raceRounds(race, rounds, () => {
    const result = run(victim, options);
    return { end: endOf(result), found: damage(victim.rootfs, result.stdout) };
  });
}

attack(
  ["CVE-2025-31133", "CVE-2025-62161"],
  "what is masked is masked by the null device, while an image's /dev/null is exchanged",
  () => {
    // It would be the device when it is looked at, and the symlink when it is mounted.
    mustBe([], attemptRace());
  },
  { limit: 20_000 + ROUNDS * 1000, skip: noRacer },
);
