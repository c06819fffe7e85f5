import { expect, test } from "bun:test";
import { deviceModel, deviceText } from "./device-rules.ts";
import { systemdDeviceAllow } from "./device-systemd.ts";

test("every exception that systemd can express", () => {
  const { model } = deviceModel([
    { allow: true, type: "c", major: 195, access: "rw" },
    { allow: true, type: "b", major: 8, minor: 1, access: "r" },
    { allow: true, type: "c", minor: 7 },
  ]);
  const { DevicePolicy, DeviceAllow, missing } = systemdDeviceAllow(model);
  expect(DevicePolicy).toBe("strict");
  expect(DeviceAllow.slice(0, 5)).toEqual([
    ["char-195", "rw"],
    ["/dev/block/8:1", "r"],
    ["char-*", "m"],
    ["block-*", "m"],
    ["/dev/char/1:3", "rwm"],
  ]);
  expect(DeviceAllow).toContainEqual(["char-136", "rwm"]);
  expect(missing.map(deviceText)).toEqual(["c *:7 rwm"]);
});

test("a list of what is denied is left to tsrun", () => {
  const { model } = deviceModel([{ allow: true }, { allow: false, type: "c", major: 10, minor: 229 }]);
  expect(systemdDeviceAllow(model)).toMatchObject({ DevicePolicy: "auto", DeviceAllow: [] });
  expect(systemdDeviceAllow(model).missing.map(deviceText)).toEqual(["c 10:229 rwm"]);
  expect(systemdDeviceAllow(deviceModel([{ allow: true }]).model).missing).toEqual([]);
});
