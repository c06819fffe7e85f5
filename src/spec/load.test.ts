import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { TsrunError } from "../errors.ts";
import { defaultConfig } from "./default-config.ts";
import { InvalidDocument } from "./fault.ts";
import { parseConfig, parseProcess, parseResources, parseSavedResources } from "./load.ts";
import { config as model } from "./model/config.ts";

const DEFAULT = JSON.stringify(defaultConfig(), null, 2);

function refusal(text: string): InvalidDocument {
  try {
    parseConfig(text, "config.json");
  } catch (error) {
    if (error instanceof InvalidDocument) return error;
    throw error;
  }
  throw new Error("was accepted");
}

function message(text: string): string {
  return refusal(text).message;
}

test("of what was saved, limits with all of their digits, and device rules when they are asked for", () => {
  const saved = (resources: string) => DEFAULT.replace(/"resources": \{[\s\S]*?\n {4}\}/, `"resources": ${resources}`);
  const text = saved('{"memory":{"limit":9007199254740993},"devices":[{"allow":false,"access":"rwm"}]}');
  const limits = { memory: { limit: 9007199254740993n } };
  expect(parseSavedResources(text, false)).toEqual(limits as object);
  expect(parseSavedResources(text, true)).toEqual({ ...limits, devices: [{ allow: false, access: "rwm" }] } as object);
  expect(parseSavedResources(saved("{}"), true)).toEqual({});
  expect(parseSavedResources('{"ociVersion":"1.0.2","linux":{}}', true)).toEqual({});
  const broken = saved('{"memory":{"limit":"much"},"devices":[{"allow":1}]}');
  expect(() => parseSavedResources(broken, false)).toThrow('linux.resources.memory.limit: found "much"');
  expect(() => parseSavedResources("nothing", false)).toThrow(InvalidDocument);
});

const testdata = join(import.meta.dir, "testdata");
test.each(readdirSync(testdata))("accepts what engines write: %s", (name) => {
  const { config, warnings } = parseConfig(readFileSync(join(testdata, name), "utf8"), name);
  expect(warnings).toEqual([]);
  expect(config).toEqual(JSON.parse(readFileSync(join(testdata, name), "utf8")));
});

test("accepts its own default configs", () => {
  expect(parseConfig(DEFAULT, "x")).toEqual({ config: JSON.parse(DEFAULT), warnings: [] });
  const rootless = defaultConfig({ rootless: { uid: 1000, gid: 1001 } });
  expect(parseConfig(JSON.stringify(rootless), "x").warnings).toEqual([]);
  expect(rootless.linux?.gidMappings).toEqual([{ containerID: 0, hostID: 1001, size: 1 }]);
});

test("one fault is one line, with position, property, what was found and what should be", () => {
  const error = refusal(DEFAULT.replace('[\n      "sh"\n    ]', "3"));
  expect(error.message).toBe("invalid config.json:9:13: process.args: found 3 (number), should be an array of strings");
  expect(error.details.code).toBe("EINVALIDCONFIG");
  expect(error.details.pointer).toBe("/process/args");
  expect(error.faults).toMatchObject([
    { pointer: "/process/args", found: "found 3 (number)", expected: "an array of strings", line: 9, column: 13 },
  ]);
});

test("several faults are listed in the order of the file, with suggestions for names", () => {
  const text = '{"ociVersion":"1.0.0",\n"root":{"path":3},\n"linux":{"namespaces":[{"type":"netwrok"}]}}';
  expect(message(text)).toBe(`invalid config.json: 2 faults
  config.json:2:16 root.path: found 3 (number), should be a string
  config.json:3:32 linux.namespaces[0].type: found "netwrok", should be one of "mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time" (did you mean "network"?)`);
  expect(refusal(text).faults[1]?.suggestion).toBe("network");
});

test("faults of shape and of sense come together", () => {
  const text =
    '{"ociVersion":"2.0.0","root":{"path":""},"mounts":[{"destnation":"/x"}],"process":{"args":[],"cwd":"x"}}';
  const pointers = refusal(text).faults.map(({ pointer }) => pointer);
  expect(pointers).toEqual(["/ociVersion", "/root/path", "/mounts/0/destination", "/process/args", "/process/cwd"]);
  expect(message(text)).toContain('mounts[0].destination: missing, there is "destnation", should be a string');
});

test("of a mapping without a number only that is said, not what ids it has", () => {
  const text =
    '{"ociVersion":"1.0.0","root":{"path":"r"},"process":{"args":["x"],"cwd":"/","user":{"uid":0}},"linux":{"namespaces":[{"type":"user"}],"uidMappings":[{"hostID":5,"size":5}],"gidMappings":[{"containerID":0,"hostID":5,"size":5}]}}';
  expect(refusal(text).faults.map(({ pointer }) => pointer)).toEqual(["/linux/uidMappings/0/containerID"]);
});

test("misspelt properties are warnings, other unknown ones are nothing", () => {
  const text = DEFAULT.replace('"hostname"', '"hostnme"')
    .replace("maskedPaths", "maskedPath")
    .replace('"root"', '"io.x": 1,\n  "root"');
  const { warnings } = parseConfig(text, "config.json");
  expect(warnings.map((warning) => warning.replace(/^config\.json:\d+:\d+: /, "")).toSorted()).toEqual([
    'hostnme is not a property and was ignored (did you mean "hostname"?)',
    'linux.maskedPath is not a property and was ignored (did you mean "maskedPaths"?)',
  ]);
  expect(warnings).toHaveLength(2);
  expect(text.split("\n")[Number(warnings[0]?.split(":")[1]) - 1]).toMatch(/hostnme|maskedPath"/);
});

test("the texts of runc that engines look for", () => {
  const start = '{"ociVersion":"1.0.0","root":{"path":"r"},"process":';
  expect(message(`${start}{"cwd":"/"}}`)).toContain("args must not be empty");
  expect(message(`${start}{"cwd":"/","args":[]}}`)).toContain("args must not be empty");
  expect(message(`${start}{"args":["x"]}}`)).toContain("Cwd property must not be empty");
  expect(message(`${start}{"args":["x"],"cwd":""}}`)).toContain("Cwd property must not be empty");
  expect(message(`${start}{"args":["x"],"cwd":"a"}}`)).toContain("Cwd must be an absolute path");
});

test("a container without a process can be created", () => {
  expect(parseConfig('{"ociVersion":"1.0.0","root":{"path":"r"}}', "x").config.process).toBeUndefined();
});

test("null is as good as absent", () => {
  const text = '{"ociVersion":"1.0.0","root":{"path":"r"},"process":null,"linux":{"namespaces":null,"seccomp":null}}';
  expect(parseConfig(text, "x")).toEqual({
    config: { ociVersion: "1.0.0", root: { path: "r" }, linux: {} },
    warnings: [],
  });
  expect(message('{"ociVersion":null,"root":{"path":"r"}}')).toContain("ociVersion: missing");
  expect(message('{"ociVersion":"1.0.0","root":{"path":"r"},"linux":{"maskedPaths":[null]}}')).toContain("found null");
});

test("integers survive exactly up to 64 bits, and not one more", () => {
  const text = (soft: string, hard: string) =>
    `{"ociVersion":"1.0.0","root":{"path":"r"},"process":{"args":["x"],"cwd":"/","rlimits":[{"type":"RLIMIT_CORE","soft":${soft},"hard":${hard}}]}}`;
  const read = (soft: string, hard: string) => parseConfig(text(soft, hard), "x").config.process?.rlimits?.[0];
  expect(read("9007199254740993", "18446744073709551615")).toEqual({
    type: "RLIMIT_CORE",
    soft: 9007199254740993n,
    hard: 18446744073709551615n,
  });
  expect(read("5", "9007199254740991")).toEqual({ type: "RLIMIT_CORE", soft: 5, hard: 9007199254740991 });
  expect(message(text("1", "18446744073709551616"))).toContain(
    "found 18446744073709551616 (number), should be an integer",
  );
  expect(message(text("1.5", "2"))).toContain("found 1.5 (number)");
  expect(message(text("-1", "2"))).toContain("from 0 to 18446744073709551615");
  expect(message(text("18446744073709551615", "18446744073709551614"))).toContain(
    "at most the hard limit 18446744073709551614",
  );
});

test("signed integers too", () => {
  const read = (quota: string) => parseResources(`{"cpu":{"quota":${quota}}}`, "x").resources.cpu?.quota;
  expect(read("-9223372036854775808")).toBe(-9223372036854775808n);
  expect(read("9223372036854775807")).toBe(9223372036854775807n);
  expect(read("-1")).toBe(-1);
  expect(() => read("9223372036854775808")).toThrow("9223372036854775807");
  expect(() => read("-9223372036854775809")).toThrow("9223372036854775807");
});

test("names of Object.prototype do nothing", () => {
  const text =
    '{"__proto__":{"hostname":3,"process":1},"constructor":{"prototype":{"polluted":1}},"ociVersion":"1.0.0","root":{"path":"r","__proto__":{"readonly":7}},"annotations":{"__proto__":"x","constructor":"y"}}';
  const { config, warnings } = parseConfig(text, "x");
  expect(warnings).toEqual([]);
  expect(config.hostname).toBeUndefined();
  expect(config.root?.readonly).toBeUndefined();
  expect(Object.entries(config.annotations ?? {})).toEqual([
    ["__proto__", "x"],
    ["constructor", "y"],
  ]);
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  expect(message('{"root":{"path":"r"},"__proto__":{"ociVersion":"1.0.0"}}')).toContain("ociVersion: missing");
});

test.each([
  ["", "invalid config.json:1:1: not JSON: found nothing, should be a value"],
  [
    "{",
    'invalid config.json:1:2: not JSON: found the end of the file, should be a property name in double quotes or "}"',
  ],
  ['{"a":1}}', 'invalid config.json:1:8: not JSON: found "}", should be the end of the file'],
  ["[]", "invalid config.json:1:1: found an array, should be an object"],
  ["3", "invalid config.json:1:1: found 3 (number), should be an object"],
  ["null", "invalid config.json:1:1: found null, should be an object"],
  ['"x"', 'invalid config.json:1:1: found "x", should be an object'],
])("refuses %p", (text, expected) => {
  expect(message(text)).toBe(expected);
});

test("depth, length and number of faults are no danger", () => {
  expect(message("[".repeat(100_000) + "]".repeat(100_000))).toContain("found an array");
  expect(message(`${'{"a":'.repeat(100_000)}1234567890123456789${"}".repeat(100_000)}`)).toContain("nested too deeply");
  expect(message(" ".repeat(100_000_000))).toContain("100000000 characters, should be at most");
  const text = `{"ociVersion":"1.0.0","root":{"path":"r"},"linux":{"maskedPaths":[${"1,".repeat(100_000)}1]}}`;
  expect(refusal(text).faults).toHaveLength(50);
  expect(message(text)).toStartWith("invalid config.json: 50 faults or more\n");
});

test("a value or a name of any length is a short message", () => {
  const long = "x".repeat(1_000_000);
  const text = JSON.stringify({ ociVersion: long, root: { path: "r" }, annotations: { [long]: 3 } });
  expect(message(text).length).toBeLessThan(2000);
  expect(message(text)).toContain('ociVersion: found "xxx');
});

test("a NUL byte is refused wherever it stands, except in annotations", () => {
  expect(message(DEFAULT.replace('"sh"', '"s\\u0000h"'))).toContain("process.args[0]: contains nul byte");
  expect(message(DEFAULT.replace("TERM=xterm", "TERM=\\u0000"))).toContain("process.env[1]: contains nul byte");
  const annotated = DEFAULT.replace('"root"', '"annotations":{"a":"\\u0000"},"root"');
  expect(parseConfig(annotated, "x").config.annotations).toEqual({ a: "\0" });
});

test("process and resources documents", () => {
  expect(parseProcess('{"$schema":"x","args":["a"],"cwd":"/"}', "x").process.args).toEqual(["a"]);
  expect(() => parseProcess('{"args":["a"],"cwd":"b"}', "p.json")).toThrow(
    "invalid p.json:1:21: cwd: Cwd must be an absolute path",
  );
  expect(() => parseProcess("{}", "p.json")).toThrow("args must not be empty");
  expect(() => parseResources('{"pids":{"limit":"5"}}', "r")).toThrow('pids.limit: found "5", should be an integer');
});

/** The default config with one value somewhere replaced by another, removed, or renamed. */
const mutated = fc
  .tuple(
    fc.nat(),
    fc.oneof(fc.jsonValue(), fc.constantFrom(-1, 2 ** 32, 1e300, "", "/", null, [], {}, [{}], [[]])),
    fc.nat(2),
  )
  .map(([position, value, kind]) => {
    const config = structuredClone(JSON.parse(DEFAULT)) as unknown;
    const places = placesIn(config);
    const { parent, key } = places[position % places.length]!;
    if (kind === 0) delete parent[key];
    else if (kind === 1) parent[key] = value;
    else parent[`${key}x`] = value;
    return config;
  });

function placesIn(value: unknown): { parent: Record<string, unknown>; key: string }[] {
  if (typeof value !== "object" || value === null) return [];
  const parent = value as Record<string, unknown>;
  return Object.keys(parent).flatMap((key) => [{ parent, key }, ...placesIn(parent[key])]);
}

test("whatever is wrong, it is refused with a TsrunError or accepted, and the zod model agrees about the shape", () => {
  fc.assert(
    fc.property(mutated, (config) => {
      const text = JSON.stringify(config);
      const valid = model.safeParse(JSON.parse(text)).success;
      try {
        parseConfig(text, "config.json");
        if (!text.includes("null")) expect(valid).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(TsrunError);
        const shapeIsWrong = (error as InvalidDocument).faults.some(({ found }) => /^found|missing/.test(found));
        if (!valid && !text.includes("null"))
          expect(shapeIsWrong || /must not be empty/.test((error as Error).message)).toBe(true);
      }
    }),
    { numRuns: 1500 },
  );
});
