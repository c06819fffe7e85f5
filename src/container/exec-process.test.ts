import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TsrunError } from "../errors.ts";
import type { Config, Process } from "../spec/types.ts";
import { execProcess, type ProcessOptions } from "./exec-process.ts";

const OWN: Process = {
  args: ["sleep", "9"],
  cwd: "/own",
  env: ["A=1", "PATH=/bin"],
  terminal: true,
  user: { uid: 7, gid: 8, umask: 0o77, additionalGids: [9] },
  capabilities: { bounding: ["CAP_KILL"], effective: ["CAP_KILL"], permitted: ["CAP_KILL"], inheritable: ["CAP_KILL"] },
  noNewPrivileges: true,
  rlimits: [{ type: "RLIMIT_CORE", soft: 1, hard: 2 }],
};

function changed(options: Partial<ProcessOptions> = {}, own: Process | undefined = OWN, command = ["ls", "-l"]) {
  const config = { ociVersion: "1.3.0", process: own } as Config;
  const given = { env: [], tty: false, additionalGids: [], cap: [], ...options };
  const warnings: string[] = [];
  return { ...execProcess(config, command, given, (message) => void warnings.push(message)), warnings };
}

/** The details of what is thrown. */
function refused(run: () => unknown): TsrunError {
  try {
    run();
  } catch (error) {
    if (error instanceof TsrunError) return error;
    throw error;
  }
  throw new Error("was taken");
}

test("the container's own process with another command, and no terminal unless asked for", () => {
  const { process, pointer } = changed();
  expect(process).toEqual({ ...OWN, args: ["ls", "-l"], terminal: false });
  expect(pointer).toBe("/process");
});

test("--tty, --cwd, --no-new-privs", () => {
  const { process } = changed({ tty: true, cwd: "/x", noNewPrivs: false });
  expect(process).toMatchObject({ terminal: true, cwd: "/x", noNewPrivileges: false });
});

test("--env comes behind the container's own, where it wins", () => {
  expect(changed({ env: ["A=2", "B="] }).process.env).toEqual(["A=1", "PATH=/bin", "A=2", "B="]);
});

for (const variable of ["FOO", "=x", ""]) {
  test(`--env ${JSON.stringify(variable)} is refused`, () => {
    expect(refused(() => changed({ env: [variable] })).message).toContain("should be NAME=VALUE (--env)");
  });
}

describe("--user", () => {
  for (const [text, uid, gid] of [
    ["1", 1, 8],
    ["01", 1, 8],
    ["0", 0, 8],
    ["1:2", 1, 2],
    ["4294967294:4294967294", 4294967294, 4294967294],
  ] as const) {
    test(`${text}: user ${uid}, group ${gid}`, () => {
      expect(changed({ user: text }).process.user).toEqual({ uid, gid, umask: 0o77, additionalGids: [9] });
    });
  }

  for (const text of [
    "",
    "1:",
    ":1",
    "-1",
    "+1",
    "1x",
    "x",
    "root",
    " 1",
    "1 ",
    "1\n",
    "0x10",
    "1e3",
    "1.0",
    "1:2:3",
    "4294967295",
    "4294967296",
    "1:4294967295",
    "18446744073709551616",
    "１",
  ]) {
    test(`${JSON.stringify(text)} is refused: it must never become user 0`, () => {
      const { message, details } = refused(() => changed({ user: text }));
      expect(message).toBe(`cannot use ${JSON.stringify(text)} as a user: should be UID or UID:GID in digits (--user)`);
      expect(details.code).toBe("EINVAL");
    });
  }

  test("--additional-gids are added to the container's", () => {
    expect(changed({ additionalGids: [4, 9] }).process.user!.additionalGids).toEqual([9, 4, 9]);
    expect(changed({ user: "1", additionalGids: [4] }).process.user!.additionalGids).toEqual([9, 4]);
  });

  test("a container without a user is root's", () => {
    expect(changed({ user: "5" }, { args: ["x"], cwd: "/" }).process.user).toEqual({ uid: 5, additionalGids: [] });
  });
});

describe("--cap", () => {
  test("is never inheritable, nor ambient", () => {
    const { capabilities } = changed({ cap: ["CAP_BPF"] }).process;
    expect(capabilities).toEqual({
      bounding: ["CAP_KILL", "CAP_BPF"],
      effective: ["CAP_KILL", "CAP_BPF"],
      permitted: ["CAP_KILL", "CAP_BPF"],
      inheritable: ["CAP_KILL"],
    });
  });

  test("of a container without capabilities", () => {
    const { capabilities } = changed({ cap: ["CAP_BPF"] }, { args: ["x"], cwd: "/" }).process;
    expect(capabilities).toEqual({ bounding: ["CAP_BPF"], effective: ["CAP_BPF"], permitted: ["CAP_BPF"] });
  });

  for (const name of ["BPF", "cap_bpf", "CAP_X", "", "constructor"]) {
    test(`${JSON.stringify(name)} is refused`, () => {
      expect(refused(() => changed({ cap: ["CAP_KILL", name] })).message).toBe(
        `unknown capability ${JSON.stringify(name)} (--cap)`,
      );
    });
  }
});

test("a container without a process has a root directory to exec in", () => {
  expect(changed({}, null as unknown as undefined).process).toMatchObject({ args: ["ls", "-l"], cwd: "/" });
});

test("no command is refused", () => {
  expect(refused(() => changed({}, OWN, [])).message).toBe("process args cannot be empty");
});

describe("labels", () => {
  const LABELLED: Process = { ...OWN, apparmorProfile: "of-container", selinuxLabel: "u:r:container_t:s0" };

  test("are the container's unless others are given", () => {
    expect(changed({}, LABELLED).process).toMatchObject({
      apparmorProfile: "of-container",
      selinuxLabel: "u:r:container_t:s0",
    });
    expect(changed().process).not.toContainAnyKeys(["apparmorProfile", "selinuxLabel"]);
  });

  test("--apparmor, --process-label; errors then name the option", () => {
    const { process, labelOptions } = changed({ apparmor: "p", processLabel: "l" }, LABELLED);
    expect(process).toMatchObject({ apparmorProfile: "p", selinuxLabel: "l" });
    expect(labelOptions).toEqual({ apparmorProfile: "--apparmor", selinuxLabel: "--process-label" });
    expect(changed({ apparmor: "p" }, LABELLED).process.selinuxLabel).toBe("u:r:container_t:s0");
  });

  test("an empty one is as good as none", () => {
    const { process, labelOptions } = changed({ apparmor: "", processLabel: "" }, LABELLED);
    expect(process.apparmorProfile).toBe("of-container");
    expect(labelOptions).toEqual({});
  });

  for (const [option, name] of [
    ["--apparmor", "apparmor"],
    ["--process-label", "processLabel"],
  ] as const) {
    test(`${option} with a newline, or longer than the kernel reads, is refused`, () => {
      expect(refused(() => changed({ [name]: "p\nq" })).message).toBe(
        `cannot label the process: found "p\\nq", should be a label without newlines (${option})`,
      );
      expect(refused(() => changed({ [name]: "x".repeat(4092) })).message).toContain("should be at most 4091 bytes");
      expect(changed({ [name]: "x".repeat(4091) }).process.args).toEqual(["ls", "-l"]);
    });
  }
});

describe("--process", () => {
  const home = mkdtempSync(join(tmpdir(), "exec-process-"));
  const file = join(home, "process.json");
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  test("is the whole process; nothing of the container's, nor of other options", () => {
    writeFileSync(file, JSON.stringify({ args: ["x"], cwd: "/", user: { uid: 1, gid: 1 }, capabilities: {} }));
    const { process, pointer } = changed({ process: file, user: "5", env: ["A=9"] }, OWN, []);
    expect(process).toEqual({ args: ["x"], cwd: "/", user: { uid: 1, gid: 1 }, capabilities: {} });
    expect(pointer).toBe("");
  });

  test("but for capabilities that it does not speak of", () => {
    writeFileSync(file, JSON.stringify({ args: ["x"], cwd: "/" }));
    expect(changed({ process: file }, OWN, []).process).toEqual({
      args: ["x"],
      cwd: "/",
      capabilities: OWN.capabilities!,
    });
  });

  test("and for the labels: no process is less confined than the container because nobody said so", () => {
    const write = (labels: object) => writeFileSync(file, JSON.stringify({ args: ["x"], cwd: "/", ...labels }));
    const own = { ...OWN, apparmorProfile: "of-container", selinuxLabel: "of-container" };
    write({});
    expect(changed({ process: file }, own, []).process).toMatchObject({
      apparmorProfile: "of-container",
      selinuxLabel: "of-container",
    });
    write({ apparmorProfile: "unconfined", selinuxLabel: "" });
    expect(changed({ process: file }, own, []).process).toMatchObject({
      apparmorProfile: "unconfined",
      selinuxLabel: "of-container",
    });
  });

  test("a file that is missing", () => {
    const { message, details } = refused(() => changed({ process: "/no/such" }));
    expect(message).toBe('cannot read "/no/such": no such file or directory (--process)');
    expect(details.code).toBe("ENOENT");
  });
});
