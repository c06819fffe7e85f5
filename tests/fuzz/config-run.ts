import { existsSync, readFileSync, rmSync } from "node:fs";
import fc from "fast-check";
import { describeResult, type Result } from "../helpers/command.ts";
import { consistent, harmlessSense, runnable } from "./config-sense.ts";
import { fromSchema } from "./from-schema.ts";
import { harmlessValues, mutated, mutations } from "./mutate.ts";
import { must, property, type Target } from "./property.ts";
import { errorLine, makeSandbox, mustEndWell } from "./sandbox.ts";
import { schemaOf } from "./schemas.ts";
import { smallerTexts } from "./smaller.ts";
import { write } from "./tree.ts";

/** Containers are made from configs that can do no harm, and from those with something wrong in them. */
export function configRuns(): Target {
  const sandbox = makeSandbox("run");
  const { tsrun, home, mark } = sandbox;
  const bundle = sandbox.bundle("bundle");
  const id = `${mark}c`;
  const configs = fromSchema(schemaOf("config"), harmlessSense(`/${mark}c`))
    .map(runnable)
    .map(consistent);
  let started = 0;

  const check = (text: string): void => {
    sandbox.writeConfig(bundle, text);
    const log = `${home}/log`;
    rmSync(log, { force: true });
    try {
      const plan = tsrun(["plan", "--bundle", bundle, id]);
      const run = tsrun(["--log", log, "--log-format", "json", "run", "--bundle", bundle, id]);
      for (const result of [plan, run]) mustEndWell(result);
      if (mustAgree(plan, run, loggedError(log))) started++;
      must(!existsSync(`${sandbox.root}/${id}`), () => `its state is left: ${describeResult(run)}`);
    } finally {
      sandbox.deleteAll();
      sandbox.mustBeClean();
    }
  };
  const common = { check, smaller: smallerTexts, show: (text: string) => text };

  return {
    close: sandbox.close,
    properties: [
      property({
        ...common,
        name: "bundle/valid",
        says: "a container runs and is gone, or is refused by the kernel; plan and run refuse the same",
        values: configs.map(write),
        runs: 100,
        seconds: 8,
        finish: (cases) =>
          must(
            cases < 20 || started > cases / 5,
            () => `only ${started} of ${cases} containers ran: the generator is no good`,
          ),
      }),
      property({
        ...common,
        name: "bundle/mutated",
        says: "the same of configs with something wrong in them",
        values: fc
          .tuple(configs, fc.array(mutations(harmlessValues()), { minLength: 1, maxLength: 2 }))
          .map(([tree, changes]) => write(mutated(tree, changes))),
        runs: 100,
        seconds: 5,
      }),
    ],
  };
}

const NO_PROCESS = "cannot start a container without a process";

interface LoggedError {
  readonly msg: string;
  readonly code?: string;
}

function loggedError(log: string): LoggedError | undefined {
  const lines = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n") : [];
  const entries = lines
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as LoggedError & { level: string });
  return entries.findLast(({ level }) => level === "error");
}

/** What plan refuses is refused by run with the same words; what it does not, by nobody but the kernel. True when it ran. */
function mustAgree(plan: Result, run: Result, error: LoggedError | undefined): boolean {
  // Without one there can be a container, but nothing to run.
  if (plan.status === 0 && error?.msg.startsWith(NO_PROCESS)) return false;
  const both = () => `${plan.argv.join(" ")}: ${plan.status}: ${plan.stderr}\n${describeResult(run)}`;
  if (plan.status !== 0) {
    must(error !== undefined, () => `plan refuses it, run does not: ${both()}`);
    // Run begins before all is planned: the kernel may be the first to refuse.
    const same = errorLine(plan) === error.msg.split("\n")[0] || error.code !== "EINVALIDCONFIG";
    must(same, () => `refused for different reasons: ${both()}`);
  } else must(error?.code !== "EINVALIDCONFIG", () => `run refuses it, plan does not: ${both()}`);
  return error === undefined;
}
