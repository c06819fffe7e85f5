import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import type { Result } from "../helpers/command.ts";
import type { Config } from "../helpers/config.ts";
import { closeDescriptor, unixSocket } from "../helpers/sockets.ts";
import type { Bundle, RunOptions } from "../helpers/suite.ts";
import { attacks, mustBe, ROUNDS } from "./helpers/attack.ts";
import { canary } from "./helpers/canary.ts";
import { LINKS } from "./helpers/links.ts";
import { endOf, noRacer, raceRounds, startRacer } from "./helpers/racer.ts";

const tests = attacks("attack-console");
const { attack, bundle, create, start, remove, untilStatus, home, after } = tests;

let number = 0;

/** An image that brings its own /dev; what the process says goes to its terminal, and not to /target. */
function ownDev(config: Config, rootfs: string): void {
  config.mounts = config.mounts.filter(({ destination }) => destination !== "/dev");
  config.process.terminal = true;
  config.process.args = ["/bin/echo", "said"];
  for (const dir of ["pts", "other"]) mkdirSync(`${rootfs}/dev/${dir}`, { recursive: true });
  writeFileSync(`${rootfs}/target`, "the target\n");
}

/** Runs containers with terminals, which it takes and lets go of when they have ended. */
function consoles(): (b: Bundle, options?: RunOptions) => Result {
  const path = `${home}/tty${++number}`;
  const socket = unixSocket(path, "stream");
  after(() => socket.close());
  return (b, options = {}) => {
    const created = create(b, { ...options, flags: ["--console-socket", path] });
    if (created.status !== 0) return created;
    const { fds } = socket.accept();
    const started = start(b, options);
    untilStatus(b, "stopped");
    for (const fd of fds) closeDescriptor(fd);
    remove(b, { flags: ["--force"] });
    return started;
  };
}

function writtenTo(rootfs: string): string[] {
  const text = readFileSync(`${rootfs}/target`, "utf8");
  return text === "the target\n" ? [] : [`the file is ${JSON.stringify(text)} now`];
}

for (const [kind, link] of Object.entries(LINKS)) {
  attack(["CVE-2025-52565"], `nothing is made or written where an image's /dev/console leads: ${kind}`, () => {
    // The file that it leads to would be emptied, and the terminal be mounted on it.
    const runWithTerminal = consoles();
    const host = canary(`${home}/canary-${++number}`);
    runWithTerminal(
      bundle((config, at) => {
        ownDev(config, at.rootfs);
        link(at.rootfs, "dev/console", `${host.dir}/file`);
      }),
    );
    const inside = bundle((config, at) => {
      ownDev(config, at.rootfs);
      link(at.rootfs, "dev/console", "/target");
    });
    runWithTerminal(inside);
    mustBe([], [...host.changed(), ...writtenTo(inside.rootfs)]);
  });
}

/** The racer exchanges /dev/pts and a directory whose terminals are symlinks, and /dev/console and another one. */
function attemptRace(rounds: number): string[] {
  const victim = bundle((config, at) => {
    ownDev(config, at.rootfs);
    for (const name of ["0", "1", "2"]) symlinkSync("/target", `${at.rootfs}/dev/other/${name}`);
    symlinkSync("../pts/ptmx", `${at.rootfs}/dev/other/ptmx`);
    symlinkSync("/target", `${at.rootfs}/dev/link`);
    writeFileSync(`${at.rootfs}/dev/console`, "");
  });
  const runWithTerminal = consoles();
  const race = startRacer(tests, victim.rootfs, [
    ["dev/pts", "dev/other"],
    ["dev/console", "dev/link"],
  ]);
  return raceRounds(race, rounds, () => ({ end: endOf(runWithTerminal(victim)), found: writtenTo(victim.rootfs) }));
}

/** A round is five calls of the runtime. */
const TERMINAL_ROUNDS = Math.ceil(ROUNDS / 4);

attack(
  ["CVE-2025-52565"],
  "nothing but the terminal is written to while /dev/pts and /dev/console are exchanged",
  () => {
    // What the racer has in place of /dev/pts/0 would become the process's terminal, and /dev/console.
    mustBe([], attemptRace(TERMINAL_ROUNDS));
  },
  { limit: 20_000 + TERMINAL_ROUNDS * 2000, skip: noRacer },
);
