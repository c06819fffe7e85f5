import { afterEach, describe, expect, test } from "bun:test";
import type { CgroupFacts, CgroupHierarchy } from "../host/facts.ts";
import type { Config } from "../spec/types.ts";
import { chooseCgroupManager, systemdInstance, withProperties } from "./choose.ts";
import { propertyText } from "./unit-property.ts";

const v2: CgroupHierarchy = { version: 2, controllers: [], mount: "/c", own: "/a/session" };
const facts: CgroupFacts = { mode: "unified", hierarchies: [v2] };

function wanted(cgroupsPath: string | undefined, more: Partial<Config> = {}) {
  const config: Config = { ociVersion: "1.0.0", linux: cgroupsPath === undefined ? {} : { cgroupsPath }, ...more };
  return { config, id: "box", facts, mayGoWithout: false };
}

test("cgroupfs takes the path as it is", () => {
  const manager = chooseCgroupManager({ systemdCgroup: false, cgroupManager: "cgroupfs" }, "system");
  expect(manager.name).toBe("cgroupfs");
  expect(manager.place(wanted("/x")).directories).toEqual([{ hierarchy: v2, path: "/c/x" }]);
});

test("disabled has no place", () => {
  const manager = chooseCgroupManager({ systemdCgroup: false, cgroupManager: "disabled" }, "system");
  expect([manager.name, manager.place(wanted("/x")).directories]).toEqual(["disabled", []]);
});

describe("systemd", () => {
  const before = process.env.DBUS_SYSTEM_BUS_ADDRESS;
  afterEach(() => {
    if (before === undefined) delete process.env.DBUS_SYSTEM_BUS_ADDRESS;
    else process.env.DBUS_SYSTEM_BUS_ADDRESS = before;
  });

  test("is chosen by either option, and wins over disabled", () => {
    for (const wish of [
      { systemdCgroup: true, cgroupManager: "cgroupfs" },
      { systemdCgroup: true, cgroupManager: "disabled" },
      { systemdCgroup: false, cgroupManager: "systemd" },
    ] as const) {
      expect(chooseCgroupManager(wish, "system").name).toBe("systemd");
    }
  });

  test("that is not there is an error, but for a plan that is only printed", () => {
    process.env.DBUS_SYSTEM_BUS_ADDRESS = "unix:path=/nonexistent/socket";
    const wish = { systemdCgroup: true, cgroupManager: "cgroupfs" } as const;
    expect(() => chooseCgroupManager(wish, "system").place(wanted("a-b.slice:p:n"))).toThrow(
      "cannot ask systemd for a cgroup: cannot connect to the D-Bus socket unix:path=/nonexistent/socket: no such file",
    );
    const place = chooseCgroupManager(wish, "system", true).place(wanted("a-b.slice:p:n"));
    expect(place.directories).toEqual([{ hierarchy: v2, path: "/c/a.slice/a-b.slice/p-n.scope" }]);
    expect(place.scope).toMatchObject({ unit: "p-n.scope", slice: "a-b.slice", instance: "system" });
  });

  test("knows limits, and annotations have the last word", () => {
    process.env.DBUS_SYSTEM_BUS_ADDRESS = "unix:path=/nonexistent/socket";
    const manager = chooseCgroupManager({ systemdCgroup: true, cgroupManager: "cgroupfs" }, "system", true);
    const annotations = {
      "org.systemd.property.CollectMode": "'inactive'",
      "org.systemd.property.TimeoutStopSec": "5",
    };
    const request = wanted(undefined, { annotations, linux: { resources: { pids: { limit: 5 } } } });
    const scope = withProperties(manager.place(request).scope!, request, { "": "/c/x" });
    expect(scope.properties.map(propertyText)).toEqual([
      'Description="tsrun container box"',
      'Slice="system.slice"',
      "Delegate=true",
      "MemoryAccounting=true",
      "CPUAccounting=true",
      "TasksAccounting=true",
      "IOAccounting=true",
      "DefaultDependencies=false",
      'CollectMode="inactive"',
      "TasksMax=uint64 5",
      "TimeoutStopUSec=uint64 5000000",
    ]);
  });
});

test("without root it is the user's systemd; --rootless decides where it is given", () => {
  expect(systemdInstance("auto", 0, false)).toBe("system");
  expect(systemdInstance("auto", 1000, false)).toBe("user");
  expect(systemdInstance("true", 0, false)).toBe("user");
  expect(systemdInstance("false", 1000, false)).toBe("system");
});
