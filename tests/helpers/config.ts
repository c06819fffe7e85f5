import { cgroupsPathFor } from "./manager.ts";

/** The part of config.json that the tests change. Wrong on purpose in bad-config.test.ts, which writes text instead. */
export interface Config {
  ociVersion: string;
  process: Process;
  root: { path: string; readonly?: boolean };
  hostname?: string;
  domainname?: string;
  mounts: Mount[];
  hooks?: Partial<Record<HookKind, Hook[]>>;
  annotations?: Record<string, string>;
  linux: Linux;
}

export interface Process {
  terminal: boolean;
  consoleSize?: { width: number; height: number };
  user: { uid: number; gid: number; umask?: number; additionalGids?: number[] };
  args: string[];
  env: string[];
  cwd: string;
  capabilities?: Partial<Record<CapabilitySet, string[]>>;
  rlimits?: { type: string; soft: number; hard: number }[];
  noNewPrivileges?: boolean;
  apparmorProfile?: string;
  selinuxLabel?: string;
  oomScoreAdj?: number;
  scheduler?: { policy: string; nice?: number; priority?: number; flags?: string[] };
  ioPriority?: { class: string; priority: number };
  execCPUAffinity?: { initial?: string; final?: string };
}

export type CapabilitySet = "bounding" | "effective" | "permitted" | "inheritable" | "ambient";

export type HookKind = "prestart" | "createRuntime" | "createContainer" | "startContainer" | "poststart" | "poststop";

export interface Hook {
  path: string;
  args?: string[];
  env?: string[];
  timeout?: number;
}

export interface IdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

export interface Mount {
  destination: string;
  type?: string;
  source?: string;
  options?: string[];
  uidMappings?: IdMapping[];
  gidMappings?: IdMapping[];
}

export interface Device {
  type: string;
  path: string;
  major?: number;
  minor?: number;
  fileMode?: number;
  uid?: number;
  gid?: number;
}

export interface Linux {
  namespaces: { type: string; path?: string }[];
  uidMappings?: IdMapping[];
  gidMappings?: IdMapping[];
  timeOffsets?: Partial<Record<"boottime" | "monotonic", { secs: number; nanosecs?: number }>>;
  devices?: Device[];
  cgroupsPath?: string;
  /** Wrong on purpose in resources-bad-input.test.ts, so that it is anything. */
  resources?: Record<string, unknown>;
  rootfsPropagation?: string;
  maskedPaths?: string[];
  readonlyPaths?: string[];
  mountLabel?: string;
  sysctl?: Record<string, string>;
  personality?: { domain: string };
  seccomp?: Seccomp;
}

export interface Seccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: string[];
  flags?: string[];
  listenerPath?: string;
  listenerMetadata?: string;
  syscalls?: {
    names: string[];
    action: string;
    errnoRet?: number;
    args?: { index: number; op: string; value: number; valueTwo?: number }[];
  }[];
}

/**
 * What every test starts from: as little as runc, crun and tsrun all run. ociVersion 1.0.2 because crun 1.8.1 refuses
 * a later one; no resources, because what they do is tested with the cgroups.
 */
export function baseConfig(id: string): Config {
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: ["/bin/true"],
      env: ["PATH=/bin"],
      cwd: "/",
      capabilities: { bounding: ["CAP_KILL"], effective: ["CAP_KILL"], permitted: ["CAP_KILL"] },
    },
    root: { path: "rootfs" },
    hostname: "container",
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755", "size=65536k"] },
      {
        destination: "/dev/pts",
        type: "devpts",
        source: "devpts",
        options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
      },
    ],
    linux: {
      cgroupsPath: cgroupsPathFor(id),
      namespaces: ["pid", "network", "ipc", "uts", "mount"].map((type) => ({ type })),
    },
  };
}

/** Capabilities with which a shell in a container can look at and change what a test is about. */
export function grant(config: Config, ...names: string[]): void {
  const sets = config.process.capabilities ?? {};
  for (const set of ["bounding", "effective", "permitted"] as const) {
    sets[set] = [...new Set([...(sets[set] ?? []), ...names])];
  }
  config.process.capabilities = sets;
}

/** The config without a namespace of this type: the container shares the caller's. */
export function share(config: Config, type: string): void {
  config.linux.namespaces = config.linux.namespaces.filter((namespace) => namespace.type !== type);
}

/** The config with a new namespace of this type, or with the one at `path`. */
export function unshare(config: Config, type: string, path?: string): void {
  share(config, type);
  config.linux.namespaces.push(path === undefined ? { type } : { type, path });
}

/** The config with a process that waits until it is told to stop. */
export function waiting(config: Config): void {
  config.process.args = ["/bin/sleep", "1000"];
}
