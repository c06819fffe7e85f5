import { expect, test } from "bun:test";
import fc from "fast-check";
import { deviceFilter } from "./device-filter.ts";
import { type DeviceWrite, deviceWrites, opensMeanwhile, parseDeviceList } from "./device-list.ts";
import {
  accessOf,
  allowsEverything,
  type DeviceModel,
  type DeviceRule,
  defaultDeviceRules,
  deviceModel,
  deviceText,
} from "./device-rules.ts";
import {
  type DeviceUse,
  disassemble,
  interpret,
  type KernelDevices,
  kernelDevices,
  unreachable,
} from "./device-rules-under-test.ts";

const number = fc.option(fc.constantFrom(-1, 0, 1, 2, 3, 5, 136), { nil: undefined });
const letters = fc.option(fc.constantFrom("r", "w", "m", "rw", "wr", "mr", "wm", "rwm", "mwr", "rr", ""), {
  nil: undefined,
});
const narrow: fc.Arbitrary<DeviceRule> = fc.record({
  allow: fc.boolean(),
  type: fc.constantFrom("b", "c"),
  major: number,
  minor: number,
  access: letters,
});
const forAll: fc.Arbitrary<DeviceRule> = fc.record({
  allow: fc.boolean(),
  type: fc.constantFrom("a", undefined, ""),
  major: number,
  minor: number,
  access: letters,
});
const rules = fc.array(fc.oneof({ weight: 6, arbitrary: narrow }, { weight: 1, arbitrary: forAll }), { maxLength: 12 });
const use: fc.Arbitrary<DeviceUse> = fc.record({
  type: fc.constantFrom("b", "c"),
  major: fc.constantFrom(0, 1, 2, 3, 4, 5, 10, 136, 4095),
  minor: fc.constantFrom(0, 1, 2, 3, 5, 136, 200, 1048575),
  access: fc.integer({ min: 0, max: 7 }),
});
const uses = fc.array(use, { minLength: 20, maxLength: 60 });

/** The rules written one by one to a cgroup that denies all, as the specification describes them. */
function written(list: readonly DeviceRule[], cgroup = kernelDevices()): KernelDevices {
  cgroup.write("devices.deny", "a");
  for (const { allow, type = "a", major = -1, minor = -1, access = "" } of list) {
    const number = (one: number) => (one === -1 ? "*" : String(one));
    const all = [...new Set(access === "" ? "rwm" : access)].join("");
    cgroup.write(`devices.${allow ? "allow" : "deny"}`, `${type || "a"} ${number(major)}:${number(minor)} ${all}`);
  }
  return cgroup;
}

/** True when an exception has some letters taken back and gets others. */
function gainAndLose(writes: readonly DeviceWrite[]): boolean {
  const devices = writes.map(({ text }) => text.split(" ").slice(0, 2).join(" "));
  return new Set(devices).size < devices.length;
}

/** Undefined for rules that are refused. */
function modelOf(list: readonly DeviceRule[]): DeviceModel | undefined {
  try {
    return deviceModel(list).model;
  } catch {
    return undefined;
  }
}

test("the program decides as a cgroup of v1 that the rules were written to, one by one", () => {
  fc.assert(
    fc.property(rules, uses, (list, uses) => {
      const model = modelOf(list);
      fc.pre(model !== undefined);
      const kernel = written([...list, ...defaultDeviceRules()]);
      const filter = disassemble(deviceFilter(model));
      expect(unreachable(filter)).toEqual([]);
      for (const use of uses) expect([use, interpret(filter, use).result]).toEqual([use, kernel.allows(use) ? 1 : 0]);
    }),
    { numRuns: 150 },
  );
});

test("the writes lead any cgroup there, and nothing is open on the way that is closed before and after", () => {
  fc.assert(
    fc.property(rules, rules, uses, (before, list, uses) => {
      const model = modelOf(list);
      fc.pre(model !== undefined);
      const cgroup = written(before);
      const current = parseDeviceList(cgroup.list());
      const old = written(before);
      const wanted = written([...list, ...defaultDeviceRules()]);
      // What a cgroup that allows by default denies cannot be read.
      const known = !(current.allowsByDefault && model.allowsByDefault);
      for (const { file, text } of deviceWrites(current, model)) {
        cgroup.write(file, text);
        if (opensMeanwhile(current, model)) continue;
        for (const use of uses) {
          if (cgroup.allows(use)) expect([use, old.allows(use) || wanted.allows(use)]).toEqual([use, true]);
        }
      }
      for (const use of uses) {
        if (known) expect([use, cgroup.allows(use)]).toEqual([use, wanted.allows(use)]);
        else if (cgroup.allows(use)) expect([use, wanted.allows(use)]).toEqual([use, true]);
      }
    }),
    { numRuns: 150 },
  );
});

test("from one list of what is allowed to another, what both allow is allowed all the time", () => {
  fc.assert(
    fc.property(rules, rules, uses, (before, after, uses) => {
      const [from, to] = [modelOf(before), modelOf(after)];
      fc.pre(from !== undefined && to !== undefined && !from.allowsByDefault && !to.allowsByDefault);
      const [old, cgroup, wanted] = [before, before, after].map((list) => written([...list, ...defaultDeviceRules()]));
      const writes = deviceWrites(from, to);
      fc.pre(!gainAndLose(writes));
      for (const { file, text } of writes) {
        cgroup!.write(file, text);
        for (const use of uses) {
          if (old!.allows(use) && wanted!.allows(use)) expect([use, cgroup!.allows(use)]).toEqual([use, true]);
        }
      }
      expect(cgroup!.list().split("\n").sort()).toEqual(wanted!.list().split("\n").sort());
    }),
    { numRuns: 100 },
  );
});

test("without rules: everything is denied but what runc allows every container", () => {
  const { model, warnings } = deviceModel(undefined);
  expect(warnings).toEqual([]);
  expect(model.allowsByDefault).toBe(false);
  expect(model.exceptions.map(deviceText).sort()).toEqual(
    [
      "b *:* m",
      "c *:* m",
      "c 1:3 rwm",
      "c 1:5 rwm",
      "c 1:7 rwm",
      "c 1:8 rwm",
      "c 1:9 rwm",
      "c 10:200 rwm",
      "c 136:* rwm",
      "c 5:0 rwm",
      "c 5:2 rwm",
    ].sort(),
  );
});

test("rules come before the default ones: no container is without /dev/null", () => {
  const { model } = deviceModel([
    { allow: true, access: "rwm" },
    { allow: false, type: "c", major: 1, minor: 3, access: "rw" },
  ]);
  expect(allowsEverything(model)).toBe(true);
});

test("letters in any order, again and again; none is all", () => {
  expect(["mwr", "rrr", "wm", "", undefined].map(accessOf)).toEqual([7, 2, 5, 7, 7]);
});

test("an exception is shown as the kernel shows it, and read back", () => {
  const text = "c 10:* rw\nb *:1 m\nb *:* rwm\n";
  const { exceptions } = parseDeviceList(text);
  expect(exceptions.map((one) => `${deviceText(one)}\n`).join("")).toBe(text);
  expect(parseDeviceList("a *:* rwm\n")).toEqual({ allowsByDefault: true, exceptions: [] });
});

test("a rule for all devices that is narrower to the eye is warned of", () => {
  const { model, warnings } = deviceModel([{ allow: true, major: 10, minor: 4, access: "r" }]);
  expect(allowsEverything(model)).toBe(true);
  expect(warnings).toEqual([
    'linux.resources.devices[0] allows every access to every device: type "a" (or none) leaves major, minor and access aside',
  ]);
});

test("a part of a wider exception cannot be taken back", () => {
  const list: DeviceRule[] = [
    { allow: true, type: "c", major: 10 },
    { allow: false, type: "c", major: 10, minor: 5, access: "w" },
  ];
  expect(() => deviceModel(list)).toThrow(
    'cannot deny device "c 10:5 w": "c 10:* rwm" is allowed as a whole by linux.resources.devices[0] (linux.resources.devices[1])',
  );
});

test("a wide denial that meets what every container gets is refused where it is written", () => {
  const list: DeviceRule[] = [{ allow: true }, { allow: false, type: "c", access: "w" }];
  expect(() => deviceModel(list)).toThrow(
    'cannot allow device "c 1:3 rwm", which every container gets: "c *:* w" is denied as a whole by linux.resources.devices[1]',
  );
});

test("a denial that takes back nothing of a narrower rule is warned of", () => {
  const { warnings } = deviceModel([
    { allow: true, type: "c", major: 3, minor: 1 },
    { allow: false, type: "c", major: 3, access: "r" },
  ]);
  expect(warnings).toEqual([
    'linux.resources.devices[1] does not take back the narrower rule linux.resources.devices[0]: "c 3:1 r" stays allowed',
  ]);
});

test("from a list of what is denied to one of what is allowed, nothing is open on the way", () => {
  const denied = deviceModel([{ allow: true }, { allow: false, type: "c", major: 10, minor: 229 }]).model;
  expect(deviceWrites(denied, parseDeviceList("c 1:3 rwm\n")).map(({ file, text }) => `${file} ${text}`)).toEqual([
    "devices.deny a",
    "devices.allow c 1:3 rwm",
  ]);
});

test("from one list of what is denied to another, what is known to be there is taken back", () => {
  const one = deviceModel([{ allow: true }, { allow: false, type: "c", major: 10, minor: 229 }]).model;
  const other = deviceModel([{ allow: true }, { allow: false, type: "c", major: 10, minor: 228 }]).model;
  expect(deviceWrites(one, other).map(({ file, text }) => `${file} ${text}`)).toEqual([
    "devices.deny c 10:228 rwm",
    "devices.allow c 10:229 rwm",
  ]);
});

test("a cgroup that allows all and is to deny something is never told to allow all again", () => {
  const denied = deviceModel([{ allow: true }, { allow: false, type: "c", major: 10, minor: 229 }]).model;
  expect(deviceWrites(parseDeviceList("a *:* rwm\n"), denied).map(({ file, text }) => `${file} ${text}`)).toEqual([
    "devices.deny c 10:229 rwm",
  ]);
});

test("a cgroup that denies something already is changed by the difference", () => {
  const current = parseDeviceList("c 1:3 rwm\nc 10:1 rw\n");
  const target = parseDeviceList("c 1:3 rwm\nc 10:1 r\nb 8:0 r\n");
  expect(deviceWrites(current, target).map(({ file, text }) => `${file} ${text}`)).toEqual([
    "devices.allow b 8:0 r",
    "devices.deny c 10:1 w",
  ]);
});

test("the program is short, and shortest for what is used most", () => {
  const list: DeviceRule[] = [{ allow: false, access: "rwm" }];
  for (let i = 0; i < 60; i++) list.push({ allow: true, type: "c", major: 200 + (i % 7), minor: i, access: "rw" });
  const bytes = deviceFilter(deviceModel(list).model);
  const filter = disassemble(bytes);
  expect(filter.length).toBeLessThan(150);
  const steps = (major: number, minor: number) => interpret(filter, { type: "c", major, minor, access: 6 }).steps;
  expect(steps(1, 3)).toBeLessThan(25);
  expect(steps(136, 7)).toBeLessThan(30);
});

test("a very long list of one major number is cut into parts that jumps can cross", () => {
  const list: DeviceRule[] = [];
  for (let minor = 0; minor < 70_000; minor++) list.push({ allow: true, type: "b", major: 259, minor, access: "rw" });
  const filter = disassemble(deviceFilter(deviceModel(list).model));
  expect(unreachable(filter)).toEqual([]);
  for (const minor of [0, 29_999, 30_000, 60_001, 69_999]) {
    expect(interpret(filter, { type: "b", major: 259, minor, access: 6 }).result).toBe(1);
  }
  expect(interpret(filter, { type: "b", major: 259, minor: 70_000, access: 6 }).result).toBe(0);
  expect(interpret(filter, { type: "c", major: 10, minor: 200, access: 6 }).result).toBe(1);
});

test("below a cgroup that allows less, the writes are those that the kernel takes or refuses", () => {
  const child = written([...defaultDeviceRules(), { allow: true, type: "c", major: 10, minor: 1 }]).child();
  const current = parseDeviceList(child.list());
  const { model } = deviceModel([{ allow: true, type: "c", major: 10, minor: 1, access: "r" }]);
  const writes = deviceWrites(current, model);
  expect(writes.map(({ file, text }) => `${file} ${text}`)).toEqual(["devices.deny c 10:1 wm"]);
  for (const { file, text } of writes) child.write(file, text);
  expect(child.list()).toContain("c 10:1 r\n");
  const [more] = deviceWrites(current, deviceModel([{ allow: true, type: "b", major: 8 }]).model);
  expect(() => child.write(more!.file, more!.text)).toThrow("EPERM");
  const [all] = deviceWrites(current, deviceModel([{ allow: true }]).model);
  expect(() => child.write(all!.file, all!.text)).toThrow("EPERM");
});
