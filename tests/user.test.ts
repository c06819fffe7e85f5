import { expect } from "bun:test";
import { chownSync, writeFileSync } from "node:fs";
import { mustFail, mustSucceed, suite } from "./helpers/suite.ts";

const { test, see, refusal, started, exec } = suite("user");

const IDS = "grep -E '^(Uid|Gid):' /proc/self/status";

test("uid and gid: real, effective, saved and file system ones", () => {
  const seen = see(IDS, (config) => (config.process.user = { uid: 1234, gid: 5678 }));
  expect(seen).toBe("Uid:\t1234\t1234\t1234\t1234\nGid:\t5678\t5678\t5678\t5678");
});

test("the greatest id", () => {
  const seen = see(IDS, (config) => (config.process.user = { uid: 4294967294, gid: 4294967294 }));
  expect(seen).toContain("Uid:\t4294967294\t");
});

test("an id that is no id, -1, is refused", () => {
  expect(refusal((config) => (config.process.user.uid = 4294967295))).not.toBe("");
});

test("a negative id is refused", () => {
  expect(refusal((config) => (config.process.user.uid = -1))).toMatch(/uid/i);
});

const GROUPS = "grep ^Groups /proc/self/status | cut -f 2-";
const groups = (text: string): number[] =>
  text
    .trim()
    .split(/\s+/)
    .filter((part) => part !== "")
    .map(Number);

test("additional groups", () => {
  const seen = see(
    GROUPS,
    (config) => (config.process.user = { uid: 1000, gid: 1000, additionalGids: [5, 4000000000, 77] }),
  );
  expect(groups(seen)).toEqual([5, 77, 4000000000]);
});

test("no additional groups: none of the caller's", () => {
  const through = ["setpriv", "--groups", "7,8,9"];
  const seen = see(GROUPS, (config) => (config.process.user = { uid: 1000, gid: 1000 }), { through });
  expect(groups(seen)).toEqual([]);
});

test("additional groups open a file", () => {
  const seen = see("cat /key", (config, at) => {
    writeFileSync(`${at.rootfs}/key`, "open\n", { mode: 0o640 });
    chownSync(`${at.rootfs}/key`, 0, 77);
    config.process.user = { uid: 1000, gid: 1000, additionalGids: [77] };
  });
  expect(seen).toBe("open");
});

test("umask", () => {
  const seen = see("umask; touch /tmp/x; stat -c %a /tmp/x", (config) => (config.process.user.umask = 0o027));
  expect(seen).toBe("0027\n640");
});

test("umask 0", () => {
  expect(see("umask", (config) => (config.process.user.umask = 0))).toBe("0000");
});

test("umask without the property is 0022, whatever the caller's", () => {
  const through = ["sh", "-c", 'umask 077; exec "$@"', "sh"];
  expect(see("umask", undefined, { through })).toBe("0022");
});

test("standard output belongs to the user when it can", () => {
  expect(see("echo written > /proc/self/fd/1", (config) => (config.process.user = { uid: 1000, gid: 1000 }))).toBe(
    "written",
  );
});

const EXEC_USERS: readonly (readonly [flag: string, seen: string])[] = [
  ["1000", "1000:0"],
  ["1000:2000", "1000:2000"],
  ["0:5", "0:5"],
  ["4294967294:4294967294", "4294967294:4294967294"],
];

for (const [flag, seen] of EXEC_USERS) {
  test(`exec --user ${flag}`, () => {
    const b = started();
    const result = exec(b, ["/bin/sh", "-c", "echo $(id -u):$(id -g)"], { flags: ["--user", flag] });
    expect(mustSucceed(result).stdout.trim()).toBe(seen);
  });
}

for (const flag of ["1x", "1:2x", "-1", "1:", ":1", "4294967296", "0x10", "1.5", "1e3", "18446744073709551617", " 1"]) {
  test(`exec --user ${JSON.stringify(flag)} is refused, and is no other user`, () => {
    const b = started();
    const result = exec(b, ["/bin/id", "-u"], { flags: [`--user=${flag}`] });
    expect(result.stdout).toBe("");
    expect(result.status).not.toBe(0);
  });
}

test("exec --additional-gids", () => {
  const b = started();
  const flags = ["--user", "1000:1000", "--additional-gids", "5", "--additional-gids", "77"];
  expect(groups(mustSucceed(exec(b, ["/bin/sh", "-c", GROUPS], { flags })).stdout)).toEqual([5, 77]);
});

test("exec --user does not change who the container is", () => {
  const b = started();
  mustSucceed(exec(b, ["/bin/true"], { flags: ["--user", "1000"] }));
  expect(mustSucceed(exec(b, ["/bin/id", "-u"])).stdout).toBe("0\n");
});

test("a program that the user may not execute", () => {
  const b = started((_config, at) => {
    writeFileSync(`${at.rootfs}/private`, "#!/bin/sh\n", { mode: 0o700 });
  });
  mustFail(exec(b, ["/private"], { flags: ["--user", "1000:1000"] }), "permission denied", 255);
});
