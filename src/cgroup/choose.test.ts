import { expect, test } from "bun:test";
import { chooseCgroupManager } from "./choose.ts";

test("cgroupfs and disabled are taken as they are", () => {
  expect(chooseCgroupManager({ systemdCgroup: false, cgroupManager: "cgroupfs" })).toBe("cgroupfs");
  expect(chooseCgroupManager({ systemdCgroup: false, cgroupManager: "disabled" })).toBe("disabled");
});

test("systemd is refused by either of its options", () => {
  expect(() => chooseCgroupManager({ systemdCgroup: true, cgroupManager: "cgroupfs" })).toThrow("systemd");
  expect(() => chooseCgroupManager({ systemdCgroup: false, cgroupManager: "systemd" })).toThrow("systemd");
});
