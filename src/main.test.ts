import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, resolve } from "node:path";

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

/** What a module loads before its first line runs, types and import() left out. */
function staticImports(file: string): string[] {
  const source = readFileSync(file, "utf8");
  const found = source.matchAll(/^(?:import|export) (?!type )[^;]*?from "([^"]+)";|^import "([^"]+)";/gm);
  return [...found].map(([, from, only]) => from ?? only ?? "");
}

test("nothing slow is loaded before a command runs", () => {
  const seen = new Set<string>();
  const foreign = new Set<string>();
  const visit = (file: string) => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const name of staticImports(file)) {
      if (!name.startsWith(".")) foreign.add(name);
      else if (/\.[jt]s$/.test(name)) visit(resolve(dirname(file), name));
    }
  };
  visit(`${import.meta.dir}/main.ts`);
  expect([...foreign]).toEqual(["bun:ffi"]);
  expect(seen.size).toBeGreaterThan(5);
});

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
