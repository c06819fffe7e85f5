import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { SECCOMP_ARCHITECTURES } from "../spec/seccomp-names.ts";
import type { Seccomp, SeccompAction, SeccompArch } from "../spec/types.ts";
import { architecture } from "./architectures.ts";
import { compileSeccomp } from "./compile.ts";
import { compareWithLibseccomp } from "./figures-under-test.ts";
import { interpret } from "./interpret.ts";
import { noLibseccomp, numberOf, tokenOf } from "./libseccomp-under-test.ts";

const X86_64 = "SCMP_ARCH_X86_64";
const ALLOW = 0x7fff0000;
const EPERM = 0x50001;
const ENOSYS = 0x50026;

/** What the compiled profile says of a call on x86-64, or on another architecture. */
function verdict(
  profile: Seccomp,
  name: string | number,
  args: readonly bigint[] = [],
  on: SeccompArch = X86_64,
): number {
  const { token, numbers } = architecture(on);
  const number = typeof name === "number" ? name : numbers.get(name)!;
  return interpret(compileSeccomp(profile, X86_64), { number, token, args }).returns;
}

const rule = (names: readonly string[], action: SeccompAction, more: object = {}) => ({
  names: [...names],
  action,
  ...more,
});
const deny = (...syscalls: ReturnType<typeof rule>[]): Seccomp => ({ defaultAction: "SCMP_ACT_ERRNO", syscalls });
const allow = (...syscalls: ReturnType<typeof rule>[]): Seccomp => ({ defaultAction: "SCMP_ACT_ALLOW", syscalls });

test("actions and their data", () => {
  const profile = allow(
    rule(["read"], "SCMP_ACT_ERRNO", { errnoRet: 5 }),
    rule(["write"], "SCMP_ACT_TRACE", { errnoRet: 7 }),
    rule(["open"], "SCMP_ACT_KILL"),
    rule(["close"], "SCMP_ACT_KILL_PROCESS"),
    rule(["stat"], "SCMP_ACT_TRAP"),
    rule(["fstat"], "SCMP_ACT_LOG"),
    rule(["lstat"], "SCMP_ACT_NOTIFY"),
    rule(["poll"], "SCMP_ACT_KILL_THREAD"),
  );
  const names = ["read", "write", "open", "close", "stat", "fstat", "lstat", "poll", "lseek"];
  expect(names.map((name) => verdict(profile, name))).toEqual([
    0x50005,
    0x7ff00007,
    0,
    0x80000000,
    0x30000,
    0x7ffc0000,
    0x7fc00000,
    0,
    ALLOW,
  ]);
});

test("errnoRet 0 is success without the call; defaultErrnoRet is the default's", () => {
  const profile: Seccomp = {
    ...deny(rule(["read"], "SCMP_ACT_ERRNO", { errnoRet: 0 }), rule(["mseal"], "SCMP_ACT_ALLOW")),
    defaultErrnoRet: 38,
  };
  expect(verdict(profile, "read")).toBe(0x50000);
  expect(verdict(profile, "write")).toBe(ENOSYS);
});

describe("calls newer than the profile", () => {
  test("do not exist where the default denies", () => {
    const profile = deny(rule(["read", "openat2"], "SCMP_ACT_ALLOW"));
    expect(verdict(profile, "close_range")).toBe(EPERM);
    expect(verdict(profile, "openat2")).toBe(ALLOW);
    expect(verdict(profile, "pidfd_getfd")).toBe(ENOSYS);
    expect(verdict(profile, 5000)).toBe(ENOSYS);
  });

  test("are counted by all names, also those that say the same as the default", () => {
    const profile = deny(rule(["read"], "SCMP_ACT_ALLOW"), rule(["mseal"], "SCMP_ACT_ERRNO"));
    expect(verdict(profile, "mseal")).toBe(EPERM);
    expect(verdict(profile, "openat2")).toBe(EPERM);
  });

  for (const defaultAction of ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"] as const) {
    test(`get the default action ${defaultAction}`, () => {
      const profile = { defaultAction, syscalls: [rule(["read"], "SCMP_ACT_KILL")] };
      expect(verdict(profile, 5000)).toBe(verdict(profile, "write"));
      expect(verdict(profile, 5000)).not.toBe(ENOSYS);
    });
  }

  test("s390's calls of large numbers arrive as 0 where the kernel does not know them", () => {
    const profile = { ...deny(rule(["read"], "SCMP_ACT_ALLOW")), architectures: ["SCMP_ARCH_S390X" as const] };
    const { token } = architecture("SCMP_ARCH_S390X");
    expect(interpret(compileSeccomp(profile, X86_64), { number: 0, token, args: [] }).returns).toBe(ENOSYS);
  });
});

describe("architectures", () => {
  test("that the profile does not name are killed, x32 too", () => {
    const profile = allow(rule(["read"], "SCMP_ACT_ERRNO"));
    expect(verdict(profile, "write", [], "SCMP_ARCH_X86")).toBe(0);
    expect(verdict(profile, "write", [], "SCMP_ARCH_X32")).toBe(0);
    expect(verdict(profile, 0xffffffff)).toBe(ALLOW);
  });

  test("have numbers of their own", () => {
    const profile: Seccomp = {
      ...allow(rule(["read"], "SCMP_ACT_ERRNO")),
      architectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
    };
    for (const name of ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", X86_64] as const) {
      expect([verdict(profile, "read", [], name), verdict(profile, "write", [], name)]).toEqual([EPERM, ALLOW]);
    }
  });

  test("of 32 bits compare the lower half only", () => {
    const args = [{ index: 0, op: "SCMP_CMP_EQ", value: 5n }];
    const profile: Seccomp = { ...deny(rule(["read"], "SCMP_ACT_ALLOW", { args })), architectures: ["SCMP_ARCH_X86"] };
    expect(verdict(profile, "read", [0x100000005n], "SCMP_ARCH_X86")).toBe(ALLOW);
    expect(verdict(profile, "read", [0x100000005n])).toBe(EPERM);
  });

  test("of the other byte order have the upper half first", () => {
    const args = [{ index: 0, op: "SCMP_CMP_GT", value: 0x100000005n }];
    const { token, numbers } = architecture("SCMP_ARCH_S390X");
    const profile: Seccomp = {
      ...deny(rule(["read"], "SCMP_ACT_ALLOW", { args })),
      architectures: ["SCMP_ARCH_S390X"],
    };
    const program = compileSeccomp(profile, X86_64);
    const says = (argument: bigint) =>
      interpret(program, { number: numbers.get("read")!, token, args: [argument] }, true).returns;
    expect([0x100000006n, 0x200000000n, 0x100000005n, 0xfffffffffn & 0xffffffffn].map(says)).toEqual([
      ALLOW,
      ALLOW,
      EPERM,
      EPERM,
    ]);
  });

  test("reach socketcall and ipc", () => {
    const profile: Seccomp = {
      ...allow(rule(["socket", "shmat"], "SCMP_ACT_ERRNO")),
      architectures: ["SCMP_ARCH_X86"],
    };
    const says = (name: string, operation: bigint) => verdict(profile, name, [operation], "SCMP_ARCH_X86");
    expect([says("socketcall", 1n), says("socketcall", 2n), says("ipc", 21n), says("ipc", 22n)]).toEqual([
      EPERM,
      ALLOW,
      EPERM,
      ALLOW,
    ]);
  });
});

describe("rules", () => {
  const isZero = [{ index: 0, op: "SCMP_CMP_EQ", value: 0 }];

  test("without a condition win over those with one, in either order", () => {
    const conditional = rule(["read"], "SCMP_ACT_ERRNO", { args: isZero });
    const plain = rule(["read"], "SCMP_ACT_KILL");
    expect(verdict(allow(conditional, plain), "read", [0n])).toBe(0);
    expect(verdict(allow(plain, conditional), "read", [0n])).toBe(0);
  });

  test("with two conditions on an argument are two rules", () => {
    const args = [...isZero, { index: 0, op: "SCMP_CMP_EQ", value: 2 }];
    const profile = allow(rule(["read"], "SCMP_ACT_ERRNO", { args }));
    expect([0n, 1n, 2n].map((n) => verdict(profile, "read", [n]))).toEqual([EPERM, ALLOW, EPERM]);
  });

  test("with conditions on several arguments need all of them", () => {
    const args = [...isZero, { index: 5, op: "SCMP_CMP_GE", value: 2n ** 63n }];
    const profile = allow(rule(["read"], "SCMP_ACT_ERRNO", { args }));
    const says = (first: bigint, sixth: bigint) => verdict(profile, "read", [first, 0n, 0n, 0n, 0n, sixth]);
    expect([says(0n, 2n ** 63n), says(0n, 2n ** 63n - 1n), says(1n, 2n ** 63n)]).toEqual([EPERM, ALLOW, ALLOW]);
  });

  test("of unknown names are passed over, __proto__ too", () => {
    expect(verdict(allow(rule(["__proto__", "constructor", "nonsense"], "SCMP_ACT_KILL")), "read")).toBe(ALLOW);
  });

  test("that say the same as the default cost nothing", () => {
    const plain = compileSeccomp(allow(), X86_64);
    expect(compileSeccomp(allow(rule(["read", "openat"], "SCMP_ACT_ALLOW")), X86_64)).toEqual(plain);
  });
});

/** As many conditions on one call; none says the same as another. */
function many(count: number): Seccomp {
  const args = Array.from({ length: count }, (_, i) => ({ index: 0, op: "SCMP_CMP_EQ", value: BigInt(i) << 32n }));
  return allow(rule(["read"], "SCMP_ACT_ERRNO", { args }));
}

test("jumps of more than 255 instructions", () => {
  const profile = many(700);
  for (const [value, wanted] of [[0n, EPERM] as const, [699n, EPERM] as const, [700n, ALLOW] as const]) {
    expect(verdict(profile, "read", [value << 32n])).toBe(wanted);
  }
  expect(verdict(profile, "write")).toBe(ALLOW);
});

test("more than 4,096 instructions are refused", () => {
  expect(() => compileSeccomp(many(5000), X86_64)).toThrow(/instructions, the kernel takes 4096 \(linux\.seccomp\)/);
});

describe("the profiles of engines", () => {
  for (const engine of ["docker-29", "docker-20.10", "podman-4.3", "cri-containerd2.3-kubelet-container"]) {
    const text = readFileSync(resolve(import.meta.dir, `../spec/testdata/${engine}.json`), "utf8");
    const profile: Seccomp = JSON.parse(text).linux.seccomp;

    test.skipIf(noLibseccomp !== undefined)(
      `${engine}: as libseccomp's, a third as long, and less of it for a call`,
      () => {
        const { ours, theirs, different } = compareWithLibseccomp(profile, X86_64);
        expect(different).toEqual([]);
        expect(ours.instructions).toBeLessThan(theirs.instructions / 3);
        expect(ours.path).toBeLessThan(theirs.path);
      },
    );
  }
});

/** Debian's libseccomp (2.5.4) has no others. */
const ALL = SECCOMP_ARCHITECTURES.filter((name) => !/_(LOONGARCH64|M68K|SH|SHEB)$/.test(name));

test.skipIf(noLibseccomp !== undefined)("tokens and numbers are libseccomp's", () => {
  const different: string[] = [];
  for (const name of ALL) {
    const { token, numbers } = architecture(name);
    let known = 0;
    for (const [call, number] of numbers) {
      const theirs = numberOf(tokenOf(name, token), call);
      if (theirs >= 0) known++;
      if (theirs >= 0 && theirs !== number) different.push(`${name} ${call}: ${number}, libseccomp ${theirs}`);
    }
    expect(known).toBeGreaterThan(300);
  }
  expect(different).toEqual([]);
});

test("architectures that this libseccomp does not have yet", () => {
  const seen = (["SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K", "SCMP_ARCH_SH", "SCMP_ARCH_SHEB"] as const).map((name) => {
    const { token, numbers } = architecture(name);
    return [token.toString(16), numbers.get("openat"), numbers.get("execve"), numbers.get("clone3")];
  });
  expect(seen).toEqual([
    ["c0000102", 56, 221, 435],
    ["4", 288, 11, 435],
    ["4000002a", 295, 11, undefined],
    ["2a", 295, 11, undefined],
  ]);
});
