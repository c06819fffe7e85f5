import { expect, test } from "bun:test";
import { slot } from "./step.ts";
import { planSysctl, sysctlPath } from "./sysctl.ts";
import { printProgram, testContext } from "./test-printer.ts";

for (const [name, path] of [
  ["net.ipv4.ip_forward", "net/ipv4/ip_forward"],
  ["net/ipv4/ip_forward", "net/ipv4/ip_forward"],
  ["net.ipv4.conf.eth0/1.rp_filter", "net/ipv4/conf/eth0.1/rp_filter"],
  ["net/ipv4/conf/eth0.1/rp_filter", "net/ipv4/conf/eth0.1/rp_filter"],
  ["plain", "plain"],
] as const) {
  test(`${name} is ${path}`, () => expect(sysctlPath(name)).toBe(path));
}

test("nothing asked for, nothing done", () => {
  const context = testContext({ linux: { sysctl: {} } });
  planSysctl(context);
  expect(context.build.steps).toEqual([]);
});

test("written through a procfs of its own, below it, on no other mount, through no link", () => {
  const context = testContext({ linux: { sysctl: { "kernel.msgmax": "65536" } } });
  planSysctl(context);
  expect(printProgram(context.build)).toEqual([
    '$procfs context = fsopen("proc", 1) ? EPERM EACCES →3',
    "fsconfig($procfs context, 6, 0, 0, 0) ? EPERM EACCES →3",
    "$private procfs = fsmount($procfs context, 1, 0) ? EPERM EACCES →3 +→4",
    '$private procfs = openat(-100, "/proc", 0x290000, 0)',
    '$sysctl = openat2($private procfs, "sys/kernel/msgmax", {0x80001, 0, 0xf}, 0x18)',
    'write($sysctl, "65536", 5)',
    "close($sysctl)",
    "close($private procfs)",
  ]);
});

test("through the one that is open for labels already, and is needed after", () => {
  const context = testContext({ linux: { sysctl: { "kernel.msgmax": "65536" } } });
  context.procfs.mount = slot(context.slots, "procfs of labels");
  planSysctl(context);
  expect(printProgram(context.build)).toEqual([
    '$sysctl = openat2($procfs of labels, "sys/kernel/msgmax", {0x80001, 0, 0xf}, 0x18)',
    'write($sysctl, "65536", 5)',
    "close($sysctl)",
  ]);
});

test("errors name the key as config.json has it", () => {
  const context = testContext({ linux: { sysctl: { "net/a~b": "1" } } });
  planSysctl(context);
  expect(context.build.steps[4]).toMatchObject({
    pointer: "/linux/sysctl/net~1a~0b",
    what: 'set sysctl "net/a~b" to "1"',
  });
});
