import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { O_CLOEXEC, O_NONBLOCK } from "./abi/fcntl.ts";
import { sys } from "./kernel/kernel.ts";

function tsrun(...words: string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, `${import.meta.dir}/main.ts`, ...words]);
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

function withDirectory(run: (directory: string) => void): void {
  const directory = mkdtempSync(`${tmpdir()}/main-`);
  try {
    run(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe("--version", () => {
  test.each(["--version", "-v", "-V"])("%s", (word) => {
    const { exitCode, stdout, stderr } = tsrun(word);
    expect(stdout).toMatch(/^tsrun version \d+\.\d+\.\d+\ncommit: \S+\nspec: 1\.3\.0\nbun: 1\.4\.5\n$/);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  });
});

test("features and help are for standard output alone", () => {
  const features = tsrun("features");
  expect(JSON.parse(features.stdout)).toMatchObject({ ociVersionMin: "1.0.0" });
  const help = tsrun("create", "--help");
  expect(help).toEqual(tsrun("help", "create"));
  expect(help.stdout).toContain("--console-socket");
  for (const { exitCode, stderr } of [features, help])
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
});

test("a wrong command line is an error of status 1", () => {
  expect(tsrun("exec")).toEqual({
    exitCode: 1,
    stdout: "",
    stderr: `tsrun: "exec" requires a minimum of 1 argument(s)\nhint: see 'tsrun exec --help'\n`,
  });
  expect(tsrun()).toMatchObject({ exitCode: 1, stdout: "" });
});

describe("--log", () => {
  test("is created even when nothing is logged", () => {
    withDirectory((directory) => {
      expect(tsrun("--log", `${directory}/log`, "features").exitCode).toBe(0);
      expect(readFileSync(`${directory}/log`, "utf8")).toBe("");
    });
  });

  test("holds one JSON object for an error, which is on standard error too", () => {
    withDirectory((directory) => {
      const { stderr } = tsrun("--log", `file:${directory}/log`, "--log-format", "json", "help", "strat");
      const logged = JSON.parse(readFileSync(`${directory}/log`, "utf8"));
      expect(logged).toMatchObject({ level: "error", code: "EUSAGE", msg: 'tsrun: unknown command "strat"' });
      expect(Date.parse(logged.time)).toBeGreaterThan(0);
      expect(stderr).toBe(`${logged.msg}\nhint: ${logged.hint}\n`);
    });
  });

  test("that cannot be opened is an error", () => {
    expect(tsrun("--log", "/nowhere/log", "features")).toEqual({
      exitCode: 1,
      stdout: "",
      stderr: 'cannot open log file "/nowhere/log": no such file or directory\n',
    });
    expect(tsrun("--log", "syslog:x", "features").stderr).toContain('cannot log to "syslog:x"');
    expect(existsSync("syslog:x")).toBe(false);
  });
});

test("long output survives a reader that is slow, and a pipe that does not block", async () => {
  const F_SETPIPE_SZ = 1031;
  const ends = new Int32Array(2);
  sys("pipe2", ends, O_NONBLOCK | O_CLOEXEC);
  const [reading, writing] = ends as unknown as [number, number];
  sys("fcntl", writing, F_SETPIPE_SZ, 4096);
  const words = ["completion", "zsh"];
  const child = Bun.spawn([process.execPath, `${import.meta.dir}/main.ts`, ...words], { stdout: writing });
  sys("close", writing);
  await Bun.sleep(200);
  const buffer = new Uint8Array(65536);
  let total = 0;
  for (let count = 1; count !== 0; ) {
    count = sys("read", reading, buffer, buffer.length);
    total += Math.max(0, count);
    if (count < 0) await Bun.sleep(5);
  }
  sys("close", reading);
  expect(await child.exited).toBe(0);
  expect(total).toBe(Buffer.byteLength(tsrun(...words).stdout));
});
