import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import type { Result } from "../helpers/command.ts";
import type { Config } from "../helpers/config.ts";
import { terminal, unixSocket } from "../helpers/sockets.ts";
import type { Bundle } from "../helpers/suite.ts";
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
  config.process.args = ["/bin/sh", "-c", "cut -d' ' -f5 /proc/self/mountinfo | grep /dev/; echo said"];
  for (const dir of ["pts", "other"]) mkdirSync(`${rootfs}/dev/${dir}`, { recursive: true });
  writeFileSync(`${rootfs}/target`, "the target\n");
}

interface Ended extends Result {
  /** What the terminal got: where mounts were in /dev, in the container's words. */
  readonly shown: string;
}

/** Runs containers with terminals, which it takes and lets go of when they have ended. */
function consoles(): (b: Bundle) => Ended {
  const path = `${home}/tty${++number}`;
  const socket = unixSocket(path, "stream");
  after(() => socket.close());
  return (b) => {
    const created = create(b, { flags: ["--console-socket", path] });
    if (created.status !== 0) return { ...created, shown: "" };
    const tty = terminal(socket.accept().fds[0]!);
    const started = start(b);
    untilStatus(b, "stopped");
    const shown = textOf(tty);
    tty.close();
    remove(b, { flags: ["--force"] });
    return { ...started, shown };
  };
}

function textOf(tty: ReturnType<typeof terminal>): string {
  try {
    return tty.readUntil("said", 200);
  } catch {
    return ""; // It has gone elsewhere.
  }
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
  return raceRounds(race, rounds, () => {
    const ended = runWithTerminal(victim);
    const points = ended.shown.split("\r\n").filter((line) => line.startsWith("/dev/"));
    return { end: `${endOf(ended)} ${points.sort().join(" ")}`, found: writtenTo(victim.rootfs) };
  });
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
