import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { command } from "../helpers/command.ts";
import { mustSucceed, type RunOptions } from "../helpers/suite.ts";
import { attacks, mustBe, ROUNDS } from "./helpers/attack.ts";
import { canary } from "./helpers/canary.ts";
import { endOf, noRacer, type Pair, raceRounds, startRacer } from "./helpers/racer.ts";

const tests = attacks("attack-copy-up-race");
const { attack, weakened, bundle, run, home } = tests;

let number = 0;

const FILES = Array.from({ length: 30 }, (_, i) => i);
/** A round copies all of them, and takes its chance with each. */
const COPY_ROUNDS = Math.ceil(ROUNDS / 10);

/**
 * A tmpfs that begins with what a directory holds, while the racer exchanges files in it with a FIFO, and with a symlink to a
 * file of the host.
 */
function attempt(options: RunOptions = {}, rounds = COPY_ROUNDS): string[] {
  const host = canary(`${home}/canary-${++number}`, { secret: "of the host\n" });
  const victim = bundle((config, at) => {
    mkdirSync(`${at.rootfs}/data`);
    for (const i of FILES) {
      writeFileSync(`${at.rootfs}/data/file${i}`, "of the image\n");
      if (i % 2 === 0) mustSucceed(command(["mkfifo", `${at.rootfs}/data/other${i}`]));
      else symlinkSync(`${host.dir}/secret`, `${at.rootfs}/data/other${i}`);
    }
    config.mounts.push({ destination: "/data", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup"] });
    config.process.args = ["/bin/sh", "-c", 'for file in /data/*; do [ -f "$file" ] && cat "$file"; done; exit 0'];
  });
  const pairs = FILES.map((i): Pair => [`data/file${i}`, `data/other${i}`]);
  const race = startRacer(tests, victim.rootfs, pairs);
  return raceRounds(race, rounds, () => {
    const result = run(victim, { limit: 5000, ...options });
    const waits = result.status === -1 ? ["it waits for ever"] : [];
    const shown = result.stdout.includes("of the host") ? ["the host's file is copied"] : [];
    const files = result.stdout.split("of the image").length - 1;
    return { end: `${endOf(result)} with ${files} files`, found: [...waits, ...shown, ...host.changed()] };
  });
}

attack(
  ["rule: paths"],
  "while files that are copied to a tmpfs are exchanged, nothing of the host is, and nobody waits",
  () => {
    // A symlink would be followed on the host, or a FIFO be opened, which waits until somebody writes to it.
    mustBe([], attempt());
  },
  { limit: 30_000 + COPY_ROUNDS * 2000, skip: noRacer },
);

weakened(
  ["rule: paths"],
  "looking at a file before it is opened",
  [{ file: "container/copy-up.ts", from: "throw fault(-ESTALE, copy, opening);", to: "{}" }],
  (options) => attempt(options, 200),
  noRacer,
);
