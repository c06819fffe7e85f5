import { expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { PLAIN_ENV } from "./helpers/command.ts";
import { type Change, mustSucceed, suite } from "./helpers/suite.ts";

const { test, see, refusal, bundle, run, started, exec } = suite("env");

const env =
  (...entries: string[]): Change =>
  (config) => {
    config.process.env = entries;
  };

test("what the config says, and HOME", () => {
  expect(
    see("env | sort | grep -v ^PWD= | grep -v ^SHLVL=", env("PATH=/bin", "A=1", "B=two words")).split("\n"),
  ).toEqual(["A=1", "B=two words", "HOME=/root", "PATH=/bin"]);
});

test("nothing of the caller's", () => {
  const seen = see("env", undefined, {
    env: { ...PLAIN_ENV, LEAKED: "yes", LC_ALL: "C", HOME: "/tmp", XDG_RUNTIME_DIR: "/tmp" },
  });
  expect(seen).not.toMatch(/LEAKED|LC_ALL|XDG|_LIBCONTAINER|TSRUN/);
});

test("the last of several with one name wins", () => {
  expect(see("echo $A; env | grep -c ^A=", env("PATH=/bin", "A=first", "A=second"))).toBe("second\n1");
});

test("an empty value", () => expect(see("env | grep ^A", env("PATH=/bin", "A="))).toBe("A="));
test("a value with = in it", () => expect(see("echo $A", env("PATH=/bin", "A=b=c=d"))).toBe("b=c=d"));
test("a value with line ends", () => expect(see('echo "$A"', env("PATH=/bin", "A=b\nc"))).toBe("b\nc"));
test("a value of 100,000 bytes", () => {
  expect(see("echo $A | wc -c", env("PATH=/bin", `A=${"x".repeat(100_000)}`))).toBe("100001");
});

test("HOME of the user, from the container's passwd", () => {
  const seen = see("echo $HOME", (config) => (config.process.user = { uid: 1000, gid: 1000 }));
  expect(seen).toBe("/home/someone");
});

test("HOME of a user who is not in passwd is /", () => {
  expect(see("echo $HOME", (config) => (config.process.user = { uid: 4321, gid: 1 }))).toBe("/");
});

test("HOME of the config is kept", () =>
  expect(see("echo $HOME", env("PATH=/bin", "HOME=/elsewhere"))).toBe("/elsewhere"));

test("HOME where passwd is garbage", () => {
  const seen = see("echo $HOME", (config, at) => {
    writeFileSync(`${at.rootfs}/etc/passwd`, "x\n:::::\n1000\n\u0000\nsomeone:x:1000:1000::/right:/bin/sh\n");
    config.process.user = { uid: 1000, gid: 1000 };
  });
  expect(seen).toBe("/right");
});

test("HOME where /etc/passwd is missing", () => {
  const seen = see("echo $HOME", (_config, at) => Bun.spawnSync(["rm", `${at.rootfs}/etc/passwd`]));
  expect(seen).toBe("/");
});

test("HOME where /etc/passwd is a link out of the container", () => {
  const seen = see("echo $HOME", (config, at) => {
    writeFileSync(`${at.dir}/passwd`, "evil:x:1000:1000::/evil:/bin/sh\n");
    Bun.spawnSync(["ln", "-sf", `../../../../../../..${at.dir}/passwd`, `${at.rootfs}/etc/passwd`]);
    config.process.user = { uid: 1000, gid: 1000 };
  });
  expect(seen).toBe("/");
});

test("an entry without = is refused", () => {
  expect(refusal(env("PATH=/bin", "WRONG"))).toMatch(/env/i);
});

test("the program is looked for in the container's PATH", () => {
  const b = bundle((config, at) => {
    writeFileSync(`${at.rootfs}/home/someone/tool`, "#!/bin/sh\necho found\n", { mode: 0o755 });
    config.process.env = ["PATH=/nowhere:/home/someone:/bin"];
    config.process.args = ["tool"];
  });
  expect(mustSucceed(run(b)).stdout).toBe("found\n");
});

test("exec has the container's environment, and its own on top", () => {
  const b = started(env("PATH=/bin", "A=1", "B=2"));
  const result = exec(b, ["/bin/env"], { flags: ["-e", "B=3", "-e", "C=4"], env: { ...PLAIN_ENV, LEAKED: "yes" } });
  const lines = mustSucceed(result).stdout.trim().split("\n").sort();
  expect(lines).toEqual(["A=1", "B=3", "C=4", "HOME=/root", "PATH=/bin"]);
});

test("exec as another user has that user's HOME", () => {
  const b = started();
  const result = exec(b, ["/bin/sh", "-c", "echo $HOME"], { flags: ["--user", "1000:1000"] });
  expect(mustSucceed(result).stdout).toBe("/home/someone\n");
});
