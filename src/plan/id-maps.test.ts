import { expect, test } from "bun:test";
import type { HostFacts } from "../host/facts.ts";
import type { IdMapping, Linux } from "../spec/types.ts";
import { losesSetgroups, mapText, needsMapTools, planIdMaps } from "./id-maps.ts";
import { printProgram, testContext } from "./test-printer.ts";

function planned(linux: Linux, facts: Partial<HostFacts> = {}) {
  const context = testContext({ linux }, facts);
  planIdMaps(context);
  return context.attach;
}

const map = (containerID: number, hostID: number, size: number): IdMapping => ({ containerID, hostID, size });

const own: Linux = {
  namespaces: [{ type: "user" }],
  uidMappings: [map(0, 1000, 1)],
  gidMappings: [map(0, 1001, 1)],
};
const mapped: Linux = { ...own, uidMappings: [map(0, 1000, 1), map(1, 100000, 65536)] };
const someone: Partial<HostFacts> = { euid: 1000, egid: 1001, effectiveCapabilities: 0n };

test("root writes them itself, each in one write", () => {
  const attach = planned(mapped);
  expect(printProgram(attach)).toEqual([
    '$uid_map = openat(-100, "/proc/" $init "/uid_map", 0x80001, 0)',
    'write($uid_map, "0 1000 1\\n1 100000 65536\\n", 0x18)',
    "close($uid_map)",
    '$gid_map = openat(-100, "/proc/" $init "/gid_map", 0x80001, 0)',
    'write($gid_map, "0 1001 1\\n", 9)',
    "close($gid_map)",
  ]);
  expect(attach.steps[1]!.pointer).toBe("/linux/uidMappings");
  expect(attach.steps[1]!.what).toBe("map user id 0 to 1000, 1-65536 to 100000-165535");
});

test("a user maps its own ids, and gives up setgroups before the groups", () => {
  expect(printProgram(planned(own, someone))).toEqual([
    '$uid_map = openat(-100, "/proc/" $init "/uid_map", 0x80001, 0)',
    'write($uid_map, "0 1000 1\\n", 9)',
    "close($uid_map)",
    '$setgroups = openat(-100, "/proc/" $init "/setgroups", 0x80001, 0)',
    'write($setgroups, "deny", 4)',
    "close($setgroups)",
    '$gid_map = openat(-100, "/proc/" $init "/gid_map", 0x80001, 0)',
    'write($gid_map, "0 1001 1\\n", 9)',
    "close($gid_map)",
  ]);
});

test.each([
  ["more lines", [map(0, 1001, 1), map(1, 100000, 65536)]],
  ["more ids", [map(0, 1001, 2)]],
  ["another id", [map(0, 1000, 1)]],
])("a user with %s has newgidmap, and so setgroups", (_, gidMappings) => {
  const linux = { ...mapped, gidMappings };
  const attach = planned(linux, someone);
  expect(printProgram(attach)).toEqual([
    'execve("/usr/bin/newuidmap", ["newuidmap", $init, "0", "1000", "1", "1", "100000", "65536"], 0)',
    `execve("/usr/bin/newgidmap", ["newgidmap", $init, ${gidMappings
      .flatMap(({ containerID, hostID, size }) => [containerID, hostID, size].map((one) => `"${one}"`))
      .join(", ")}], 0)`,
  ]);
  expect(attach.steps[1]!.pointer).toBe("/linux/gidMappings");
  expect(losesSetgroups({ ociVersion: "1.3.0", linux }, testContext({}, someone).facts)).toBeFalse();
});

test("what is looked for on the machine, and what a container cannot have", () => {
  const ask = (linux: Linux, facts: Partial<HostFacts>) => {
    const context = testContext({ linux }, facts);
    return [needsMapTools(context.config, context.facts), losesSetgroups(context.config, context.facts)];
  };
  expect(ask(mapped, someone)).toEqual([true, true]);
  expect(ask(own, someone)).toEqual([false, true]);
  expect(ask(mapped, {})).toEqual([false, false]);
  expect(ask({ ...mapped, namespaces: [{ type: "user", path: "/u" }] }, someone)).toEqual([false, false]);
  expect(ask({ ...mapped, namespaces: [] }, someone)).toEqual([false, false]);
});

test("the tools are where they were found", () => {
  const context = testContext({ linux: mapped }, someone);
  const mapTools = { newuidmap: "/opt/newuidmap", newgidmap: "/opt/newgidmap" };
  const found = { ...context, mapTools };
  planIdMaps(found);
  expect(found.attach.steps[0]!.args[0]).toBe("/opt/newuidmap");
});

test("of many ranges an error names the first; a map that is too long for the kernel says so", () => {
  const uidMappings = Array.from({ length: 300 }, (_, i) => map(i * 2, 1000000 + i * 2, 1));
  const [, write] = planned({ ...own, uidMappings }).steps;
  expect(write!.what).toBe("map user id 0 to 1000000, 2 to 1000002, 4 to 1000004 and 297 more");
  expect(write!.says!.EINVAL).toMatch(
    /: the map takes \d{4} bytes, and the kernel only one page.* \(linux\.uidMappings\)$/,
  );
  expect(planned(mapped).steps[1]!.says).toBeUndefined();
});

test("a joined user namespace has its maps already", () => {
  expect(planned({ ...mapped, namespaces: [{ type: "user", path: "/u" }] }).steps).toEqual([]);
});

test("mapText of nothing is nothing", () => {
  expect(mapText(undefined)).toBe("");
  expect(mapText([])).toBe("");
});
