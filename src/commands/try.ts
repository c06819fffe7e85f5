import { realpathSync } from "node:fs";
import { errnoName, errnoText } from "../abi/errno.ts";
import { AT_FDCWD } from "../abi/fcntl.ts";
import { chooseCgroupManager, systemdInstance } from "../cgroup/choose.ts";
import { cgroupDirectories } from "../cgroup/paths.ts";
import type { Command, CommandInput, Globals } from "../cli/options.ts";
import { printError } from "../cli/output.ts";
import { stdioToOwn } from "../container/caller.ts";
import type { Remedy } from "../container/explain-maps.ts";
import { printChanges } from "../container/try-changes.ts";
import { type TryHost, tryConfig } from "../container/try-config.ts";
import { onlyCaller, readCallerIds } from "../container/try-ids.ts";
import { startJanitor } from "../container/try-janitor.ts";
import { type Keep, openKeep } from "../container/try-keep.ts";
import { checkLimits } from "../container/try-limits.ts";
import { isFresh, openDirectories, readHostTree, splitParts, wholeParts } from "../container/try-root.ts";
import { TsrunError } from "../errors.ts";
import type { HostFacts } from "../host/facts.ts";
import { readFacts } from "../host/read-facts.ts";
import { currentDirectory } from "../kernel/files.ts";
import { sys } from "../kernel/kernel.ts";
import { environment, variable } from "../kernel/warm-start.ts";
import type { Trial } from "../plan/trial.ts";
import { parseConfig } from "../spec/load.ts";
import type { Config } from "../spec/types.ts";
import { stateRoot } from "../state/root.ts";
import { findContainerDirectory } from "../state/store.ts";
import { runContainer } from "./run.ts";

/** A container of the host's own files: everything that `run` needs of a bundle is made up here. */
export const tryCommand: Command<"try"> = (input) => {
  const { options, args, globals } = input;
  const facts = readFacts();
  const given = tryConfig(options, args, readHost(facts, options.keep !== undefined));
  if (given.linux?.resources !== undefined) checkLimits(given.linux.resources, facts.cgroup);
  checkSources(given);
  const { config } = parseConfig(JSON.stringify(given), "what the options ask for");
  const keep = options.keep === undefined ? undefined : openKeep(options.keep);
  try {
    const trial = newTrial(config, facts, keep);
    const status = runTrial(input, config, trial, facts, globals);
    const made = [config.process?.cwd ?? "/", ...(config.mounts ?? []).map(({ destination }) => destination)];
    if (keep !== undefined) printError(printChanges(keep.finish(trial.root.parts, made)));
    return status;
  } catch (error) {
    keep?.discard();
    throw error;
  }
};

function readHost(facts: HostFacts, keeps: boolean): TryHost {
  const env = environment();
  return {
    caller: facts.euid === 0 ? undefined : keeps ? onlyCaller(facts, KEPT) : readCallerIds(facts),
    nested: facts.inUserNamespace,
    cwd: visibleDirectory(),
    env,
    isTerminal: isTerminal(0) && isTerminal(1),
    shell: env.SHELL?.startsWith("/") && !isFresh(env.SHELL) && isExecutable(env.SHELL) ? env.SHELL : "/bin/sh",
    resolver: resolverFiles(),
  };
}

/** What is kept is to be the caller's own: files of others it could not even remove. */
const KEPT: Remedy = { why: "changes are kept, and all of them are yours", hint: "leave out --keep" };

/** The directory may have been removed, or be one that the container has its own of. */
function visibleDirectory(): string {
  try {
    const directory = currentDirectory();
    return isFresh(directory) ? "/" : directory;
  } catch {
    return "/";
  }
}

function isTerminal(fd: number): boolean {
  const TCGETS = 0x5401;
  return sys("ioctl", fd, TCGETS, new Uint8Array(60)) === 0;
}

function isExecutable(path: string): boolean {
  const X_OK = 1;
  return sys("faccessat2", AT_FDCWD, path, X_OK, 0) === 0;
}

/** systemd-resolved and others keep the real file below /run. */
function resolverFiles(): string[] {
  try {
    const path = realpathSync("/etc/resolv.conf");
    return isFresh(path) ? [path] : [];
  } catch {
    return [];
  }
}

/** In terms of the option; the plan would only know mounts[n]. */
function checkSources(config: Config): void {
  for (const { type, source = "" } of config.mounts ?? []) {
    if (type !== "bind") continue;
    const found = sys("faccessat2", AT_FDCWD, source, 0, 0);
    if (found < 0) {
      const message = `cannot mount "${source}": ${errnoText(-found)} (--mount)`;
      throw new TsrunError(message, { code: errnoName(-found) });
    }
  }
}

function newTrial(config: Config, facts: HostFacts, keep: Keep | undefined): Trial {
  const inUserNamespace = facts.euid !== 0 || facts.inUserNamespace;
  const tree = readHostTree();
  const open = () => openDirectories(tree, [config.process?.cwd, variable("HOME")]);
  const parts = inUserNamespace ? splitParts(tree, open()) : wholeParts(tree);
  return { root: { keep: keep?.directory, inUserNamespace, parts } };
}

function runTrial(
  { options, warn, tell }: CommandInput<"try">,
  config: Config,
  trial: Trial,
  facts: HostFacts,
  globals: Globals,
): number {
  const id = options.name ?? `try-${sys("getpid")}`;
  const root = stateRoot(globals.root);
  const isLimited = config.linux?.resources !== undefined;
  // Without root there is hardly ever a cgroup to be had, and without limits no need of one.
  const wish =
    facts.euid === 0 || isLimited ? globals : { ...globals, systemdCgroup: false, cgroupManager: "disabled" as const };
  const instance = systemdInstance(globals.rootless, facts.euid, facts.inUserNamespace);
  const cgroupManager = chooseCgroupManager(wish, instance);
  const request = {
    root,
    id,
    bundle: "/",
    config,
    configText: JSON.stringify(config),
    facts,
    cgroupManager,
    mayGoWithoutCgroup: !isLimited,
    noPivot: false,
    noNewKeyring: false,
    preserveFds: 0,
    console: undefined,
    pidfdSocket: undefined,
    extraEnv: [],
    stdio: stdioToOwn(),
    trial,
    warn,
  };
  const cgroups = cgroupManager.name !== "cgroupfs" ? [] : cgroupDirectories(undefined, id, facts.cgroup);
  const isTaken = findContainerDirectory(root, id) !== undefined;
  // Whose state that is, the janitor must not clean up.
  const janitor = isTaken ? undefined : startJanitor({ cgroups: cgroups.map(({ path }) => path), root, id });
  try {
    return runContainer(request, { detach: false, keep: false, noSubreaper: false }, tell);
  } finally {
    janitor?.dismiss();
  }
}
