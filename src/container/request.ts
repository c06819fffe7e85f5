import { errnoName, errnoText } from "../abi/errno.ts";
import { AT_FDCWD } from "../abi/fcntl.ts";
import { chooseCgroupManager, systemdInstance } from "../cgroup/choose.ts";
import type { Globals } from "../cli/options.ts";
import { TsrunError } from "../errors.ts";
import type { HostFacts } from "../host/facts.ts";
import { readFacts } from "../host/read-facts.ts";
import { currentDirectory, readText } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { stage } from "../kernel/trace.ts";
import { variable } from "../kernel/warm-start.ts";
import { cleanPath } from "../plan/paths.ts";
import { parseConfig } from "../spec/load.ts";
import type { Config } from "../spec/types.ts";
import { stateRoot } from "../state/root.ts";
import { preserveDescriptors, stdioToOwn } from "./caller.ts";
import { checkAgainstHost, checkWithoutRoot } from "./check-host.ts";
import type { CreateRequest } from "./create.ts";
import { listenFds } from "./listen-fds.ts";
import { NOTIFY_VARIABLE, notifyMount } from "./notify.ts";

/** The options that create and run have in common. */
export interface CreateOptions {
  readonly bundle: string;
  readonly config?: string | undefined;
  readonly consoleSocket?: string | undefined;
  readonly pidfdSocket?: string | undefined;
  readonly noPivot: boolean;
  readonly noNewKeyring: boolean;
  readonly preserveFds: number;
}

/** Reads the bundle and this machine. Throws before anything is made. `trial`: nothing will be made, see chooseCgroupManager. */
export function createRequest(
  id: string,
  options: CreateOptions,
  globals: Globals,
  warn: (message: string) => void,
  trial = false,
): Omit<CreateRequest, "waitsForStart"> {
  const bundle = absolutePath(options.bundle);
  const { config, text } = readConfig(bundle, options.config, warn);
  stage("look at the machine");
  checkAgainstHost(config);
  const passed = listenFds(config);
  const root = stateRoot(globals.root);
  const notifies = (variable("NOTIFY_SOCKET") ?? "") !== "";
  const preserveFds = options.preserveFds + passed.count;
  const facts = readFacts();
  if (!trial) checkWithoutRoot(config, facts);
  const instance = systemdInstance(globals.rootless, facts.euid, facts.inUserNamespace);
  preserveDescriptors(preserveFds);
  return {
    root,
    id,
    bundle,
    config: notifies ? { ...config, mounts: [...(config.mounts ?? []), notifyMount(`${root}/${id}`)] } : config,
    configText: text,
    facts,
    cgroupManager: chooseCgroupManager(globals, instance, trial),
    mayGoWithoutCgroup: mayGoWithoutCgroup(globals.rootless, facts),
    noPivot: options.noPivot,
    noNewKeyring: options.noNewKeyring,
    preserveFds,
    console: options.consoleSocket,
    pidfdSocket: options.pidfdSocket,
    extraEnv: notifies ? [...passed.env, NOTIFY_VARIABLE] : passed.env,
    notifies,
    stdio: stdioToOwn(),
    warn,
  };
}

/** Root of a user namespace is an ordinary user of the machine, whose cgroups are not to be had as a rule. */
export function mayGoWithoutCgroup(rootless: string, { euid, inUserNamespace }: HostFacts): boolean {
  return rootless === "true" || (rootless === "auto" && (euid !== 0 || inUserNamespace));
}

/** From the working directory, without "." and ".." components: it ends up in state.json and in hooks' hands. */
export function absolutePath(path: string): string {
  return cleanPath(path.startsWith("/") ? path : `${currentDirectory()}/${path}`);
}

/** config.json of the bundle, or the file of --config, checked. */
export function readConfig(
  bundle: string,
  file: string | undefined,
  warn: (message: string) => void,
): { config: Config; text: string } {
  const path = file === undefined ? `${bundle}/config.json` : absolutePath(file);
  stage("read config.json");
  const text = readText(path);
  if (typeof text === "number") throw unreadable(path, bundle, file, -text);
  stage("parse and check config.json");
  const { config, warnings } = parseConfig(text, file ?? "config.json");
  for (const warning of warnings) warn(warning);
  return { config, text };
}

function unreadable(path: string, bundle: string, file: string | undefined, errno: number): TsrunError {
  const code = errnoName(errno);
  if (code === "ENOENT" && file === undefined && sys("faccessat2", AT_FDCWD, bundle, 0, 0) === 0) {
    return new TsrunError(`JSON specification file config.json not found in "${bundle}"`, {
      code,
      hint: "tsrun spec writes one to start from",
    });
  }
  return new TsrunError(`cannot read "${path}": ${errnoText(errno)}`, { code, step: "openat" });
}
