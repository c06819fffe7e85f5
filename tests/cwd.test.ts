import { expect } from "bun:test";
import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { type Change, mustFail, mustSucceed, suite } from "./helpers/suite.ts";

const { test, see, refusal, bundle, run, started, exec } = suite("cwd");

const at =
  (cwd: string): Change =>
  (config) => {
    config.process.cwd = cwd;
  };

test("where the program starts", () => expect(see("pwd", at("/home/someone"))).toBe("/home/someone"));

test("made when it does not exist", () => {
  const b = bundle((config) => {
    config.process.cwd = "/made/for/this";
    config.process.args = ["/bin/pwd"];
  });
  expect(mustSucceed(run(b)).stdout).toBe("/made/for/this\n");
  expect(existsSync(`${b.rootfs}/made/for/this`)).toBe(true);
});

test("made on a mount", () => {
  const change: Change = (config) => {
    config.mounts.push({ destination: "/mnt", type: "tmpfs", source: "tmpfs" });
    config.process.cwd = "/mnt/deeper";
  };
  expect(see("pwd", change)).toBe("/mnt/deeper");
});

test("a directory that only the user may enter", () => {
  const seen = see("pwd", (config, b) => {
    mkdirSync(`${b.rootfs}/private`);
    chmodSync(`${b.rootfs}/private`, 0o700);
    Bun.spawnSync(["chown", "1000:1000", `${b.rootfs}/private`]);
    config.process.user = { uid: 1000, gid: 1000 };
    config.process.cwd = "/private";
  });
  expect(seen).toBe("/private");
});

test("a symlink is followed, inside", () => {
  const seen = see("pwd -P", (config, b) => {
    symlinkSync("/home/someone", `${b.rootfs}/link`);
    config.process.cwd = "/link";
  });
  expect(seen).toBe("/home/someone");
});

test("a symlink that climbs stays inside", () => {
  const b = bundle((config, made) => {
    symlinkSync(`../../../../../..${made.dir}/outside`, `${made.rootfs}/link`);
    config.process.cwd = "/link/here";
    config.process.args = ["/bin/pwd"];
  });
  run(b);
  expect(existsSync(`${b.dir}/outside`)).toBe(false);
});

test("a relative one is refused", () => expect(refusal(at("home"))).toMatch(/cwd.*absolute|absolute.*cwd/i));
test("an empty one is refused", () => expect(refusal(at(""))).toMatch(/cwd/i));

test("a file is refused by name", () => {
  const stderr = refusal(at("/etc/passwd"));
  expect(stderr).toContain("/etc/passwd");
  expect(stderr).toContain("not a directory");
});

test(
  "/proc/self/fd/N for every N is refused: a way out of the container",
  () => {
    for (let fd = 3; fd <= 30; fd++) {
      const b = bundle((config) => {
        config.process.cwd = `/proc/self/fd/${fd}`;
        config.process.args = ["/bin/sh", "-c", "pwd; ls ../../../../../../.."];
      });
      const result = run(b);
      expect([fd, result.stdout, result.status === 0]).toEqual([fd, "", false]);
    }
  },
  { limit: 60_000 },
);

test("a descriptor of the caller's, kept open, as the working directory is refused as a breakout", () => {
  const b = bundle((config) => {
    config.process.cwd = "/proc/self/fd/3";
    config.process.args = ["/bin/sh", "-c", "pwd; ls ../../../../../../.."];
  });
  const through = ["sh", "-c", 'exec 3< /tmp; exec "$@"', "sh"];
  const result = run(b, { through, flags: ["--preserve-fds", "1"] });
  expect(result.stdout).toBe("");
  mustFail(result, "possible container breakout");
});

test("exec --cwd", () => {
  const b = started();
  expect(mustSucceed(exec(b, ["/bin/pwd"], { flags: ["--cwd", "/tmp"] })).stdout).toBe("/tmp\n");
});

test("exec without --cwd is where the container is", () => {
  const b = started(at("/home/someone"));
  expect(mustSucceed(exec(b, ["/bin/pwd"])).stdout).toBe("/home/someone\n");
});

test("exec --cwd of a directory that does not exist is refused by name", () => {
  const b = started();
  const result = exec(b, ["/bin/pwd"], { flags: ["--cwd", "/no/such/place"] });
  mustFail(result, "/no/such/place", 255);
  expect(result.stderr).toContain("no such file or directory");
});

test(
  "exec --cwd /proc/self/fd/N for every N is refused",
  () => {
    const b = started();
    for (let fd = 3; fd <= 30; fd++) {
      const result = exec(b, ["/bin/pwd"], { flags: ["--cwd", `/proc/self/fd/${fd}`] });
      expect([fd, result.stdout, result.status === 0]).toEqual([fd, "", false]);
    }
  },
  { limit: 60_000 },
);

test("a program found by a relative path is relative to cwd", () => {
  const b = bundle((config, made) => {
    writeFileSync(`${made.rootfs}/home/someone/tool`, "#!/bin/sh\necho a tool\n", { mode: 0o755 });
    config.process.cwd = "/home/someone";
    config.process.args = ["./tool"];
  });
  expect(mustSucceed(run(b)).stdout).toBe("a tool\n");
});
