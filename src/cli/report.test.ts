import { describe, expect, test } from "bun:test";
import { TsrunError } from "../errors.ts";
import { jsonLine, textLine } from "./log.ts";
import { type CommandName, defaultValues, type Globals, globalOptions } from "./options.ts";
import { reportError, warningTarget } from "./report.ts";

const now = new Date("2026-01-02T03:04:05.678Z");
const failed = new TsrunError('cannot mount "proc" on "/proc": permission denied (mounts[0])', {
  code: "EACCES",
  step: "move_mount",
  pointer: "/mounts/0",
  hint: "run it as root",
});

describe("reportError", () => {
  test("message, then hint", () => {
    const report = reportError(failed, "create", false, now);
    expect(report.text).toBe(`${failed.message}\nhint: run it as root\n`);
    expect(report.status).toBe(1);
  });

  test("JSON as engines decode it", () => {
    expect(jsonLine(reportError(failed, "create", false, now).entry)).toBe(
      '{"level":"error","msg":"cannot mount \\"proc\\" on \\"/proc\\": permission denied (mounts[0])",' +
        '"time":"2026-01-02T03:04:05.678Z","code":"EACCES","step":"move_mount","pointer":"/mounts/0","hint":"run it as root"}',
    );
  });

  test("text as logrus writes it", () => {
    const { entry } = reportError(new TsrunError("a\nb", { code: "EACCES" }), "create", false, now);
    expect(textLine(entry)).toBe('time="2026-01-02T03:04:05.678Z" level=error msg="a\\nb" code=EACCES');
  });

  test("warnings are a field of the one entry", () => {
    const { entry } = reportError(new TsrunError("a"), "create", false, now, ["b", "c d"]);
    expect(jsonLine(entry)).toBe(
      '{"level":"error","msg":"a","time":"2026-01-02T03:04:05.678Z","warnings":["b","c d"]}',
    );
    expect(textLine(entry)).toBe('time="2026-01-02T03:04:05.678Z" level=error msg=a warnings="b; c d"');
  });

  test.each([
    ["exec", {}, 255],
    ["exec", { code: "EUSAGE" }, 1],
    ["exec", { exitStatus: 126 }, 126],
    ["run", {}, 1],
  ] as const)("exit status of %s with %p", (command, details, status) => {
    expect(reportError(new TsrunError("x", details), command, false, now).status).toBe(status);
  });

  test("a fault of tsrun itself shows its stack only with --debug", () => {
    const fault = new TypeError("x is undefined");
    expect(reportError(fault, "run", false, now).text).toBe("internal error: x is undefined\n");
    expect(reportError(fault, "run", true, now).text).toContain("report.test.ts");
    expect(reportError("thrown", "run", true, now).text).toBe("internal error: thrown\n");
  });
});

test.each([
  ["create", {}, "stderr"],
  ["state", {}, "nowhere"],
  ["ps", {}, "nowhere"],
  ["create", { log: "/l" }, "log"],
  ["create", { log: "/l", logLevel: "error" }, "nowhere"],
  ["state", { log: "/l", debug: true }, "log"],
  ["create", { log: "" }, "stderr"],
] as const)("a warning of %s with %p goes to %s", (command, given, target) => {
  const globals = { ...defaultValues(globalOptions()), ...given } as unknown as Globals;
  expect(warningTarget(command as CommandName, globals)).toBe(target);
});
