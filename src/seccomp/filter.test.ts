import { expect, test } from "bun:test";
import type { Seccomp, SeccompAction } from "../spec/types.ts";
import { architecture } from "./architectures.ts";
import { disassemble, returnName } from "./disassemble.ts";
import { filterOf, mustAllowCapset } from "./filter.ts";
import { interpret } from "./interpret.ts";
import { unknownNames } from "./unknown-names.ts";

const X86_64 = "SCMP_ARCH_X86_64";

function profile(defaultAction: SeccompAction, action: SeccompAction, names: string[], more: object = {}): Seccomp {
  return { defaultAction, syscalls: [{ names, action }], ...more };
}

test("flags: those that are given, SPEC_ALLOW where there is no list", () => {
  const flags = (flags?: Seccomp["flags"]) =>
    filterOf({ defaultAction: "SCMP_ACT_ALLOW", ...(flags && { flags }) }, X86_64).flags;
  expect(flags()).toBe(4);
  expect(flags([])).toBe(0);
  expect(flags(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])).toBe(0x22);
  // The process has one thread.
  expect(flags(["SECCOMP_FILTER_FLAG_TSYNC"])).toBe(0);
});

test("what the container's own start needs", () => {
  const error = /denies execve, which the container's own start needs \(linux\.seccomp\)/;
  expect(() => filterOf(profile("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", ["execve"]), X86_64)).toThrow(error);
  expect(() => filterOf(profile("SCMP_ACT_KILL", "SCMP_ACT_ALLOW", ["read"]), X86_64)).toThrow(error);
  expect(filterOf(profile("SCMP_ACT_KILL", "SCMP_ACT_ALLOW", ["execve"]), X86_64).isMute).toBe(true);
  const args = [{ index: 0, value: 0, op: "SCMP_CMP_NE" as const }];
  const conditional = { syscalls: [{ names: ["execve"], action: "SCMP_ACT_ALLOW" as const, args }] };
  expect(filterOf({ defaultAction: "SCMP_ACT_ERRNO", ...conditional }, X86_64).notifies).toBe(false);
});

test("what a listener needs", () => {
  const asking = (allowed: string[]): Seccomp => ({
    defaultAction: "SCMP_ACT_ERRNO",
    syscalls: [
      { names: ["execve", ...allowed], action: "SCMP_ACT_ALLOW" },
      { names: ["mkdir"], action: "SCMP_ACT_NOTIFY" },
    ],
  });
  expect(() => filterOf(asking(["write"]), X86_64)).toThrow("denies recvfrom, which handing over the listener needs");
  const { notifies, isMute } = filterOf(asking(["write", "recvfrom"]), X86_64);
  expect([notifies, isMute]).toEqual([true, false]);
});

test("what giving up privileges after the filter needs", () => {
  const CAPSET = 126;
  const check = (action: SeccompAction, names: string[]) => () =>
    mustAllowCapset(filterOf(profile("SCMP_ACT_ALLOW", action, names), X86_64), X86_64, CAPSET);
  for (const action of ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"] as const) {
    expect(check(action, ["capset"])).toThrow("denies capset, which the container's own start needs (linux.seccomp)");
    expect(check(action, ["capget"])).not.toThrow();
  }
  expect(check("SCMP_ACT_LOG", ["capset"])).not.toThrow();
  expect(check("SCMP_ACT_NOTIFY", ["capset"])).not.toThrow();
});

test("a disassembly of every instruction", () => {
  const args = [
    { index: 0, value: 6, valueTwo: 4, op: "SCMP_CMP_MASKED_EQ" as const },
    { index: 5, value: 1n << 40n, op: "SCMP_CMP_GT" as const },
  ];
  const { program } = filterOf(
    { defaultAction: "SCMP_ACT_ALLOW", syscalls: [{ names: ["read"], action: "SCMP_ACT_ERRNO", args }] },
    X86_64,
  );
  const text = disassemble(program).join("\n");
  for (const part of [
    "ld   [4]  # arch",
    "# nr",
    "# args[0]",
    "# args[5] + 4",
    "and  0x6",
    "jgt  0x100, ",
    "jeq  ",
    "jge  ",
  ]) {
    expect(text).toContain(part);
  }
  expect(disassemble(Uint8Array.of(0x05, 0, 0, 0, 7, 0, 0, 0, 0x99, 0, 1, 2, 3, 0, 0, 0))).toEqual([
    "   0  ja   8",
    "   1  0x99  0x3, 3, 4",
  ]);
});

test("names of what a filter returns", () => {
  const values = [
    0x80000000,
    0,
    0x30000,
    0x50001,
    0x50000,
    0x50000 + 4000,
    0x7fc00000,
    0x7ff00007,
    0x7ffc0000,
    0x7fff0000,
    0x12340000,
  ];
  expect(values.map(returnName)).toEqual([
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO EPERM",
    "SCMP_ACT_ERRNO 0",
    expect.stringMatching(/^SCMP_ACT_ERRNO (errno )?4000$/),
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE 7",
    "SCMP_ACT_LOG",
    "SCMP_ACT_ALLOW",
    "an action that tsrun does not know",
  ]);
});

test("the interpreter refuses what the kernel does", () => {
  const call = { number: 0, token: architecture(X86_64).token, args: [] };
  expect(() => interpret(Uint8Array.of(0x20, 0, 0, 0, 0, 0, 0, 0), call)).toThrow("ends at 1 without a return");
  expect(() => interpret(Uint8Array.of(0x99, 0, 0, 0, 0, 0, 0, 0), call)).toThrow(
    "instruction 0 has an unknown code, 0x99",
  );
});

test("names that are no system calls", () => {
  const names = ["read", "s390_pci_mmio_read", "cacheflush", "socketcall", "reed", "__proto__", "reed"];
  expect(unknownNames(profile("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", names))).toEqual(["reed", "__proto__"]);
  expect(unknownNames({ defaultAction: "SCMP_ACT_ALLOW" })).toEqual([]);
});
