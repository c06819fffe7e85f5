import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseFast } from "./fast-path.ts";
import { lines } from "./lines-under-test.ts";
import { parseForPeople } from "./yargs.ts";

function parsed(line: string) {
  const invocation = parseFast(line.split(" "));
  if (invocation === undefined || invocation.command === "version") throw new Error(`declined: ${line}`);
  return invocation;
}

describe("parseFast", () => {
  test("understands what containerd sends", () => {
    const line =
      "--root /run/containerd/runc/k8s.io --log /b/log.json --log-format json --systemd-cgroup --rootless=true " +
      "create --bundle /b --pid-file /b/init.pid --console-socket /s --no-pivot web";
    expect(parsed(line)).toMatchObject({
      command: "create",
      args: ["web"],
      globals: { root: "/run/containerd/runc/k8s.io", log: "/b/log.json", logFormat: "json", systemdCgroup: true },
      options: { bundle: "/b", pidFile: "/b/init.pid", consoleSocket: "/s", noPivot: true, noSubreaper: false },
    });
    expect(parsed(line).globals.rootless).toBe("true");
  });

  test.each([
    ["run -no-subreaper web", { noSubreaper: true }],
    ["run -bundle /b web", { bundle: "/b" }],
    ["run -bundle=/b web", { bundle: "/b" }],
    ["run -b=/b --detach=false web", { bundle: "/b", detach: false }],
    ["run -b /a -b /b web", { bundle: "/b" }],
    ["run --bundle= web", { bundle: "" }],
    ["exec -e A=1 --env=B=2=3 -g 4294967294 web sh", { env: ["A=1", "B=2=3"], additionalGids: [4_294_967_294] }],
    ["exec --no-new-privs=false --cwd -x web sh", { noNewPrivs: false, cwd: "-x" }],
    ["list -f json -q", { format: "json", quiet: true }],
  ])("%s", (line, options) => {
    expect(parsed(line).options).toMatchObject(options);
  });

  test.each([
    ["exec web ls -l --tty", ["web", "ls", "-l", "--tty"]],
    ["exec -- web ls --", ["web", "ls", "--"]],
    ["run --detach true", ["true"]],
    ["kill -a web -9", ["web", "-9"]],
    ["try -", ["-"]],
  ])("%s: everything after the options is arguments", (line, args) => {
    expect(parsed(line).args).toEqual(args);
  });

  test.each([
    ["list", []],
    ["--debug", []],
    ["", []],
  ])("%p: --version wins over what follows", (rest) => {
    expect(parseFast(["--version", rest])).toMatchObject({ command: "version" });
  });

  test.each([
    "",
    "create",
    "create a b",
    "create --help",
    "create --bundle",
    "create --nonsense a",
    "create -b/x a",
    "create --no-pivot=yes a",
    "create --preserve-fds -1 a",
    "create --preserve-fds 1x a",
    "create --constructor a",
    "create --__proto__=x a",
    "create --root /x a",
    "--log-format xml list",
    "list extra",
    "checkpoint a",
    "constructor a",
    "--help",
    "-=x list",
  ])("declines %p", (line) => {
    expect(parseFast(line.split(" "))).toBeUndefined();
  });
});

test("fast path and yargs agree on every line that the fast path understands", () => {
  let understood = 0;
  fc.assert(
    fc.property(lines(), (line) => {
      const fast = parseFast(line);
      if (fast === undefined) return;
      understood++;
      expect(parseForPeople(line)).toEqual({ kind: "run", invocation: fast });
    }),
    { numRuns: 4000 },
  );
  expect(understood).toBeGreaterThan(400);
});

test("what the fast path declines is no line that yargs could run, but for Go's other words for true and false", () => {
  fc.assert(
    fc.property(lines(), (line) => {
      if (parseFast(line) !== undefined) return;
      expect(parseForPeople(line).kind).not.toBe("run");
    }),
    { numRuns: 2000 },
  );
});
