import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";

const home = mkdtempSync("/tmp/tsrun-seccomp-command-");
afterAll(() => rmSync(home, { recursive: true }));
const main = resolve(import.meta.dir, "../main.ts");

const args = [{ index: 1, op: "SCMP_CMP_MASKED_EQ", value: 2 ** 40, valueTwo: 2 ** 40 }];
writeFileSync(
  `${home}/config.json`,
  JSON.stringify({
    ociVersion: "1.2.0",
    root: { path: "rootfs" },
    linux: {
      seccomp: {
        defaultAction: "SCMP_ACT_ERRNO",
        defaultErrnoRet: 95,
        architectures: ["SCMP_ARCH_X86"],
        syscalls: [
          { names: ["execve", "no_such_call", "read"], action: "SCMP_ACT_ALLOW" },
          { names: ["write"], action: "SCMP_ACT_KILL_PROCESS", args },
        ],
      },
    },
  }),
);

function seccomp(...words: string[]) {
  const done = Bun.spawnSync({ cmd: [process.execPath, main, "seccomp", ...words], cwd: home });
  return { status: done.exitCode, out: done.stdout.toString(), error: done.stderr.toString() };
}

const skip = process.arch !== "x64";
if (skip) console.log("skipped, answers for a call: their numbers are x86-64's");

test.skipIf(skip)("the program, and what is passed over", () => {
  const { status, out } = seccomp("show");
  expect(status).toBe(0);
  const lines = out.trimEnd().split("\n");
  expect(lines.slice(0, 3)).toEqual([
    `# ${lines.length - 3} instructions of 4096; jumps: to where when it holds, to where when not`,
    "# architectures: SCMP_ARCH_X86_64 0xc000003e, SCMP_ARCH_X86 0x40000003",
    "# no system calls, passed over: no_such_call",
  ]);
  expect(lines.slice(3, 5)).toEqual([
    "   0  ld   [4]  # arch",
    expect.stringMatching(/^ {3}1 {2}jeq {2}0xc000003e, \d+, \d+$/),
  ]);
  expect(out).toContain("# args[1] + 4\n");
  expect(out).toMatch(/ret {2}0x5005f {2}# SCMP_ACT_ERRNO EOPNOTSUPP\n/);
});

const QUESTIONS: readonly (readonly [question: string, answer: string])[] = [
  ["show --syscall read", "SCMP_ACT_ALLOW (linux.seccomp.syscalls[0])"],
  [`--syscall read show ${home}`, "SCMP_ACT_ALLOW (linux.seccomp.syscalls[0])"],
  ["show config.json --syscall write", "SCMP_ACT_ERRNO EOPNOTSUPP (linux.seccomp.defaultAction)"],
  ["show --syscall write --arg 1=0x1ff00000000", "SCMP_ACT_KILL_PROCESS (linux.seccomp.syscalls[1])"],
  ["show --syscall 500", "SCMP_ACT_ERRNO ENOSYS (newer than all that the profile names)"],
  ["show --arch x86 --syscall read", "SCMP_ACT_ALLOW (linux.seccomp.syscalls[0])"],
];
for (const [question, answer] of QUESTIONS) {
  test.skipIf(skip)(question, () => {
    expect(seccomp(...question.split(" "))).toEqual({ status: 0, out: `${answer}\n`, error: "" });
  });
}

const MISTAKES: readonly (readonly [question: string, says: string])[] = [
  ["hide", 'cannot "hide" a seccomp profile: should be show [CONFIG]'],
  ["show --syscall nonsense", '"nonsense" is no system call of SCMP_ARCH_X86_64 (--syscall)'],
  ["show --syscall read --arg 6=1", 'cannot use "6=1" as an argument: should be INDEX=VALUE (--arg)'],
  ["show --syscall read --arg 1=18446744073709551616", "should be INDEX=VALUE (--arg)"],
  ["show --syscall read --arch arm", "the profile has SCMP_ARCH_X86_64, SCMP_ARCH_X86 (--arch)"],
  ["show nowhere.json", 'cannot read "nowhere.json": no such file or directory'],
  ["show --wrong", 'cannot understand "--wrong"'],
];
for (const [question, says] of MISTAKES) {
  test.skipIf(skip)(`mistake: ${question}`, () => {
    const { status, error } = seccomp(...question.split(" "));
    expect([status, error.includes(says) ? says : error]).toEqual([1, says]);
  });
}
