import { expect, test } from "bun:test";
import { capabilityBit } from "../abi/capability.ts";
import { capabilitySets, planBoundingSet, planCapabilitySets } from "./capabilities.ts";
import { type Data, program } from "./step.ts";
import { printProgram } from "./test-printer.ts";

const ALL = (1n << 41n) - 1n;
const KILL = capabilityBit("CAP_KILL");
const BPF = capabilityBit("CAP_BPF");

function sets(capabilities: Parameters<typeof capabilitySets>[0], last = 40, grantable = ALL) {
  const warnings: string[] = [];
  return { ...capabilitySets(capabilities, last, grantable, warnings), warnings };
}

test("nothing asked for, nothing given", () => {
  expect(sets(undefined)).toEqual({
    bounding: 0n,
    effective: 0n,
    permitted: 0n,
    inheritable: 0n,
    ambient: 0n,
    warnings: [],
  });
});

test("names become bits", () => {
  const { bounding, permitted } = sets({ bounding: ["CAP_KILL", "CAP_BPF"], permitted: ["CAP_KILL"] });
  expect(bounding).toBe(KILL | BPF);
  expect(permitted).toBe(KILL);
});

test("a name that no kernel knows is one warning, however often it occurs", () => {
  const found = sets({ bounding: ["CAP_KILL", "CAP_X", "kill"], permitted: ["CAP_X"] });
  expect(found.bounding).toBe(KILL);
  expect(found.warnings).toEqual(["ignoring unknown or unavailable capabilities: [CAP_X kill]"]);
});

test("so is one that this kernel does not know", () => {
  const found = sets({ bounding: ["CAP_KILL", "CAP_BPF"] }, 38);
  expect(found.bounding).toBe(KILL);
  expect(found.warnings).toEqual(["ignoring unknown or unavailable capabilities: [CAP_BPF]"]);
});

test("so is one that tsrun does not have itself", () => {
  const found = sets({ bounding: ["CAP_KILL"] }, 40, ALL & ~KILL);
  expect(found.bounding).toBe(0n);
  expect(found.warnings).toEqual(["ignoring unknown or unavailable capabilities: [CAP_KILL]"]);
});

test("names of Object.prototype are names like any other", () => {
  expect(sets({ bounding: ["constructor", "__proto__"] }).warnings).toHaveLength(1);
});

test("effective is within permitted; the rest is a warning", () => {
  const found = sets({ effective: ["CAP_KILL", "CAP_BPF"], permitted: ["CAP_KILL"] });
  expect(found.effective).toBe(KILL);
  expect(found.warnings).toEqual(["ignoring effective capabilities that are not permitted: [CAP_BPF]"]);
});

test("inheritable is what stays in the bounding set: capset refuses anything else; the rest is a warning", () => {
  const found = sets({
    bounding: ["CAP_KILL"],
    permitted: ["CAP_BPF"],
    inheritable: ["CAP_KILL", "CAP_BPF"],
    ambient: ["CAP_BPF"],
  });
  expect(found.inheritable).toBe(KILL);
  expect(found.ambient).toBe(0n);
  expect(found.warnings).toEqual([
    "ignoring inheritable capabilities that are not in the bounding set: [CAP_BPF]",
    "ignoring ambient capabilities that are not both permitted and inheritable: [CAP_BPF]",
  ]);
});

test("ambient is what is both permitted and inheritable; the rest is a warning", () => {
  const found = sets({
    bounding: ["CAP_KILL"],
    permitted: ["CAP_KILL", "CAP_BPF"],
    inheritable: ["CAP_KILL"],
    ambient: ["CAP_KILL", "CAP_BPF", "CAP_CHOWN"],
  });
  expect(found.ambient).toBe(KILL);
  expect(found.warnings).toEqual([
    "ignoring ambient capabilities that are not both permitted and inheritable: [CAP_CHOWN CAP_BPF]",
  ]);
});

test("the bounding set: only what is held and not wanted is dropped", () => {
  const dropping = program("p");
  const held = capabilityBit("CAP_CHOWN") | KILL | BPF;
  planBoundingSet(dropping, sets({ bounding: ["CAP_KILL", "CAP_FOWNER"] }), held, 40, "/process");
  expect(printProgram(dropping)).toEqual(["prctl(0x18, 0, 0, 0, 0)", "prctl(0x18, 0x27, 0, 0, 0)"]);
  expect(dropping.steps[1]).toMatchObject({
    what: "drop CAP_BPF from the bounding set",
    pointer: "/process/capabilities/bounding",
  });
});

test("the bounding set: a capability newer than tsrun is dropped by number", () => {
  const dropping = program("p");
  planBoundingSet(dropping, sets({}), 1n << 45n, 45, "/process");
  expect(dropping.steps.map(({ what }) => what)).toEqual(["drop capability 45 from the bounding set"]);
});

/** struct __user_cap_data_struct[2]: effective, permitted, inheritable of the lower 32, then of the upper. */
function capData(words: readonly bigint[]): number[] {
  return [...new Uint32Array(BigUint64Array.from(words).buffer)];
}

test("capset: the words of both structs", () => {
  const setting = program("p");
  const given = sets({
    bounding: ["CAP_CHOWN", "CAP_BPF"],
    effective: ["CAP_KILL"],
    permitted: ["CAP_KILL", "CAP_BPF"],
    inheritable: ["CAP_CHOWN", "CAP_BPF"],
  });
  planCapabilitySets(setting, given, "/process");
  const [header, data] = setting.steps[0]!.args as readonly (Data & { kind: "words" })[];
  expect(header!.words.map(Number)).toEqual([0x20080522]);
  expect(capData(data!.words as bigint[])).toEqual([1 << 5, 1 << 5, 1, 0, 1 << 7, 1 << 7]);
});

test("ambient ones are cleared, then raised one by one", () => {
  const setting = program("p");
  const names = ["CAP_CHOWN", "CAP_BPF"];
  planCapabilitySets(
    setting,
    sets({ bounding: names, permitted: names, inheritable: names, ambient: names }),
    "/process",
  );
  expect(printProgram(setting).slice(1)).toEqual([
    "prctl(0x2f, 4, 0, 0, 0)",
    "prctl(0x2f, 2, 0, 0, 0)",
    "prctl(0x2f, 2, 0x27, 0, 0)",
  ]);
});
