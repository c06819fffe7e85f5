import { describe, expect, test } from "bun:test";
import type { Process } from "../spec/types.ts";
import {
  candidates,
  environmentValue,
  mergeEnvironment,
  planCloseOnExec,
  planExecve,
  planLookup,
  processEnvironment,
} from "./command.ts";
import { type Program, program } from "./step.ts";
import { stepError } from "./step-error.ts";
import { printProgram } from "./test-printer.ts";

const processOf = (args: string[], env?: string[]): Process => ({
  args,
  cwd: "/",
  ...(env === undefined ? {} : { env }),
});

describe("environment", () => {
  test("the last of a name wins, in the place of the first", () => {
    expect(mergeEnvironment(["A=1", "B=2", "A=3"])).toEqual(["A=3", "B=2"]);
  });

  test("values may hold anything", () => {
    expect(mergeEnvironment(["A=b=c", "B=", "__proto__=x", "constructor=y"])).toEqual([
      "A=b=c",
      "B=",
      "__proto__=x",
      "constructor=y",
    ]);
  });

  test("environmentValue looks for whole names", () => {
    expect(environmentValue(["AA=1", "A=2", "A=3"], "A")).toBe("3");
    expect(environmentValue(["AA=1"], "A")).toBeUndefined();
    expect(environmentValue(["A="], "A")).toBe("");
  });

  const home = (env: string[], extra: string[] = []) => processEnvironment(processOf(["x"], env), extra, () => "/h");

  test("HOME comes from passwd when it is missing", () => {
    expect(home(["A=1"])).toEqual(["A=1", "HOME=/h"]);
  });

  test("and when it is empty: once, not twice", () => {
    expect(home(["HOME=", "A=1"])).toEqual(["HOME=/h", "A=1"]);
  });

  test("otherwise passwd is not asked", () => {
    const asked = () => {
      throw new Error("asked");
    };
    expect(processEnvironment(processOf(["x"], ["HOME=/a"]), [], asked)).toEqual(["HOME=/a"]);
  });

  test("what tsrun adds overrides the config's", () => {
    expect(home(["HOME=/", "LISTEN_FDS=9"], ["LISTEN_FDS=2"])).toEqual(["HOME=/", "LISTEN_FDS=2"]);
  });
});

describe("candidates", () => {
  test("a path is itself", () => {
    expect(candidates(processOf(["/bin/sh"]))).toEqual(["/bin/sh"]);
    expect(candidates(processOf(["./sh"]))).toEqual(["./sh"]);
    expect(candidates(processOf(["bin/sh"]))).toEqual(["bin/sh"]);
  });

  test("a name is looked for in the process's own PATH", () => {
    expect(candidates(processOf(["sh"], ["PATH=/a:/b"]))).toEqual(["/a/sh", "/b/sh"]);
  });

  test("an empty element is the working directory", () => {
    expect(candidates(processOf(["sh"], ["PATH=:/a:"]))).toEqual(["./sh", "/a/sh", "./sh"]);
  });

  test("the last PATH counts", () => {
    expect(candidates(processOf(["sh"], ["PATH=/a", "PATH=/b"]))).toEqual(["/b/sh"]);
  });

  test("without PATH the usual directories", () => {
    const usual = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    expect(candidates(processOf(["sh"]))).toEqual(usual.map((directory) => `${directory}/sh`));
  });
});

function lookup(process: Process): Program {
  const planned = program("p");
  planLookup(planned, process, "/process");
  return planned;
}

/** What tsrun says when the step at `index` fails. */
function messageOf({ steps }: Program, index: number, errno: number): string {
  return stepError(steps.at(index)!, errno).message;
}

const [ENOENT, ENOEXEC, EACCES, ENOTDIR, ELOOP] = [2, 8, 13, 20, 40];

describe("lookup", () => {
  test("a name: each candidate is executable and no directory, or the next one is tried", () => {
    expect(printProgram(lookup(processOf(["sh"], ["PATH=/a:/b"])))).toEqual([
      'faccessat2(-100, "/a/sh", 1, 0x200) ? ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG →2',
      'faccessat2(-100, "/a/sh/.", 0, 0x200) ? ENOTDIR →5 0→2',
      'faccessat2(-100, "/b/sh", 1, 0x200) ? ENOENT ENOTDIR EACCES ELOOP ENAMETOOLONG →4',
      'faccessat2(-100, "/b/sh/.", 0, 0x200) ? ENOTDIR →5 0→4',
      "close(-1)",
    ]);
  });

  test("a name that is nowhere", () => {
    const found = lookup(processOf(["sh"], ["PATH=/a"]));
    expect(messageOf(found, -1, 9)).toBe('exec: "sh": executable file not found in $PATH');
  });

  test("a path: the errors of that very file", () => {
    const found = lookup(processOf(["/x/y"]));
    expect(found.steps[0]!.tolerate).toEqual([]);
    expect(messageOf(found, 0, ENOENT)).toBe('exec: "/x/y": stat /x/y: no such file or directory');
    expect(messageOf(found, 0, ENOTDIR)).toBe('exec: "/x/y": stat /x/y: not a directory');
    expect(messageOf(found, 0, EACCES)).toBe('exec: "/x/y": permission denied');
    expect(messageOf(found, 0, ELOOP)).toBe('exec: "/x/y": too many levels of symbolic links');
    expect(messageOf(found, -1, 9)).toBe('exec: "/x/y": is a directory: permission denied');
  });

  test("a name is never taken for a part of the message", () => {
    const found = lookup(processOf(["/%s$&"]));
    expect(messageOf(found, 0, EACCES)).toBe('exec: "/%s$&": permission denied');
  });
});

describe("execve", () => {
  function execve(process: Process, preserved = 0): Program {
    const planned = program("p");
    planCloseOnExec(planned, preserved);
    planExecve(planned, process, ["A=1"], "/process");
    return planned;
  }

  test("all descriptors but the standard ones and the preserved ones go with the agent", () => {
    expect(printProgram(execve(processOf(["/bin/sh", "-c"]), 2))).toEqual([
      "close_range(5, 0xffffffff, 4)",
      'execve("/bin/sh", ["/bin/sh","-c"], ["A=1"])',
    ]);
  });

  test("a name: the candidates in order; only the last one's error counts", () => {
    expect(printProgram(execve(processOf(["sh"], ["PATH=/a:/b"])))).toEqual([
      "close_range(3, 0xffffffff, 4)",
      'execve("/a/sh", ["sh"], ["A=1"]) ? ENOENT ENOTDIR EACCES',
      'execve("/b/sh", ["sh"], ["A=1"])',
    ]);
  });

  test("the texts that engines look for", () => {
    expect(messageOf(execve(processOf(["/x"])), -1, ENOEXEC)).toBe("exec /x: exec format error");
    expect(messageOf(execve(processOf(["/x"])), -1, ENOENT)).toBe("exec /x: no such file or directory");
    expect(messageOf(execve(processOf(["x"], ["PATH=/a"])), -1, EACCES)).toBe('exec: "x": permission denied');
  });
});
