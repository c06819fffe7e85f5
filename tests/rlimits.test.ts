import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { type Change, mustSucceed, suite } from "./helpers/suite.ts";

const { test, see, refusal, started, exec } = suite("rlimits");

const limit =
  (...rlimits: { type: string; soft: number; hard: number }[]): Change =>
  (config) => {
    config.process.rlimits = rlimits;
  };

/** RLIMIT_* → the line of /proc/self/limits. */
const NAMES: readonly (readonly [type: string, line: string])[] = [
  ["RLIMIT_AS", "Max address space"],
  ["RLIMIT_CORE", "Max core file size"],
  ["RLIMIT_CPU", "Max cpu time"],
  ["RLIMIT_DATA", "Max data size"],
  ["RLIMIT_FSIZE", "Max file size"],
  ["RLIMIT_LOCKS", "Max file locks"],
  ["RLIMIT_MEMLOCK", "Max locked memory"],
  ["RLIMIT_MSGQUEUE", "Max msgqueue size"],
  ["RLIMIT_NICE", "Max nice priority"],
  ["RLIMIT_NOFILE", "Max open files"],
  ["RLIMIT_NPROC", "Max processes"],
  ["RLIMIT_RSS", "Max resident set"],
  ["RLIMIT_RTPRIO", "Max realtime priority"],
  ["RLIMIT_RTTIME", "Max realtime timeout"],
  ["RLIMIT_SIGPENDING", "Max pending signals"],
  ["RLIMIT_STACK", "Max stack size"],
];

/** What root may set here without CAP_SYS_RESOURCE: at most the hard limit that there is. */
function allowed(line: string): number {
  const own = new RegExp(`^${line} +\\S+ +(\\S+)`, "m").exec(readFileSync("/proc/self/limits", "utf8"));
  const hard = own?.[1] === "unlimited" ? 1 << 30 : Number(own?.[1]);
  return Math.min(hard, 1 << 30);
}

for (const [type, line] of NAMES) {
  test(type, () => {
    const hard = allowed(line);
    const soft = Math.max(Math.floor(hard / 2), Math.min(hard, 1));
    const seen = see(`grep '^${line}' /proc/self/limits`, limit({ type, soft, hard }));
    expect(seen.slice(line.length).trim().split(/ +/).slice(0, 2)).toEqual([String(soft), String(hard)]);
  });
}

test("several", () => {
  const change = limit({ type: "RLIMIT_NOFILE", soft: 100, hard: 200 }, { type: "RLIMIT_CORE", soft: 0, hard: 0 });
  expect(see("ulimit -Sn; ulimit -Hn; ulimit -Hc", change).split("\n")).toEqual(["100", "200", "0"]);
});

test("unlimited, as the greatest number of 64 bits", () => {
  const greatest = (JSON as unknown as { rawJSON(digits: string): number }).rawJSON("18446744073709551615");
  expect(see("ulimit -Hc", limit({ type: "RLIMIT_CORE", soft: 0, hard: greatest }))).toBe("unlimited");
});

test("a number of 64 bits arrives exactly", () => {
  const exact = (JSON as unknown as { rawJSON(digits: string): number }).rawJSON("9007199254740993");
  const change = limit({ type: "RLIMIT_FSIZE", soft: 4096, hard: exact });
  expect(see("grep '^Max file size' /proc/self/limits", change)).toContain(" 9007199254740993 ");
});

test("exec has the limits of the config", () => {
  const b = started(limit({ type: "RLIMIT_NOFILE", soft: 111, hard: 222 }));
  expect(mustSucceed(exec(b, ["/bin/sh", "-c", "ulimit -Sn; ulimit -Hn"])).stdout).toBe("111\n222\n");
});

test("without rlimits, the caller's own", () => {
  const through = ["sh", "-c", 'ulimit -Sn 1234; ulimit -Hn 4321; ulimit -Sc 0; exec "$@"', "sh"];
  expect(see("ulimit -Sn; ulimit -Hn; ulimit -Sc", undefined, { through }).split("\n")).toEqual(["1234", "4321", "0"]);
});

test("the same type twice is refused by name", () => {
  const change = limit({ type: "RLIMIT_CORE", soft: 0, hard: 0 }, { type: "RLIMIT_CORE", soft: 1, hard: 1 });
  expect(refusal(change)).toContain("RLIMIT_CORE");
});

test("an unknown type is refused by name", () => {
  expect(refusal(limit({ type: "RLIMIT_NOTHING", soft: 0, hard: 0 }))).toContain("RLIMIT_NOTHING");
});

test("a soft limit above the hard one is refused", () => {
  expect(refusal(limit({ type: "RLIMIT_CORE", soft: 2, hard: 1 }))).toMatch(/rlimit|RLIMIT_CORE|invalid argument/);
});
