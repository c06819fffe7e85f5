import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import type { RunOptions } from "../helpers/suite.ts";
import { attacks, mustBe, ROUNDS } from "./helpers/attack.ts";
import { endOf, noRacer, raceRounds, startRacer } from "./helpers/racer.ts";

const tests = attacks("attack-proc-race");
const { attack, weakened, bundle, run } = tests;

/**
 * Waits for a procfs on /proc and stays in it, whatever is there afterwards; then says whether what should be hidden is
 * hidden, what should be read-only is read-only, and what should have been written is there. Status 3: none was seen.
 */
const LOOK = `
i=0
until cd /proc && [ -e self/stat ] || [ $i -ge 500 ]; do i=$((i+1)); done
[ -e self/stat ] || exit 3
[ "$(wc -c < version)" = 0 ] || echo "/proc/version can be read"
[ -z "$(ls irq)" ] || echo "/proc/irq can be listed"
(: >> sys/kernel/domainname) 2> /dev/null && echo "/proc/sys can be written to"
[ "$(cat sys/net/ipv4/ip_default_ttl)" = 77 ] || echo "the sysctl was not set"
echo "mounted on $(grep ' - proc ' self/mountinfo | head -n 1 | cut -d' ' -f5)"
exit 0
`;

/**
 * The victim's root file system is shared with the racer, who exchanges its /proc and a directory that looks like one. What
 * is found: what is open in the procfs of a container that was made meanwhile, and what was written to elsewhere.
 */
function attempt(options: RunOptions = {}, rounds = ROUNDS): string[] {
  const victim = bundle((config, at) => {
    for (const dir of ["sys/net/ipv4", "sys/kernel", "irq"]) mkdirSync(`${at.rootfs}/fake/${dir}`, { recursive: true });
    writeFileSync(`${at.rootfs}/fake/version`, "");
    writeFileSync(`${at.rootfs}/target`, "target\n");
    symlinkSync("/target", `${at.rootfs}/fake/sys/net/ipv4/ip_default_ttl`);
    config.process.args = ["/bin/sh", "-c", LOOK];
    config.linux.maskedPaths = ["/proc/version", "/proc/irq"];
    config.linux.readonlyPaths = ["/proc/sys"];
    config.linux.sysctl = { "net.ipv4.ip_default_ttl": "77" };
  });
  const race = startRacer(tests, victim.rootfs, [["proc", "fake"]]);
  return raceRounds(race, rounds, () => {
    const result = run(victim, options);
    const target = readFileSync(`${victim.rootfs}/target`, "utf8");
    const written = target === "target\n" ? [] : [`the container's file was written to: ${JSON.stringify(target)}`];
    const lines = result.stdout.split("\n").filter((line) => line !== "");
    const places = lines.filter((line) => line.startsWith("mounted on "));
    const end = result.status === 3 ? "saw no procfs" : `${endOf(result)} ${places.join()}`;
    return { end, found: [...lines.filter((line) => !places.includes(line)), ...written] };
  });
}

attack(
  ["CVE-2019-19921", "CVE-2023-27561", "CVE-2025-52881", "GHSA-3q8j-pf29-vwv8", "CVE-2025-62596"],
  "while /proc is exchanged, nothing of it is left open, and nothing is written elsewhere",
  () => {
    // Masks and read-only binds would be put on the directory in its place, and the sysctl be written to a file of its choice.
    mustBe([], attempt());
  },
  { limit: 20_000 + ROUNDS * 1000, skip: noRacer },
);

weakened(
  ["CVE-2019-19921", "CVE-2023-27561", "GHSA-3q8j-pf29-vwv8", "CVE-2025-62596"],
  "looking for what is to be hidden in the mount itself",
  [{ file: "plan/masked-paths.ts", from: 'mount === undefined || rest === ""', to: "true" }],
  (options) => attempt(options, 200),
  noRacer,
);
