import { expect } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { command } from "./helpers/command.ts";
import { share } from "./helpers/config.ts";
import { type Bundle, mustFail, mustSucceed, suite, until } from "./helpers/suite.ts";

const { test, started, kill, create, bundle, runtime, status, untilStatus } = suite("kill");

/** A container that writes the name of every signal it gets to /got. */
function listening(...signals: string[]): Bundle {
  const traps = signals.map((name) => `trap 'echo ${name} >> /got' ${name}`).join("; ");
  const b = started((config) => {
    config.process.args = ["/bin/sh", "-c", `${traps}; echo > /ready; while :; do sleep 0.02; done`];
  });
  until(() => existsSync(`${b.rootfs}/ready`), "the traps");
  return b;
}

const got = (b: Bundle): string =>
  existsSync(`${b.rootfs}/got`) ? readFileSync(`${b.rootfs}/got`, "utf8").trim() : "";

for (const spelling of ["USR1", "SIGUSR1", "usr1", "sigusr1", "SigUsr1", "10"]) {
  test(`a signal as ${spelling}`, () => {
    const b = listening("USR1");
    mustSucceed(kill(b, spelling));
    until(() => got(b) === "USR1", "the signal");
  });
}

test("TERM where none is given", () => {
  const b = listening("TERM");
  mustSucceed(kill(b));
  until(() => got(b) === "TERM", "the signal");
});

for (const [spelling, number] of [
  ["RTMIN+3", "37"],
  ["SIGRTMIN+3", "37"],
  ["rtmin+3", "37"],
  ["RTMAX-1", "63"],
  ["RTMIN", "34"],
  ["RTMAX", "64"],
  ["37", "37"],
] as const) {
  test(`a real-time signal as ${spelling}`, () => {
    const b = listening(number);
    mustSucceed(kill(b, spelling));
    until(() => got(b) === number, "the signal");
  });
}

test("KILL ends it", () => {
  const b = started();
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
});

test("of one that is only created", () => {
  const b = bundle();
  mustSucceed(create(b));
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
});

test("of one that has stopped", () => {
  const b = started();
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  mustFail(kill(b, "TERM"), "container not running");
});

for (const wrong of ["FOO", "SIG", "0x9", "9x", "-9", "65", "1e1", "RTMIN+40"]) {
  test(`an unknown signal ${JSON.stringify(wrong)} is refused, and nothing is sent`, () => {
    const b = listening("TERM", "HUP", "USR1");
    const result = runtime(["kill", b.id, wrong]);
    expect(result.status).not.toBe(0);
    expect(result.stderr).not.toBe("");
    expect(status(b)).toBe("running");
    expect(got(b)).toBe("");
  });
}

test("an unknown signal is named", () => {
  const b = started();
  mustFail(kill(b, "FOO"), /unknown signal.*FOO/);
});

/** A container of three processes in the host's pid namespace: none of them takes the others along when it ends. */
function sharing(): Bundle {
  const b = started((config) => {
    share(config, "pid");
    config.process.args = ["/bin/sh", "-c", "setsid sleep 1000 & setsid sleep 1000 & exec sleep 1000"];
  });
  until(() => count(b) === 3, "three processes");
  return b;
}

/** Its processes. */
function count(b: Bundle): number {
  const procs = command(["sh", "-c", `cat $(find /sys/fs/cgroup -path '*${b.id}/cgroup.procs') | sort -u`]);
  return procs.stdout
    .trim()
    .split("\n")
    .filter((line) => line !== "").length;
}

test("KILL ends all of a container that shares the host's pid namespace", () => {
  const b = sharing();
  mustSucceed(kill(b, "KILL"));
  until(() => count(b) === 0, "the end of all three");
  untilStatus(b, "stopped");
});

test("other signals are for its first process only", () => {
  const b = sharing();
  mustSucceed(kill(b, "TERM"));
  untilStatus(b, "stopped");
  expect(count(b)).toBe(2);
  mustFail(kill(b, "TERM"), "container not running");
  expect(count(b)).toBe(2);
});

test("--all of one that has stopped ends what is left of it, and is no error afterwards either", () => {
  const b = sharing();
  mustSucceed(kill(b, "TERM"));
  untilStatus(b, "stopped");
  mustSucceed(runtime(["kill", "--all", b.id, "KILL"]));
  until(() => count(b) === 0, "the end of all");
  mustSucceed(runtime(["kill", "--all", b.id, "KILL"]));
  mustFail(kill(b, "KILL"), "container not running");
});

test("KILL of one that has stopped ends what is left of it", () => {
  const b = sharing();
  mustSucceed(kill(b, "TERM"));
  untilStatus(b, "stopped");
  mustSucceed(kill(b, "KILL"));
  until(() => count(b) === 0, "the end of all");
  mustFail(kill(b, "KILL"), "container not running");
});

test("--all with another signal reaches each process", () => {
  const b = sharing();
  mustSucceed(runtime(["kill", "--all", b.id, "TERM"]));
  until(() => count(b) === 0, "the end of all three");
});

for (const words of [["-a"], ["--all"], ["--all=true"], ["-all"]]) {
  test(`${words.join(" ")} of one that does not exist is an error`, () => {
    mustFail(runtime(["kill", ...words, "no-such-container", "KILL"]), "does not exist");
  });
}

test("--all: every process of the container, one that hides from its parent too", () => {
  const b = sharing();
  mustSucceed(runtime(["kill", "--all", b.id, "KILL"]));
  until(() => count(b) === 0, "the end of all three");
});

test("--all of one that has stopped is no error", () => {
  const b = started();
  mustSucceed(kill(b, "KILL"));
  untilStatus(b, "stopped");
  mustSucceed(runtime(["kill", "--all", b.id, "KILL"]));
});

test("-a, as containerd spells it, before the id and the number", () => {
  const b = started();
  mustSucceed(runtime(["kill", "-a", b.id, "9"]));
  untilStatus(b, "stopped");
});
