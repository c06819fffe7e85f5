import fc from "fast-check";
import { reportError } from "../../src/cli/report.ts";
import { TsrunError } from "../../src/errors.ts";
import type { HostFacts } from "../../src/host/facts.ts";
import { readFacts } from "../../src/host/read-facts.ts";
import { isConfig, isProcess, isResources } from "../../src/spec/generated/fast.js";
import { reporters } from "../../src/spec/generated/faults.js";
import { parseConfig, parseProcess, parseResources } from "../../src/spec/load.ts";
import { config as configModel } from "../../src/spec/model/config.ts";
import { process as processModel } from "../../src/spec/model/process.ts";
import { resources as resourcesModel } from "../../src/spec/model/resources.ts";
import type { FastCheck, Reporter } from "../../src/spec/validator.ts";
import { textOf, utf8 } from "../../src/text.ts";
import { slow } from "../helpers/time.ts";
import { consistent, wideSense } from "./config-sense.ts";
import { fromSchema } from "./from-schema.ts";
import { damaged, damages, mutated, mutations, oddValues } from "./mutate.ts";
import { type Circumstances, planInMemory } from "./plan-in-memory.ts";
import { excerpt, must, property, type Target } from "./property.ts";
import { makeSandbox } from "./sandbox.ts";
import { coverageOf } from "./schema-properties.ts";
import { schemaOf } from "./schemas.ts";
import { smallerTexts } from "./smaller.ts";
import { type Tree, write } from "./tree.ts";

/** Processor time that a case may take, on a machine of usual speed; the largest ones have some megabytes. */
const LIMIT_MS = slow(5000);

/** config.json and its like as text: up to the bytes for the agent, without running anything. */
export function configTexts(): Target {
  const sandbox = makeSandbox("text");
  const bundle = sandbox.bundle("plan");
  const schema = schemaOf("config");
  const configs = fc.oneof(...[0.1, 0.4, 0.9].map((density) => fromSchema(schema, wideSense(density)))).map(consistent);
  const where = circumstances(bundle);
  const coverage = coverageOf(schema);

  const check = ({ text, on }: Case): boolean => {
    const config = judged(() => parseConfig(text, "config.json").config);
    if (config !== undefined) judged(() => planInMemory(config, on));
    return config !== undefined;
  };
  const cases = (texts: fc.Arbitrary<string>): fc.Arbitrary<Case> => fc.record({ text: texts, on: where });
  const common = { check, smaller, show, runs: 1200 };

  return {
    close: sandbox.close,
    properties: [
      property({
        ...common,
        name: "config/valid",
        says: "what the schema allows and makes sense is accepted, planned, printed and encoded",
        values: cases(configs.map(write)),
        check: (one) => {
          if (check(one)) coverage.add(one.text);
        },
        seconds: 9,
        finish: (count) => {
          const accepted = coverage.documents();
          const enough = count < 50 || accepted > count / 2;
          must(enough, () => `only ${accepted} of ${count} configs were accepted: the generator is no good`);
          const missing = coverage.missing();
          must(count < 400 || missing.length === 0, () => `no accepted config had ${missing.join(", ")}`);
        },
      }),
      property({
        ...common,
        name: "config/mutated",
        says: "whatever was changed, it is accepted and planned, or refused with a reason, in time",
        values: cases(
          fc
            .tuple(configs, fc.array(mutations(oddValues()), { minLength: 1, maxLength: 4 }))
            .map(([tree, changes]) => write(mutated(tree, changes))),
        ),
        seconds: 6,
      }),
      property({
        ...common,
        name: "config/damaged",
        says: "bytes that are flipped, lost or cut off are no worse",
        values: cases(
          fc
            .tuple(configs, fc.array(damages, { minLength: 1, maxLength: 3 }))
            .map(([tree, changes]) => textOf(damaged(utf8(write(tree)), changes))),
        ),
        seconds: 4,
      }),
      validators(configs),
      documents(),
    ],
  };
}

/** Undefined for what was refused as it should be: in time, with a TsrunError that can be shown on a terminal. */
function judged<T>(action: () => T): T | undefined {
  const before = process.cpuUsage();
  try {
    return action();
  } catch (error) {
    if (!(error instanceof TsrunError)) throw error;
    const message = reportError(error, undefined, false, new Date()).text;
    must(!/undefined|NaN|\[object/.test(message), () => `a message that says nothing: ${excerpt(message)}`);
    must(message.length < 20_000, () => `a message of ${message.length} characters: ${excerpt(message)}`);
    return undefined;
  } finally {
    const { user, system } = process.cpuUsage(before);
    const milliseconds = (user + system) / 1000;
    must(milliseconds < LIMIT_MS, () => `took ${Math.round(milliseconds)} ms, and should take less than ${LIMIT_MS}`);
  }
}

interface Case {
  readonly text: string;
  readonly on: Circumstances;
}

function* smaller({ text, on }: Case): Generator<Case> {
  for (const less of smallerTexts(text)) yield { text: less, on };
}

function show({ text, on }: Case): string {
  const { facts, bundle: _, ...rest } = on;
  const { canMount, canMknod, inUserNamespace, lastCapability, cgroup } = facts;
  const machine = { canMount, canMknod, inUserNamespace, lastCapability, cgroups: cgroup.mode, ...rest };
  return `${text.length > 20_000 ? excerpt(text) : text}\n  ${JSON.stringify(machine)}`;
}

/** This machine, and machines that differ from it. */
function circumstances(bundle: string): fc.Arbitrary<Circumstances> {
  const facts = readFacts();
  return fc.record({
    facts: fc
      .record({
        canMount: fc.constantFrom(true, true, false),
        canMknod: fc.constantFrom(true, true, false),
        inUserNamespace: fc.constantFrom(false, false, true),
        lastCapability: fc.constantFrom(40, 36),
        cgroup: fc.constantFrom(facts.cgroup, ...otherCgroups()),
      })
      .map((changes): HostFacts => ({ ...facts, ...changes })),
    arch: fc.constantFrom("x86-64", "aarch64"),
    bundle: fc.constant(bundle),
    systemd: fc.constantFrom(false, false, true),
    noPivot: fc.boolean(),
    timed: fc.boolean(),
  });
}

/** Hierarchies that are not there: what is asked of them is answered with "no such file". */
function otherCgroups(): HostFacts["cgroup"][] {
  const v1 = ["cpu", "memory", "devices", "pids", "freezer", "blkio"].map((name) => ({
    version: 1 as const,
    controllers: [name],
    mount: `/sys/fs/cgroup/no-such/${name}`,
    own: "/",
  }));
  const v2 = { version: 2 as const, controllers: [], mount: "/sys/fs/cgroup/no-such", own: "/user.slice" };
  return [
    { mode: "unified", hierarchies: [v2] },
    { mode: "v1", hierarchies: v1 },
    { mode: "none", hierarchies: [] },
  ];
}

/** The fast check, the one that explains, and the model that both are made from. */
function validators(configs: fc.Arbitrary<Tree>) {
  const kinds: [FastCheck, () => Reporter, { safeParse: (value: unknown) => { success: boolean } }][] = [
    [isConfig, () => reporters().reportConfig, configModel],
    [isProcess, () => reporters().reportProcess, processModel],
    [isResources, () => reporters().reportResources, resourcesModel],
  ];
  return property({
    name: "config/validators",
    says: "the fast validator, the explaining one and the model agree",
    values: fc.tuple(
      configs,
      fc.array(mutations(oddValues(false)), { maxLength: 3 }),
      fc.nat(2),
      fc.constantFrom("", "process", "linux/resources"),
    ),
    check: ([tree, changes, , below]) => {
      const value = valueBelow(withoutProto(JSON.parse(write(mutated(tree, changes)), bigIntegers)), below);
      for (const [isValid, reportTo, model] of kinds) {
        const found = report(reportTo(), value);
        const { success } = model.safeParse(value);
        must(
          isValid(value) === (found.wrong === 0 && found.unknown === 0),
          () => `fast says ${isValid(value)}, slow ${JSON.stringify(found)}`,
        );
        must(success === (found.wrong === 0), () => `the model says ${success}, slow ${JSON.stringify(found)}`);
      }
    },
    runs: 1500,
    seconds: 4,
    show: ([tree, changes, , below]) => `${below}: ${write(mutated(tree, changes))}`,
  });
}

/** zod passes over a record's member of that name; that it is harmless has tests of its own. */
function withoutProto(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(withoutProto);
  const members = Object.entries(value).filter(([name]) => name !== "__proto__");
  return Object.fromEntries(members.map(([name, child]) => [name, withoutProto(child)]));
}

function bigIntegers(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
  return /^-?\d+$/.test(context?.source ?? "") ? BigInt(context!.source!) : value;
}

function valueBelow(value: unknown, path: string): unknown {
  if (path === "") return value;
  let found = value;
  for (const name of path.split("/")) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return undefined;
    found = (found as Record<string, unknown>)[name];
  }
  return found;
}

function report(reportTo: Reporter, value: unknown): { wrong: number; unknown: number } {
  const found = { wrong: 0, unknown: 0 };
  reportTo.call(
    { wrong: () => void found.wrong++, missing: () => void found.wrong++, unknown: () => void found.unknown++ },
    value,
  );
  return found;
}

/** The files of exec --process and update --resources. */
function documents() {
  const sense = { ...wideSense(0.5) };
  const kinds = [
    { name: "process", parse: parseProcess, values: fromSchema(schemaOf("process"), movedUp(sense, "/process")) },
    {
      name: "resources",
      parse: parseResources,
      values: fromSchema(schemaOf("resources"), movedUp(sense, "/linux/resources")),
    },
  ];
  const trees = fc.oneof(...kinds.map(({ name, parse, values }) => values.map((tree) => ({ name, parse, tree }))));
  return property({
    name: "config/documents",
    says: "the documents of exec and update are read as safely",
    values: fc.tuple(trees, fc.array(mutations(oddValues()), { maxLength: 3 })),
    check: ([{ name, parse, tree }, changes]) => void judged(() => void parse(write(mutated(tree, changes)), name)),
    runs: 1500,
    seconds: 2,
    show: ([{ name, tree }, changes]) => `${name}: ${excerpt(write(mutated(tree, changes)), 20_000)}`,
  });
}

/** What makes sense at a place of config.json, where that place is the whole document. */
function movedUp(sense: ReturnType<typeof wideSense>, place: string): ReturnType<typeof wideSense> {
  const moved = <T>(map: ReadonlyMap<string, T>): Map<string, T> => {
    const below = [...map].filter(([key]) => key.startsWith(`${place}/`));
    return new Map(below.map(([key, value]) => [key.slice(place.length), value]));
  };
  return { ...sense, values: moved(sense.values), names: moved(sense.names) };
}
