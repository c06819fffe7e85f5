import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import type { RunOptions } from "../helpers/suite.ts";
import { attacks, mustBe, ROUNDS } from "./helpers/attack.ts";
import { canary } from "./helpers/canary.ts";
import { endOf, noRacer, raceRounds, startRacer } from "./helpers/racer.ts";

const tests = attacks("attack-mount-race");
const { attack, weakened, bundle, run, home } = tests;

let number = 0;

/** Where the three are, in the container's own words: mount points by the names of their sources. */
const WHERE = `while read -r _ _ _ root point _; do case $point in /vol/*|*canary*) echo "$point" ;; esac; done < /proc/self/mountinfo`;

/**
 * A volume that the victim shares with the racer, and mounts in it: on a directory, on one that has to be made, on a file that
 * has to be made. The racer exchanges the directory that they are in with a symlink to a directory of the host.
 */
function attempt(options: RunOptions = {}, rounds = ROUNDS): string[] {
  const host = canary(`${home}/canary-${++number}`, { file: "somebody's file\n", "dir/": "" });
  const volume = `${home}/volume-${number}`;
  mkdirSync(`${volume}/a/dir`, { recursive: true });
  symlinkSync(host.dir, `${volume}/absolute`);
  mkdirSync(`${volume}/b`, { recursive: true });
  symlinkSync(`${"../".repeat(20)}${host.dir.slice(1)}`, `${volume}/relative`);
  const race = startRacer(tests, volume, [
    ["a", "absolute"],
    ["b", "relative"],
  ]);
  const victim = bundle((config, at) => {
    // The same path inside, so that the symlink leads somewhere there too.
    mkdirSync(`${at.rootfs}${host.dir}/dir`, { recursive: true });
    writeFileSync(`${at.dir}/file`, "of the volume\n");
    config.mounts.push(
      { destination: "/vol", type: "bind", source: volume, options: ["bind"] },
      { destination: "/vol/a/dir", type: "tmpfs", source: "tmpfs" },
      { destination: "/vol/b/made/deep", type: "tmpfs", source: "tmpfs" },
      { destination: "/vol/a/new/file", type: "bind", source: `${at.dir}/file`, options: ["bind"] },
    );
    config.process.args = ["/bin/sh", "-c", WHERE];
  });
  return raceRounds(race, rounds, () => {
    const result = run(victim, options);
    const points = result.stdout.split("\n").filter((line) => line !== "");
    const lost = result.status === 0 && points.length !== 3 ? [`only ${points.join(", ")} are mounted inside`] : [];
    const inside = points.filter((point) => !point.startsWith("/vol/")).length;
    const end = result.status === 0 ? `mounted, ${inside} where a symlink leads inside` : endOf(result);
    const found = [...host.changed(), ...lost];
    if (found.length === 0) removeMade([volume, `${victim.rootfs}${host.dir}`]);
    return { end, found };
  });
}

/** So that the next round has to make it again. Whichever of the two names the directory has at the moment. */
function removeMade(dirs: readonly string[]): void {
  const made = ["a/new", "absolute/new", "b/made", "relative/made", "new", "made"];
  for (const dir of dirs) for (const name of made) rmSync(`${dir}/${name}`, { recursive: true, force: true });
}

attack(
  ["CVE-2021-30465", "CVE-2024-45310", "CVE-2019-18837"],
  "while the directories on the way are exchanged with symlinks, nothing is mounted or made outside",
  () => {
    // The mount would land on the host's directory, and what is missing on the way to it be made there.
    mustBe([], attempt());
  },
  { limit: 20_000 + ROUNDS * 1000, skip: noRacer },
);

weakened(
  ["CVE-2021-30465", "CVE-2024-45310", "CVE-2019-18837"],
  "resolving destinations inside the root",
  [{ file: "plan/paths.ts", from: "const IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS", to: "const IN_ROOT = 0" }],
  (options) => attempt(options, 100),
  noRacer,
);
