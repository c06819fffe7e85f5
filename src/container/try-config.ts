import { TsrunError } from "../errors.ts";
import { currentDirectory } from "../kernel/files.ts";
import { cleanPath } from "../plan/paths.ts";
import { defaultConfig } from "../spec/default-config.ts";
import type { Config, IdMapping, Mount, Namespace, Process, Resources, User } from "../spec/types.ts";
import type { CallerIds } from "./try-ids.ts";

/** The options of `tsrun try` that the config is made from. */
export interface TryOptions {
  readonly network: "none" | "host";
  readonly hostname?: string | undefined;
  readonly memory?: string | undefined;
  readonly cpus?: string | undefined;
  readonly pids?: number | undefined;
  readonly readOnly: boolean;
  readonly mount: readonly string[];
  readonly user?: string | undefined;
  readonly env: readonly string[];
  readonly workdir?: string | undefined;
  readonly tty?: boolean | undefined;
}

/** What the config depends on besides the options. */
export interface TryHost {
  /** Of a caller who is not root: the container gets a user namespace with these. */
  readonly caller: CallerIds | undefined;
  /** tsrun itself is in a user namespace: not all ids are there. */
  readonly nested: boolean;
  /** The caller's working directory where the container can see it, else "/". */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isTerminal: boolean;
  /** What is run without a command. */
  readonly shell: string;
  /** Files that the host's resolver is configured with, where these are not among what the container sees. */
  readonly resolver: readonly string[];
}

/** The config of a container without an image; its root is made by planOverlayRoot. Throws for options that are wrong. */
export function tryConfig(options: TryOptions, command: readonly string[], host: TryHost): Config {
  const linux = defaultConfig().linux!;
  const resources = tryResources(options);
  return {
    ociVersion: "1.3.0",
    process: tryProcess(options, command, host),
    root: { path: "/", readonly: options.readOnly },
    hostname: options.hostname ?? "try",
    mounts: [...standardMounts(options, host), ...options.mount.map((text) => parseMount(text))],
    linux: {
      namespaces: namespaces(options, host),
      ...(host.caller === undefined ? {} : mappings(host.caller)),
      ...(resources === undefined ? {} : { resources }),
      maskedPaths: linux.maskedPaths ?? [],
      readonlyPaths: linux.readonlyPaths ?? [],
    },
  };
}

function mappings({ uidMappings, gidMappings }: CallerIds) {
  return { uidMappings: [...uidMappings], gidMappings: [...gidMappings] };
}

function namespaces({ network }: TryOptions, host: TryHost): Namespace[] {
  const types = ["pid", "ipc", "uts", "mount", "cgroup"] as const;
  const list: Namespace[] = types.map((type) => ({ type }));
  if (network === "none") list.push({ type: "network" });
  if (host.caller !== undefined) list.push({ type: "user" });
  return list;
}

/**
 * What engines give by default, but for CAP_MKNOD: only a device cgroup would keep whoever can make device files from the
 * host's disks.
 */
const CAPABILITIES = [
  "CAP_AUDIT_WRITE",
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_NET_BIND_SERVICE",
  "CAP_NET_RAW",
  "CAP_SETFCAP",
  "CAP_SETGID",
  "CAP_SETPCAP",
  "CAP_SETUID",
  "CAP_SYS_CHROOT",
];

function tryProcess(options: TryOptions, command: readonly string[], host: TryHost): Process {
  const user = parseUser(options.user, host);
  const terminal = options.tty ?? host.isTerminal;
  return {
    terminal,
    user,
    args: command.length > 0 ? [...command] : [host.shell],
    env: environment(options, host, terminal, user.uid === 0),
    cwd: workingDirectory(options.workdir) ?? host.cwd,
    capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
    noNewPrivileges: true,
  };
}

function environment(options: TryOptions, host: TryHost, terminal: boolean, root: boolean): string[] {
  const env = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
  if (host.caller !== undefined && host.env.HOME !== undefined) env.push(`HOME=${host.env.HOME}`);
  if (root) env.push("USER=root", "LOGNAME=root");
  if (terminal) env.push(`TERM=${host.env.TERM ?? "xterm"}`);
  if (host.env.LANG !== undefined) env.push(`LANG=${host.env.LANG}`);
  for (const variable of options.env) {
    if (!/^[^=\0]+=/.test(variable)) throw wrong("env", variable, "NAME=VALUE");
    env.push(variable);
  }
  return env;
}

function workingDirectory(path: string | undefined): string | undefined {
  if (path === undefined || path.startsWith("/")) return path;
  throw wrong("workdir", path, "an absolute path");
}

const MAX_ID = 0xfffffffe;

function parseUser(text: string | undefined, host: TryHost): User & { uid: number; gid: number } {
  const match = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(text ?? "0");
  const [uid, gid] = [Number(match?.[1]), Number(match?.[2] ?? 0)];
  if (match === null || uid > MAX_ID || gid > MAX_ID) throw wrong("user", text ?? "", "UID or UID:GID in digits");
  if (host.caller !== undefined) {
    checkMapped("user", uid, host.caller.uidMappings, host.caller.missing);
    checkMapped("group", gid, host.caller.gidMappings, host.caller.missing);
  }
  return { uid, gid };
}

function checkMapped(of: string, id: number, mappings: readonly IdMapping[], missing: CallerIds["missing"]): void {
  if (mappings.some(({ containerID, size }) => id >= containerID && id < containerID + size)) return;
  const last = mappings.reduce((sum, { size }) => sum + size, 0) - 1;
  const cannot = `cannot run as ${of} ${id}`;
  if (missing === undefined)
    throw new TsrunError(`${cannot}: the container has ids 0 to ${last} (--user)`, { code: "EPERM" });
  throw new TsrunError(`${cannot}: without root the container has one ${of} only, 0: ${missing.why} (--user)`, {
    code: "EPERM",
    hint: `${missing.hint}; ${of} 0 of the container is you on the host`,
  });
}

function standardMounts({ network }: TryOptions, host: TryHost): Mount[] {
  const rootless = host.caller !== undefined || host.nested;
  const given = defaultConfig(rootless ? { rootless: { uid: 0, gid: 0 } } : {}).mounts ?? [];
  const sysfs = defaultConfig().mounts?.find(({ destination }) => destination === "/sys");
  // Of its own network namespace, a user namespace may show the devices; of the host's, only what the host shows.
  const mounts = given.map((mount) => (mount.destination === "/sys" && network === "none" ? sysfs! : mount));
  const fresh = (destination: string, mode: string): Mount => {
    return { destination, type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", `mode=${mode}`] };
  };
  const resolver = network === "host" ? host.resolver : [];
  return [...mounts, fresh("/tmp", "1777"), fresh("/run", "755"), ...resolver.map((path) => bind(path, path, ["ro"]))];
}

function bind(source: string, destination: string, options: readonly string[]): Mount {
  // Read-only means all of it: what is mounted below the source as well.
  const recursive = options.includes("ro") ? ["rro"] : [];
  return { destination, type: "bind", source, options: ["rbind", "rprivate", ...options, ...recursive] };
}

/** `SOURCE:TARGET[:OPTIONS]`; the source is a path of the host from where tsrun was started. */
function parseMount(text: string): Mount {
  const [source, target, options, ...rest] = text.split(":");
  if (!source || !target?.startsWith("/") || rest.length > 0) {
    throw wrong("mount", text, "SOURCE:TARGET[:OPTIONS] with an absolute TARGET");
  }
  const from = cleanPath(source.startsWith("/") ? source : `${currentDirectory()}/${source}`);
  return bind(from, target, options === undefined || options === "" ? [] : options.split(","));
}

function wrong(option: string, found: string, expected: string): TsrunError {
  return new TsrunError(`option "--${option}": ${JSON.stringify(found)} is not ${expected}`, {
    code: "EUSAGE",
    hint: "see 'tsrun try --help'",
  });
}

/** The limits that the options ask for. Swap is not to evade the limit of memory. */
export function tryResources({ memory, cpus, pids }: TryOptions): Resources | undefined {
  const resources: Resources = {};
  if (memory !== undefined) {
    const limit = parseBytes(memory);
    resources.memory = { limit, swap: limit };
  }
  if (cpus !== undefined) {
    resources.cpu = { quota: Math.round(parseCpus(cpus) * CPU_PERIOD), period: CPU_PERIOD };
  }
  if (pids !== undefined) resources.pids = { limit: pids };
  return Object.keys(resources).length === 0 ? undefined : resources;
}

/** Microseconds; the kernel's own default, which is what people compare with. */
const CPU_PERIOD = 100_000;

/** `512m`, `2g`, `1.5G`, `1048576`: powers of 1,024, as engines have them. */
function parseBytes(text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)([bkmgt]?)(?:i?b)?$/i.exec(text);
  const powers = ["", "k", "m", "g", "t"];
  const power = powers.indexOf((match?.[2] ?? "").toLowerCase().replace("b", ""));
  const bytes = Math.floor(Number(match?.[1]) * 1024 ** power);
  if (match === null || !Number.isSafeInteger(bytes) || bytes === 0) {
    throw wrong("memory", text, "a number of bytes, such as 512m or 2g");
  }
  return bytes;
}

/** The kernel takes no less than a hundredth. */
function parseCpus(text: string): number {
  const cpus = Number(text);
  if (!/^\d{1,6}(\.\d{1,6})?$/.test(text) || cpus < 0.01) {
    throw wrong("cpus", text, "a number of processors of at least 0.01, such as 1.5");
  }
  return cpus;
}
