import { SPARE } from "../agent/layout.ts";
import type { PlannedScope } from "../cgroup/systemd.ts";
import { propertyText } from "../cgroup/unit-property.ts";
import { processEnvironment } from "../plan/command.ts";
import { planHold } from "../plan/container.ts";
import type { PlanContext } from "../plan/context.ts";
import { planHook } from "../plan/hooks.ts";
import { nameApart, type PrintedStep, printProgram } from "../plan/print.ts";
import { planRead } from "../plan/read.ts";
import { type Program, program } from "../plan/step.ts";
import { filterOf } from "../seccomp/filter.ts";
import type { HookKind } from "../spec/types.ts";
import { START_SOCKET } from "../state/names.ts";
import { lastPrograms } from "./execute.ts";
import { beginPlan, completePlan, continuePlan, type PlanRequest } from "./planning.ts";
import { NATIVE } from "./seccomp.ts";

export interface ListingRequest extends PlanRequest {
  readonly preserveFds: number;
  readonly extraEnv: readonly string[];
}

/** What one process does at one stage, in its order. */
export interface Stage {
  /** tsrun itself; the agent, until it has made the container's namespaces; or the container's first process. */
  readonly process: "tsrun" | "agent" | "init";
  readonly program: string;
  /** In words; for what tsrun does beside its programs there are no steps. */
  readonly note: string;
  readonly steps: readonly PrintedStep[];
}

/** What only the finished container can tell is shown in angle brackets. */
const STATE_DIRECTORY = "<state directory>";
const STATE = "<state>";

/**
 * All that create and start would do with this bundle, planned by the functions that they use. `run` does the same, but
 * for the socket that a created container waits on. Looks at the machine; changes nothing.
 */
export function listPlan(request: ListingRequest): Stage[] {
  const { plan, scope } = beginPlan(request, `/proc/self/fd/${STATE_DIRECTORY}/${START_SOCKET}`);
  continuePlan(request, plan);
  completePlan(request, plan);
  nameApart([plan.prepare, plan.unshare, plan.attach, plan.build, plan.restrict, plan.enter, plan.identity]);
  return [
    note("state", "makes the state directory, in it config.json and the draft of state.json"),
    stage("tsrun", plan.prepare, "opens what the container cannot reach by its path"),
    note("spawn", "starts the agent: socketpair(2), memfd_create(2), posix_spawn(3)"),
    ...scopeNotes(scope),
    ...unshareStages(plan),
    ...idmapNotes(plan),
    stage("tsrun", plan.attach, "does to the container's first process what takes the host's privileges"),
    stage("init", plan.build, "builds the file system"),
    ...copyNotes(plan),
    stage("tsrun", plan.restrict, "has the cgroup decide about devices; beside the next stage when there are no hooks"),
    ...hookStages(request, plan, "prestart"),
    ...hookStages(request, plan, "createRuntime"),
    ...hookStages(request, plan, "createContainer"),
    stage("init", plan.enter, "enters the file system"),
    stage("init", plan.identity, "becomes the user"),
    ...homeStages(request, plan),
    note("publish", "writes the pid file; renames the draft to state.json"),
    stage("init", planHold(plan, plan.listening!, SPARE), "create only: waits for start"),
    ...hookStages(request, plan, "startContainer"),
    ...execStages(request, plan),
    ...hookStages(request, plan, "poststart"),
  ].filter(({ steps, note }) => steps.length > 0 || note !== "");
}

function stage(process: Stage["process"], program: Program, text: string): Stage {
  const steps = printProgram(program);
  return { process, program: program.name, note: steps.length === 0 ? "" : text, steps };
}

function note(program: string, text: string): Stage {
  return { process: "tsrun", program, note: text, steps: [] };
}

/** The agent goes on as two: what is behind the clone's label is done by the container's first process. */
function unshareStages(plan: PlanContext): Stage[] {
  const { steps, ...whole } = stage(
    "agent",
    plan.unshare,
    "joins and makes namespaces; its child is the container's init",
  );
  const child = steps.findLast(({ call, jumps }) => call === "clone3" && jumps.zero !== undefined)?.jumps.zero;
  return [
    { ...whole, steps: steps.slice(0, child) },
    {
      ...whole,
      process: "init",
      note: "goes on in the namespaces",
      steps: child === undefined ? [] : steps.slice(child),
    },
  ].filter((part) => part.steps.length > 0) as Stage[];
}

/** The call of D-Bus, a property a line. */
function scopeNotes(scope: PlannedScope | undefined): Stage[] {
  if (scope === undefined) return [];
  const call = `StartTransientUnit(${JSON.stringify(scope.unit)}, "replace", properties, [])`;
  const properties = ["PIDs=@au [<agent>]", ...scope.properties.map(propertyText)];
  const text = `asks the ${scope.instance} instance for the cgroup "${scope.cgroup}" with the agent in it, and waits for the job`;
  return [note("systemd", [text, call, ...properties].join("\n#   "))];
}

function idmapNotes(plan: PlanContext): Stage[] {
  return plan.idmapNamespaces.map(() =>
    note("idmap", "starts another agent for a moment, whose user namespace holds the mappings of an idmapped mount"),
  );
}

function copyNotes(plan: PlanContext): Stage[] {
  return plan.copies.map(({ destination }) =>
    note("tmpcopyup", `copies what is in "${destination}" to the tmpfs on it`),
  );
}

/** Those of the runtime run on the host, started by tsrun; the others are children of the init. */
function hookStages({ config }: ListingRequest, plan: PlanContext, kind: HookKind): Stage[] {
  return (config.hooks?.[kind] ?? []).map((hook, i) => {
    const pointer = `/hooks/${kind}/${i}`;
    if (kind !== "createContainer" && kind !== "startContainer") {
      return note(
        `${kind} hook #${i}`,
        `runs ${JSON.stringify([hook.path, ...(hook.args ?? []).slice(1)])} on the host`,
      );
    }
    const running = program(`${kind} hook #${i}`);
    const { output } = planHook(running, plan.slots, hook, STATE, pointer);
    running.steps.push({ call: "close", args: [output], what: "close the hook's output" });
    return stage("init", running, "runs a hook as a child");
  });
}

/** HOME is looked up in the container's own /etc/passwd when the config has none. */
function homeStages(request: ListingRequest, plan: PlanContext): Stage[] {
  const { passwd } = plan;
  let asked = false;
  const ask = () => {
    asked = true;
    return "";
  };
  if (request.config.process !== undefined) processEnvironment(request.config.process, request.extraEnv, ask);
  if (!asked || passwd === undefined) return [];
  const { reading } = planRead(plan.slots, passwd.descriptor, 0);
  return [
    stage("init", reading, "reads HOME where the container has an /etc/passwd that is a file, again until it is read"),
  ];
}

function execStages(request: ListingRequest, plan: PlanContext): Stage[] {
  const process = request.config.process;
  if (process === undefined) return [];
  const env = processEnvironment(process, request.extraEnv, () => "<home>");
  const profile = request.config.linux?.seccomp;
  const { filter, exec } = lastPrograms(plan.slots, {
    process,
    env,
    preserveFds: request.preserveFds,
    pointer: "/process",
    filter: profile === undefined ? undefined : filterOf(profile, NATIVE),
    lastCapabilities: plan.lastCapabilities,
  });
  const note = "start: becomes the program";
  if (filter === undefined) return [stage("init", exec, note)];
  return [
    stage("init", filter, "start: loads the filter, and waits until its listener is handed over"),
    stage("init", exec, note),
  ];
}
