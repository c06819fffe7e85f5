import { capabilityNames } from "../abi/capability.ts";
import { errnoName, errnoText } from "../abi/errno.ts";
import { TsrunError } from "../errors.ts";
import { readText } from "../kernel/files.ts";
import type { LabelOptions } from "../plan/labels.ts";
import { labelFault } from "../spec/checks/labels.ts";
import { parseProcess } from "../spec/load.ts";
import type { Config, Process, User } from "../spec/types.ts";

/** The options of exec that describe the process. */
export interface ProcessOptions {
  readonly process?: string | undefined;
  readonly cwd?: string | undefined;
  readonly env: readonly string[];
  readonly tty: boolean;
  readonly user?: string | undefined;
  readonly additionalGids: readonly number[];
  readonly processLabel?: string | undefined;
  readonly apparmor?: string | undefined;
  readonly noNewPrivs?: boolean | undefined;
  readonly cap: readonly string[];
}

/** The process of --process, or the container's own with another command and what the options change. */
export function execProcess(
  config: Config,
  command: readonly string[],
  options: ProcessOptions,
  warn: (message: string) => void,
): { process: Process; pointer: string; labelOptions?: LabelOptions } {
  if (options.process !== undefined) return { process: readProcess(config, options.process, warn), pointer: "" };
  if (command.length === 0) throw new TsrunError("process args cannot be empty", { code: "EINVAL" });
  return {
    process: changedProcess(config, command, options),
    pointer: "/process",
    labelOptions: labelOptions(options),
  };
}

function readProcess(config: Config, path: string, warn: (message: string) => void): Process {
  const text = readText(path);
  if (typeof text === "number") {
    throw new TsrunError(`cannot read "${path}": ${errnoText(-text)} (--process)`, { code: errnoName(-text) });
  }
  const { process, warnings } = parseProcess(text, path);
  for (const warning of warnings) warn(warning);
  return { ...process, ...capabilitiesOr(process, config.process), ...labelsOr(process, config.process) };
}

/** runc and crun: a file that does not speak of capabilities means the container's, one with an empty object none. */
function capabilitiesOr(given: Process, own: Process | undefined): Pick<Process, "capabilities"> {
  const capabilities = given.capabilities ?? own?.capabilities;
  return capabilities === undefined ? {} : { capabilities };
}

type ProcessLabels = Pick<Process, "apparmorProfile" | "selinuxLabel">;

/** Whoever is given no label has the container's: nobody is less confined because nothing was said (runc: SELinux's only). */
function labelsOr(given: ProcessLabels, own: ProcessLabels | undefined): ProcessLabels {
  const labels: ProcessLabels = {};
  for (const name of ["apparmorProfile", "selinuxLabel"] as const) {
    const label = (given[name] ?? "") === "" ? own?.[name] : given[name];
    if (label !== undefined) labels[name] = label;
  }
  return labels;
}

/** An empty label is as good as no option. */
function labelOptions({ apparmor = "", processLabel = "" }: ProcessOptions): LabelOptions {
  return {
    ...(apparmor === "" ? {} : { apparmorProfile: "--apparmor" }),
    ...(processLabel === "" ? {} : { selinuxLabel: "--process-label" }),
  };
}

function checkLabel(label: string, option: string): void {
  const fault = labelFault(label);
  if (fault === undefined) return;
  throw new TsrunError(`cannot label the process: ${fault.found}, should be ${fault.expected} (${option})`, {
    code: "EINVAL",
  });
}

function changedProcess(config: Config, command: readonly string[], options: ProcessOptions): Process {
  const own = config.process ?? { args: [], cwd: "/" };
  checkEnvironment(options.env);
  const { apparmor = "", processLabel = "" } = options;
  checkLabel(apparmor, "--apparmor");
  checkLabel(processLabel, "--process-label");
  return {
    ...own,
    args: [...command],
    cwd: options.cwd ?? own.cwd,
    env: [...(own.env ?? []), ...options.env],
    terminal: options.tty,
    user: changedUser(own.user, options),
    capabilities: withCapabilities(own.capabilities, options.cap),
    noNewPrivileges: options.noNewPrivs ?? own.noNewPrivileges,
    ...labelsOr({ apparmorProfile: apparmor, selinuxLabel: processLabel }, own),
  };
}

/** As of config.json: a variable without a name would become another one on the way. */
function checkEnvironment(env: readonly string[]): void {
  const wrong = env.find((variable) => variable.indexOf("=") < 1);
  if (wrong === undefined) return;
  throw new TsrunError(`cannot set ${JSON.stringify(wrong)} in the environment: should be NAME=VALUE (--env)`, {
    code: "EINVAL",
  });
}

/** `1000` or `1000:100`, decimal digits only: anything else must never become user 0. */
function changedUser(own: User | undefined, { user, additionalGids }: ProcessOptions): User {
  const groups = { additionalGids: [...(own?.additionalGids ?? []), ...additionalGids] };
  if (user === undefined) return { ...own, ...groups };
  const match = /^([0-9]{1,10})(?::([0-9]{1,10}))?$/.exec(user);
  const uid = Number(match?.[1]);
  const gid = match?.[2] === undefined ? own?.gid : Number(match[2]);
  const MAX_ID = 0xfffffffe;
  if (match === null || uid > MAX_ID || (gid ?? 0) > MAX_ID) {
    throw new TsrunError(`cannot use ${JSON.stringify(user)} as a user: should be UID or UID:GID in digits (--user)`, {
      code: "EINVAL",
    });
  }
  return { ...own, ...groups, uid, ...(gid === undefined ? {} : { gid }) };
}

/** Never inheritable: a file with inheritable capabilities would hand them on (CVE-2022-29162). */
function withCapabilities(own: Process["capabilities"], added: readonly string[]): Process["capabilities"] {
  if (added.length === 0) return own;
  const unknown = added.find((name) => !(capabilityNames as readonly string[]).includes(name));
  if (unknown !== undefined) {
    throw new TsrunError(`unknown capability ${JSON.stringify(unknown)} (--cap)`, {
      code: "EINVAL",
      hint: "names are such as CAP_NET_RAW",
    });
  }
  const plus = (set: readonly string[] | undefined) => [...(set ?? []), ...added];
  return {
    ...own,
    bounding: plus(own?.bounding),
    effective: plus(own?.effective),
    permitted: plus(own?.permitted),
  };
}
