import { expect, test } from "bun:test";
import { readText } from "../kernel/files.ts";
import { readFacts } from "./read-facts.ts";

function field(name: string): string {
  const status = readText("/proc/self/status");
  return new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(String(status))![1]!;
}

test("capabilities are those of /proc/self/status", () => {
  const facts = readFacts();
  expect(facts.effectiveCapabilities).toBe(BigInt(`0x${field("CapEff")}`));
  expect(facts.boundingCapabilities).toBe(BigInt(`0x${field("CapBnd")}`));
  expect(facts.lastCapability).toBe(Number(readText("/proc/sys/kernel/cap_last_cap")));
});

test("ids and the user namespace are the process's own", () => {
  const facts = readFacts();
  expect(String(facts.euid)).toBe(field("Uid"));
  const identity = /^\s*0\s+0\s+4294967295\s*$/.test(String(readText("/proc/self/uid_map")));
  if (!identity) expect(facts.inUserNamespace).toBe(true);
});

test("each cgroup hierarchy exists, with tsrun's own cgroup in it", () => {
  const { cgroup } = readFacts();
  for (const { mount, own } of cgroup.hierarchies) {
    expect(readText(`${mount}${own}/cgroup.procs`)).toBeString();
  }
  expect(cgroup.mode === "none").toBe(cgroup.hierarchies.length === 0);
});

test("the soft limit of open files does not exceed the hard one", () => {
  const { nofile } = readFacts();
  expect(nofile.soft).toBeGreaterThan(0);
  expect(nofile.soft).toBeLessThanOrEqual(nofile.hard);
});
